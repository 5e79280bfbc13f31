"""RDP-UDP peers of ours ([MS-RDPEUDP], [MS-RDPEUDP2]) over real sockets, with real TLS inside.

Reliable mode only. A peer runs in its own thread: it acknowledges what it hears, repeats what
is not acknowledged, and gives up after five repetitions.
"""

import hashlib
import os
import select
import socket
import ssl
import struct
import threading
import time

from network import family

SYN, ACK, DATA, CORRELATION_ID, SYNEX = 0x0001, 0x0004, 0x0008, 0x0800, 0x1000
V1, V2, V3 = 1, 2, 0x0101
MTU = 1232
WINDOW = 64
SYN_AFTER = (3.5, 2.73)  # when Windows repeats its SYN; then it gives up
FIRST_REPEAT, REPEATS = 0.5, 5


def syn(sequence, version, correlation=None, cookie=None):
    """A client's SYN, padded to the MTU that it probes."""
    flags = SYN | SYNEX | (CORRELATION_ID if correlation else 0)
    out = struct.pack("!IHHIHH", 0xFFFFFFFF, WINDOW, flags, sequence, MTU, MTU)
    if correlation:
        out += correlation + bytes(16)
    out += struct.pack("!HH", 1, version)
    if version == V3:
        out += hashlib.sha256(cookie or os.urandom(16)).digest()
    return out.ljust(MTU, b"\0")


def syn_ack(sequence, heard, version):
    out = struct.pack("!IHHIHH", heard, WINDOW, SYN | ACK | SYNEX, sequence, MTU, MTU)
    return (out + struct.pack("!HH", 1, version)).ljust(MTU, b"\0")


class Peer:
    """What both ends have in common: acknowledgments, repetitions, TLS."""

    def __init__(self, is_client, tls):
        self.is_client, self.tls_context, self.name = is_client, tls[0], tls[1]
        self.socket = self.peer = self.version = None
        self.sequence = int.from_bytes(os.urandom(3), "big") << 4
        self.coded = self.start = None  # the next numbers
        self.flight = {}  # number of the data -> [bytes, coded numbers, due, repetitions]
        self.received = set()
        self.highest = None
        self.pieces, self.next_piece = {}, None
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = None
        self.ready = threading.Event()
        self.heard = 0  # bytes of application data
        self.outbox = []
        self.stopped = False
        self.gave_up = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    # --- what scenes use --------------------------------------------------------------
    def say(self, size):
        """Send application data of this size."""
        self.outbox.append(os.urandom(size))

    def stop(self):
        """Fall silent: RDP-UDP has no goodbye."""
        self.stopped = True
        self.thread.join(2)

    def close(self):
        self.stop()
        if self.socket:
            self.socket.close()

    # --- the thread -------------------------------------------------------------------
    def _run(self):
        try:
            self._open()
            if self.version:
                self._talk()
        except OSError:
            pass  # an ICMP error came back: the peer is gone

    def _talk(self):
        self.tls = self.tls_context.wrap_bio(
            self.incoming, self.outgoing, server_side=not self.is_client,
            server_hostname=self.name if self.is_client else None)
        self._advance()
        while not self.stopped and not self.gave_up:
            if select.select([self.socket], [], [], 0.01)[0]:
                datagram, sender = self.socket.recvfrom(2048)
                if sender[:2] == self.peer[:2]:
                    self._datagram(datagram)
            self._advance()
            self._repeat()

    def _advance(self):
        try:
            if not self.ready.is_set():
                self.tls.do_handshake()
                self.ready.set()
            while self.ready.is_set():
                while self.outbox:
                    self.tls.write(self.outbox.pop(0))
                self.heard += len(self.tls.read(65536))
        except ssl.SSLWantReadError:
            pass
        data = self.outgoing.read()
        room = MTU - 40
        for at in range(0, len(data), room):
            self._send(data[at:at + room])

    # --- datagrams ----------------------------------------------------------------------
    def _send(self, data):
        number = self.start
        self.start = self.start + 1 & self._mask
        self.flight[number] = [data, [], 0.0, -1]
        self._put(number)

    @property
    def _mask(self):
        return 0xFFFF if self.version == V3 else 0xFFFFFFFF

    def _put(self, number):
        entry = self.flight[number]
        coded = self.coded
        self.coded = self.coded + 1 & self._mask
        entry[1].append(coded)
        entry[3] += 1
        entry[2] = time.monotonic() + FIRST_REPEAT * 2 ** entry[3]
        if self.version == V3:
            self._wire2(struct.pack("<HHH", DATA2 | 6 << 12, coded, number) + entry[0])
        else:
            self.socket.sendto(self._acknowledgment(DATA) + struct.pack("!II", coded, number) + entry[0], self.peer)

    def _acknowledgment(self, more=0):
        """Header and ACK vector, from the highest number received downwards."""
        runs, number = [], self.highest
        while number > self.highest - 40 and number > self.base:
            state = 0 if number in self.received else 3
            if runs and runs[-1][0] == state and runs[-1][1] < 64:
                runs[-1][1] += 1
            else:
                runs.append([state, 1])
            number -= 1
        vector = struct.pack("!H", len(runs)) + bytes(state << 6 | count - 1 for state, count in runs)
        vector += bytes(-len(vector) % 4)
        return struct.pack("!IHH", self.highest & 0xFFFFFFFF, WINDOW, ACK | more) + vector

    def _wire2(self, packet):
        """MS-RDPEUDP2: the prefix byte in front, changed with the eighth."""
        out = bytearray([min(len(packet), 7) << 5]) + packet
        out = out.ljust(8, b"\0")
        out[0], out[7] = out[7], out[0]
        self.socket.sendto(bytes(out), self.peer)

    def _datagram(self, datagram):
        if self.version == V3:
            self._datagram2(datagram)
            return
        heard, _, flags = struct.unpack_from("!IHH", datagram)
        if flags & SYN:
            self._syn_again(datagram)
            return
        at = 8
        if flags & ACK:
            (count,) = struct.unpack_from("!H", datagram, at)
            number = heard
            arrived = {heard}
            for element in datagram[at + 2:at + 2 + count]:
                for _ in range((element & 63) + 1):
                    if element >> 6 == 0:
                        arrived.add(number)
                    number -= 1
            self._arrived(arrived)
            at += 2 + count + (-(2 + count) % 4)
        if flags & DATA:
            coded, number = struct.unpack_from("!II", datagram, at)
            self.received.add(coded)
            self.highest = max(self.highest, coded)
            self._piece(number, datagram[at + 8:])
            self.socket.sendto(self._acknowledgment(), self.peer)

    def _datagram2(self, datagram):
        packet = bytearray(datagram)
        packet[0], packet[7] = packet[7], packet[0]
        short = packet[0] >> 5
        body = bytes(packet[1:] if short in (0, 7) else packet[1:1 + short])
        (flags,) = struct.unpack_from("<H", body)
        if flags & ACK2:
            (sequence,) = struct.unpack_from("<H", body, 2)
            self._arrived({sequence})
        elif flags & DATA2:
            coded, number = struct.unpack_from("<HH", body, 2)
            self._wire2(struct.pack("<HHHBBB", ACK2 | 6 << 12, coded, 0, 0, 1, 0))
            self._piece(number, body[6:])

    def _arrived(self, numbers):
        for number in [n for n, entry in self.flight.items() if numbers & set(entry[1])]:
            del self.flight[number]

    def _piece(self, number, data):
        if self.next_piece is None:
            self.next_piece = number
        self.pieces.setdefault(number, data)
        while self.next_piece in self.pieces:
            data, self.pieces[self.next_piece] = self.pieces[self.next_piece], b""
            self.next_piece = self.next_piece + 1 & self._mask
            self.incoming.write(data)

    def _repeat(self):
        for number, entry in list(self.flight.items()):
            if entry[2] <= time.monotonic():
                if entry[3] >= REPEATS:
                    self.gave_up = True
                    return
                self._put(number)

    def _numbers(self, theirs):
        """The numbers after the opening."""
        if self.version == V3:
            self.coded = self.start = 1
            self.next_piece = 1
        else:
            self.coded = self.start = self.sequence + 1
            self.base = self.highest = theirs
            self.next_piece = theirs + 1

    def _syn_again(self, datagram):
        pass


