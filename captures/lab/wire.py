"""The wire: a forwarder between two veths that delays, loses, doubles, rewrites and injects.

It stands in its own namespace, invisible to IP. `>` is the direction from the left port (the
client's side) to the right one, `<` the other. Every packet passes the rules in order; a rule
is a function of one `Passing`.
"""

import heapq
import itertools
import random
import select
import socket
import threading
import time

from network import inside
from packets import Packet

OPPOSITE = {">": "<", "<": ">"}


class Lane:
    """What one direction of the wire does to every packet (seconds and probabilities)."""

    def __init__(self):
        self.delay = self.jitter = self.loss = self.duplicate = self.reorder = 0.0
        self.reorder_by = 0.004
        self.busy_until = 0.0


class Passing:
    """A packet on its way through the wire, handed to each rule."""

    def __init__(self, wire, packet, direction):
        self.wire, self.packet, self.direction = wire, packet, direction
        self.dropped = False
        self.extra = 0.0
        self.copies = 1
        self.time = time.monotonic()

    def drop(self):
        self.dropped = True

    def inject(self, packet, direction, after=0.0):
        """Send a forged packet out in `direction`, `after` seconds from now, ahead of this packet."""
        self.wire.inject(packet, direction, after)


class Wire(threading.Thread):
    """Forwards between the ports `left` and `right` of a wire node until `stop()`."""

    def __init__(self, node, seed=1):
        super().__init__(daemon=True)
        self.lanes = {">": Lane(), "<": Lane()}
        self.rules = []
        self.last = {}  # direction -> last TCP packet that carried the connection
        self.random = random.Random(seed)
        self.failure = None
        self._heap, self._order, self._lock = [], itertools.count(), threading.Lock()
        self._wake, self._waker = socket.socketpair()
        self._stopping = False
        self.ports = {}
        with inside(node.ns):
            for direction, name in ((">", "left"), ("<", "right")):
                port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
                port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                port.bind((name, 3))
                port.setblocking(False)
                self.ports[direction] = port  # what enters here travels in this direction
        self.start()

    def delay(self, seconds, jitter=0.0):
        """Set the one-way delay of both directions."""
        for lane in self.lanes.values():
            lane.delay, lane.jitter = seconds, jitter
        return self

    def rule(self, function):
        """Add a rule (usable as a decorator); returns it, so that it can be removed."""
        self.rules.append(function)
        return function

    def unrule(self, function):
        self.rules.remove(function)

    def inject(self, packet, direction, after=0.0):
        """Send a forged packet out of the wire in `direction`; safe from any thread."""
        self._push(time.monotonic() + after, direction, packet.frame())
        self._waker.send(b"x")

    def stop(self):
        self._stopping = True
        self._waker.send(b"x")
        self.join(5)
        for port in self.ports.values():
            port.close()

    def _push(self, due, direction, frame):
        with self._lock:
            heapq.heappush(self._heap, (due, next(self._order), direction, frame))

    def run(self):
        try:
            self._run()
        except Exception as error:  # reported by the scene that owns the wire
            if not self._stopping:
                self.failure = error

    def _run(self):
        sockets = {port: direction for direction, port in self.ports.items()}
        while not self._stopping:
            with self._lock:
                due = self._heap[0][0] if self._heap else None
            pause = None if due is None else max(0.0, due - time.monotonic())
            ready, _, _ = select.select([*sockets, self._wake], [], [], pause)
            for port in ready:
                if port is self._wake:
                    self._wake.recv(4096)
                    continue
                while True:
                    try:
                        frame, origin = port.recvfrom(65536)
                    except BlockingIOError:
                        break
                    if origin[2] != socket.PACKET_OUTGOING:
                        self._arrive(frame, sockets[port])
            self._send_due()

    def _send_due(self):
        while True:
            with self._lock:
                if not self._heap or self._heap[0][0] > time.monotonic():
                    return
                _, _, direction, frame = heapq.heappop(self._heap)
            try:
                self.ports[OPPOSITE[direction]].send(frame)
            except OSError:
                pass  # an interface that went down with its host

    def _arrive(self, frame, direction):
        packet = Packet(frame)
        if packet.is_resolution:  # spared, so that a lossy or slow wire is not a broken link
            self._push(time.monotonic(), direction, frame)
            return
        lane, passing = self.lanes[direction], Passing(self, packet, direction)
        for rule in list(self.rules):
            rule(passing)
            if passing.dropped:
                return
        if packet.is_tcp:
            self.last[direction] = packet
        if lane.loss and self.random.random() < lane.loss:
            return
        if lane.duplicate and self.random.random() < lane.duplicate:
            passing.copies += 1
        now = time.monotonic()
        # One queue per direction: jitter never reorders, only `reorder` does.
        due = max(lane.busy_until, now + lane.delay + self.random.random() * lane.jitter + passing.extra)
        if lane.reorder and self.random.random() < lane.reorder:
            due += lane.reorder_by
        else:
            lane.busy_until = due
        for _ in range(passing.copies):
            self._push(due, direction, passing.packet.frame())


# --- rules that scenes share --------------------------------------------------------------
def drop(condition, direction=None):
    """Drop every packet of `direction` (both if None) for which condition(packet) is true."""

    def rule(passing):
        if direction in (None, passing.direction) and condition(passing.packet):
            passing.drop()

    return rule


def anything(_packet):
    return True


def larger_than(size):
    """IP packets of more than `size` bytes."""
    return lambda packet: packet.size > size


def carries(needle):
    """TCP segments whose payload contains `needle`."""
    return lambda packet: packet.is_tcp and needle in packet.payload


def connection_request(packet):
    """An X.224 Connection Request."""
    return packet.is_tcp and packet.payload[:1] == b"\x03" and packet.payload[5:6] == b"\xe0"


def client_hello(packet):
    """A TLS record that begins a ClientHello."""
    return packet.is_tcp and packet.payload[:1] == b"\x16" and packet.payload[5:6] == b"\x01"


def server_hello(packet):
    """A TLS record that begins a ServerHello."""
    return packet.is_tcp and packet.payload[:1] == b"\x16" and packet.payload[5:6] == b"\x02"


def once(condition, action):
    """Call action(passing) for the first packet that meets the condition, and never again."""
    done = []

    def rule(passing):
        if not done and condition(passing.packet):
            done.append(True)
            action(passing)

    return rule


def gait(direction, ttl=None, ip_id=None, step=1, windows_reset=False):
    """Give a host's packets another gait: TTL, a counting IP-ID, the RST form of Windows.

    For scenes that need a Windows-like peer, whose stack cannot run here. The truth says so.
    """
    counter = itertools.count(ip_id or 0, step)

    def rule(passing):
        packet = passing.packet
        if passing.direction != direction:
            return
        if ttl is not None:
            packet.ttl = ttl
        if ip_id is not None:
            packet.ip_id = next(counter)
        if windows_reset and packet.is_tcp and packet.flags & 4:
            packet.make_windows_reset()

    return rule
