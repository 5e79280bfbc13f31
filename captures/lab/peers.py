"""Scripted RDP peers over real sockets, for events that real RDP software cannot be made to produce.

X.224 is spoken by the specification ([MS-RDPBCGR] 2.2.1.1, 2.2.1.2), TLS by Python's ssl. What
TLS hides is exchanged as records of the sizes, order and direction that real peers show
(CredSSP with NTLM, MCS, licensing, activation, session); the content is random.
"""

import errno
import os
import select
import socket
import ssl
import struct
import threading
import time

from network import family

PHASES = ("tcp", "x224", "tls", "credssp", "mcs", "licensing", "activation", "session")

# (who speaks, plaintext size) in the order of a Windows session with NLA by NTLM, 7 channels.
RECORDS = {
    "credssp": [("C", 57), ("S", 262), ("C", 543), ("S", 59), ("C", 76), ("S", 4)],
    "mcs": [("C", 462), ("S", 126), ("C", 12), ("C", 8), ("S", 11)]
    + [("C", 12), ("S", 15)] * 7 + [("C", 433)],
    "licensing": [("S", 34)],
    "activation": [("S", 472), ("C", 611), ("C", 36), ("C", 40), ("C", 40), ("S", 36), ("S", 40),
                   ("S", 40), ("C", 40), ("S", 40)],
    "session": [("S", 657), ("S", 645), ("S", 1460), ("S", 2210), ("C", 14), ("S", 310), ("C", 9),
                ("S", 880), ("C", 14), ("C", 11), ("S", 420)],
}
SSL, HYBRID, HYBRID_EX = 1, 2, 8


def connection_request(protocols=SSL | HYBRID | HYBRID_EX, cookie="labuser"):
    """X.224 Connection Request with cookie and RDP_NEG_REQ."""
    body = b"Cookie: mstshash=%s\r\n" % cookie.encode() if cookie else b""
    body += struct.pack("<BBHI", 1, 0, 8, protocols)
    return _tpkt(0xE0, 0, body)


def connection_confirm(selected=HYBRID_EX, flags=0x1F):
    """X.224 Connection Confirm with RDP_NEG_RSP, as current Windows servers answer."""
    return _tpkt(0xD0, 0x1234, struct.pack("<BBHI", 2, flags, 8, selected))


def _tpkt(code, source, body):
    return struct.pack("!BBHBBHHB", 3, 0, 11 + len(body), 6 + len(body), code, 0, source, 0) + body


def receive(connection, size):
    """Exactly `size` bytes of a blocking socket, or ConnectionError when the peer is gone before."""
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("closed by the peer")
        data += part
    return data


class Side:
    """One end of the scripted connection."""

    def __init__(self, letter):
        self.letter = letter
        self.socket = None  # never blocks: see `_io`
        self.thread = None
        self.timeout = 20.0
        self.pause = 0.0  # think time before every record that this side sends
        self.error = None
        self.stopped = False

    def release(self):
        """Get the socket out of the hands of a thread that waits for it; nothing goes on the wire.

        While a thread waits for a socket the kernel holds it open, and close() has no effect.
        """
        if self.thread and self.thread.is_alive():
            self.stopped = True
            self.thread.join(1)
            self.stopped = False

    def _io(self, function, *arguments, writing=False):
        """Call function until it does not ask to wait any more."""
        limit = time.monotonic() + self.timeout
        while True:
            try:
                return function(*arguments)
            except ssl.SSLWantWriteError:
                writing = True
            except ssl.SSLWantReadError:
                writing = False
            except BlockingIOError:
                pass
            while True:
                if self.stopped or time.monotonic() > limit:
                    raise TimeoutError("side %s stopped waiting" % self.letter)
                reading = [] if writing else [function.__self__]
                if any(select.select(reading, [function.__self__] if writing else [], [], 0.05)):
                    break

    def think(self, seconds=None):
        """Pause before an answer; `release` ends it."""
        limit = time.monotonic() + (self.pause if seconds is None else seconds)
        while time.monotonic() < limit:
            if self.stopped:
                raise TimeoutError("side %s stopped thinking" % self.letter)
            time.sleep(max(0.0, min(0.05, limit - time.monotonic())))

    def send(self, data):
        while data:
            data = data[self._io(self.socket.send, data, writing=True):]

    def receive(self, size):
        """Exactly `size` bytes, or ConnectionError when the peer is gone before."""
        data = b""
        while len(data) < size:
            part = self._io(self.socket.recv, size - len(data))
            if not part:
                raise ConnectionError("closed by the peer")
            data += part
        return data

    def connect(self, address):
        error = self.socket.connect_ex(address)
        if error == errno.EINPROGRESS:
            self._io(self._connected, writing=True)

    def _connected(self):
        if not select.select([], [self.socket], [], 0)[1]:
            raise BlockingIOError
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))

    def fileno(self):
        return self.socket.fileno()

    def abort(self):
        """close() with SO_LINGER 0: the kernel sends RST,ACK."""
        self.release()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def finish(self):
        """An orderly end: close_notify where TLS is up, then FIN. Does not wait for the peer."""
        if isinstance(self.socket, ssl.SSLSocket):
            try:
                self.socket.unwrap()
            except OSError:
                pass  # the peer has not answered close_notify (yet); FIN follows all the same
        self.close()

    def close(self):
        """close() only: FIN, or RST if unread data wait in the socket."""
        self.release()
        self.socket.close()

    def keepalive(self, idle, interval, count):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, idle), (socket.TCP_KEEPINTVL, interval),
                              (socket.TCP_KEEPCNT, count)):
            self.socket.setsockopt(socket.IPPROTO_TCP, option, value)

    def user_timeout(self, seconds):
        """Give up without a word when sent data stay unacknowledged this long."""
        self.socket.setsockopt(socket.IPPROTO_TCP, 18, int(seconds * 1000))