ACK2, DATA2 = 0x001, 0x004


class Client(Peer):
    """Dials `address`; `syns` SYNs at most."""

    def __init__(self, lab, address, port=3389, version=V2, correlation=None, node="client", syns=3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        super().__init__(True, (context, "host.lab"))
        self.offer, self.correlation, self.syns = version, correlation, syns
        self.socket = lab.net[node].socket(family(address), socket.SOCK_DGRAM)
        self.socket.bind(("", 0))
        # Windows sets DF on these datagrams; here IP_PMTUDISC_PROBE does.
        if family(address) == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_IP, 10, 3)
        self.peer = (address, port)
        lab.stack.callback(self.close)
        self.thread.start()

    def _open(self):
        request = syn(self.sequence, self.offer, self.correlation)
        for number in range(self.syns):
            self.socket.sendto(request, self.peer)
            wait = (SYN_AFTER + (3.0,) * 9)[number]
            limit = time.monotonic() + wait
            while time.monotonic() < limit and not self.stopped:
                if select.select([self.socket], [], [], 0.02)[0]:
                    answer, _ = self.socket.recvfrom(2048)
                    theirs, = struct.unpack_from("!I", answer, 8)
                    _, chosen = struct.unpack_from("!HH", answer, 16)
                    self.version = chosen
                    self._numbers(theirs)
                    return


class Host(Peer):
    """Listens for one client; chooses version `version` at most."""

    def __init__(self, lab, version=V2, port=3389, node="server", kind=4):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*lab.certificate())
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        super().__init__(False, (context, None))
        self.most = version
        address = lab.net[node].address(kind)
        self.socket = lab.net[node].socket(family(address), socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        lab.stack.callback(self.close)
        self.thread.start()

    def _open(self):
        while not self.stopped:
            if not select.select([self.socket], [], [], 0.02)[0]:
                continue
            request, self.peer = self.socket.recvfrom(2048)
            theirs, = struct.unpack_from("!I", request, 8)
            at = 16 + (32 if struct.unpack_from("!H", request, 6)[0] & CORRELATION_ID else 0)
            _, offered = struct.unpack_from("!HH", request, at)
            self.version = min(offered, self.most)
            self._numbers(theirs)
            self.answer = syn_ack(self.sequence, theirs, self.version)
            self.socket.sendto(self.answer, self.peer)
            return

    def _syn_again(self, _datagram):
        self.socket.sendto(self.answer, self.peer)
