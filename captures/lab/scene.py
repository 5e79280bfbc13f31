"""A scene: one network, one event, the captures of it. Scenes are plain decorated functions."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time

import capture
import peers
from network import Network
from wire import Wire

SCENES = {}  # case name -> (title, function)
CAPTURES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def scene(case, title):
    """Register a function of one `Lab` as the scene that makes captures/<case>/."""

    def register(function):
        if case in SCENES:
            raise ValueError("two scenes are called " + case)
        SCENES[case] = (title, function)
        return function

    return register


class Lab:
    """What a scene works with. Everything it starts is stopped by `close`."""

    def __init__(self, case):
        self.case = case
        self.net = Network()
        self.wires = {}
        self.recorders = []  # (file name, recorder)
        self.moves = []
        self.steps = {}  # file name -> function(raw pcap path), run before the conversion
        self.merges = {}  # file name -> recordings that are merged into it and not written themselves
        self.snaplen = {}
        self.displays = {}  # screen -> DISPLAY of a running X server
        self.keyed = []  # names of captures that are also written with TLS secrets
        self.folder = tempfile.mkdtemp(prefix="rdplab-")
        self.keylog = os.path.join(self.folder, "keys.log")  # where programs log their TLS secrets
        self.stack = contextlib.ExitStack()

    # --- the network ----------------------------------------------------------------
    def chain(self, *names):
        """Build client - ... - server (see `Network.chain`), routes and running wires included."""
        self.net.chain(*names)
        return self.ready()

    def ready(self):
        """Set routes and start the wires of a network that was built by hand."""
        self.net.up()
        for name, node in self.net.wires.items():
            self.wires[name] = Wire(node)
        return self.net

    @property
    def wire(self):
        """The only wire of the scene."""
        (only,) = self.wires.values()
        return only

    @property
    def client(self):
        return self.net["client"]

    @property
    def server(self):
        return self.net["server"]

    # --- captures -------------------------------------------------------------------
    def record(self, name, node, neighbour=None, only=""):
        """Record `name`.pcapng at a node's port towards `neighbour` (its only port if None)."""
        if isinstance(node, str):
            node = self.net[node]
        if neighbour is None:
            (neighbour,) = node.ports
        raw = os.path.join(self.folder, name + ".pcap")
        self.recorders.append((name, capture.Recorder(node, node.ports[neighbour], raw, only)))

    def record_ends(self, between=None):
        """Record at the client and at the server, and between at (node, neighbour)."""
        self.record("client", "client")
        self.record("server", "server")
        if between:
            self.record("between", *between)

    def stop_recording(self, quiet=0.6):
        """Stop all recorders, drained; `finish` does it if the scene does not."""
        recorders = [recorder for _, recorder in self.recorders]
        capture.drain(recorders, quiet)
        for recorder in recorders:
            recorder.stop()

    def with_keys(self, name):
        """Write the capture `name` a second time, as `name`-keys, with the logged TLS secrets in it."""
        self.keyed.append(name)

    def idle(self, real, shown=None):
        """Stay silent for `real` seconds; with `shown`, move what follows so that it looks that long."""
        time.sleep(real / 2)
        if shown is not None:
            self.moves.append((time.time(), shown - real))
        time.sleep(real / 2)

    # --- real and scripted hosts ------------------------------------------------------
    def certificate(self, *options, name="host.lab"):
        """A self-signed certificate by openssl: paths of (certificate, key)."""
        cert, key = (os.path.join(self.folder, name + end) for end in (".crt", ".key"))
        if not os.path.exists(cert):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key,
                            "-out", cert, "-subj", "/CN=" + name, "-days", "180", *options],
                           check=True, capture_output=True)
        return cert, key

    def pair(self, version=4, **options):
        """A scripted RDP client and server joined by a real connection (see peers.Pair)."""
        pair = peers.Pair(self, version, **options)
        self.stack.callback(pair.close)
        return pair

    def display(self, screen="1024x768x24"):
        """Start an X server (Xvfb) for real programs and return its DISPLAY; one for each `screen`."""
        if screen not in self.displays:
            # A number of our own: a server that ends elsewhere may remove the socket of one it has just freed.
            name = ":%d" % (1000 + os.getpid() % 30000 + 30000 * len(self.displays))
            process = subprocess.Popen(["Xvfb", name, "-screen", "0", screen, "-noreset", "-nolisten", "tcp"],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.stack.callback(stop, process)
            limit = time.monotonic() + 10
            while not os.path.exists("/tmp/.X11-unix/X" + name[1:]):
                if process.poll() is not None or time.monotonic() > limit:
                    raise RuntimeError("Xvfb does not start on " + name)
                time.sleep(0.02)
            self.displays[screen] = name
        return self.displays[screen]

    def xfreerdp(self, target, *options, node="client", wait=60):
        """Run the real FreeRDP client against `target`; `wait` None returns the running process."""
        environment = dict(os.environ, DISPLAY=self.display(), HOME=self.folder)
        process = self.net[node].start(
            "xfreerdp", "/v:" + target, "/u:user", "/p:secret", "/cert:ignore", "/log-level:OFF",
            *options, env=environment)
        if wait is None:
            return process
        try:
            return process.wait(wait)
        except subprocess.TimeoutExpired:
            stop(process)
            return None

    # --- end ------------------------------------------------------------------------
    def finish(self, target):
        """Stop the recorders and write the captures into the folder `target`."""
        self.stop_recording()
        for wire in self.wires.values():
            if wire.failure:
                raise wire.failure
        os.makedirs(target, exist_ok=True)
        raw = {name: recorder.path for name, recorder in self.recorders}
        if self.moves:
            for path in raw.values():
                capture.move_later(path, self.moves)
        for name, parts in self.merges.items():
            path = os.path.join(self.folder, name + ".pcap")
            capture.merge(path, *(raw.pop(part) for part in parts))
            raw[name] = path
        for name, path in raw.items():
            if name in self.steps:
                self.steps[name](path)
            written = os.path.join(target, name + ".pcapng")
            capture.to_pcapng(path, written, self.snaplen.get(name))
            if name in self.keyed:
                capture.add_keys(written, self.keylog, os.path.join(target, name + "-keys.pcapng"))

    def close(self):
        for _, recorder in self.recorders:
            recorder.kill()
        self.stack.close()
        for wire in self.wires.values():
            wire.stop()
        self.net.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


def stop(process):
    """End a process, gently first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def play(case, out=None, replace=False):
    """Play one scene and write its captures; returns the folder written."""
    _, function = SCENES[case]
    target = os.path.join(out or CAPTURES, case)
    if os.path.exists(os.path.join(target, "truth.toml")) and not replace:
        raise FileExistsError(
            "%s has a truth.toml that speaks about its captures; use --out DIR, or --replace and then "
            "correct the truth" % os.path.relpath(target))
    lab = Lab(case)
    try:
        function(lab)
        lab.finish(target)
    finally:
        lab.close()
    return target