class Pair:
    """A scripted client and server. `until(phase)` plays both up to and including that phase.

    Options: `port` (3389), `tls` ("1.2", "1.3"), `selected` (the protocol; SSL skips CredSSP),
    `name` (SNI and certificate), `at` (node names), `timeout` of every socket operation, `mss`.
    """

    def __init__(self, lab, version=4, port=3389, tls="1.2", selected=HYBRID_EX, name="host.lab",
                 at=("client", "server"), timeout=20, mss=None):
        self.lab, self.tls, self.selected, self.name, self.timeout = lab, tls, selected, name, timeout
        self.client, self.server = Side("C"), Side("S")
        self.certificate = lab.certificate(name=name)
        self.done = []
        self.sides = (self.client, self.server)
        for side in self.sides:
            side.timeout = timeout
        here, there = lab.net[at[0]], lab.net[at[1]]
        self.address = there.address(version)
        kind = family(self.address)
        self.listener = there.socket(kind)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if mss:
            self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
        self.listener.bind((self.address, port))
        self.listener.listen(8)
        self.listener.setblocking(False)
        self.port = port
        self.here, self.kind = here, kind

    def until(self, phase, timeout=None, wait=True):
        """Play the phases not yet played up to `phase`. True if both sides got through.

        With `wait` False the sides go on in their own threads after `timeout` seconds.
        """
        todo = [p for p in PHASES[: PHASES.index(phase) + 1] if p not in self.done]
        self.done += todo
        return self._both(lambda side: self._guard(side, todo), timeout, wait, todo)

    def alone(self, side, phase):
        """Play one side's part of a phase in the background, while the scene is the other side."""
        self.done.append(phase)
        side.thread = threading.Thread(target=self._guard, args=(side, [phase]), daemon=True)
        side.thread.start()

    def say(self, records):
        """Both sides exchange a list of (who speaks, size)."""
        self._both(lambda side: self.exchange(side, records), None, True, records)

    def _both(self, part, timeout, wait, what):
        for side in self.sides:
            side.thread = threading.Thread(target=part, args=(side,), daemon=True)
            side.thread.start()
        limit = time.monotonic() + (timeout or self.timeout)
        for side in self.sides:
            side.thread.join(max(0.0, limit - time.monotonic()))
        alive = any(side.thread.is_alive() for side in self.sides)
        if alive and wait:
            raise TimeoutError("%s: stuck in %s" % (self.lab.case, what))
        return not alive and not self.client.error and not self.server.error

    def _guard(self, side, phases):
        try:
            for phase in phases:
                getattr(self, "_" + phase, self._records)(side, phase)
        except (OSError, ValueError) as error:
            side.error = error

    def _tcp(self, side, _):
        if side is self.client:
            side.socket = self.here.socket(self.kind)
            side.socket.setblocking(False)
            side.connect((self.address, self.port))
        else:
            side.socket, _ = side._io(self.listener.accept)
            side.socket.setblocking(False)
        side.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _x224(self, side, _):
        request, confirm = connection_request(), connection_confirm(self.selected)
        if side is self.client:
            side.think()
            side.send(request)
            side.receive(len(confirm))
        else:
            side.receive(len(request))
            side.think()
            side.send(confirm)

    def _tls(self, side, _):
        version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[self.tls]
        if side is self.client:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
        context.minimum_version = context.maximum_version = version
        side.think()
        side.socket = context.wrap_socket(
            side.socket, server_side=side is self.server, suppress_ragged_eofs=False,
            do_handshake_on_connect=False,
            server_hostname=self.name if side is self.client else None)
        side._io(side.socket.do_handshake)

    def _records(self, side, phase):
        if phase == "credssp" and self.selected == SSL:
            return
        self.exchange(side, RECORDS[phase])

    def exchange(self, side, records):
        """One side's part of a list of (who speaks, size)."""
        for who, size in records:
            if who == side.letter:
                side.think()
                side.send(os.urandom(size))
            else:
                side.receive(size)

    def traffic(self, rounds=3, pause=0.05, records=(("C", 14), ("S", 620), ("S", 210)),
                timeout=None, wait=True):
        """Session traffic in both directions; True if it got through."""
        self.client.error = self.server.error = None

        def part(side):
            try:
                for _ in range(rounds):
                    side.think(pause)
                    self.exchange(side, records)
            except (OSError, ValueError) as error:
                side.error = error

        return self._both(part, timeout, wait, "traffic")

    def part(self):
        """Both sides end TLS (close_notify) and TCP (FIN) in order."""
        self._both(lambda side: (side._io(side.socket.unwrap), side.socket.close()), None, True, "close_notify")
        time.sleep(0.2)

    def goodbye(self):
        """The ordinary end of a Windows session: error info and ultimatum from the server, RST,ACK from the client."""
        assert self.traffic(rounds=1, records=(("C", 35), ("S", 36)))
        self.server.send(os.urandom(9))
        self.client.receive(9)
        self.client.abort()
        time.sleep(0.1)

    def close(self):
        """Close what is still open (after the captures were stopped)."""
        self.listener.close()
        for side in self.sides:
            if side.socket:
                try:
                    side.socket.close()
                except OSError:
                    pass
