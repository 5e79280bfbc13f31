"""Read, change and forge Ethernet frames that carry IPv4 or IPv6 with TCP, UDP or ICMP.

A `Packet` keeps the frame as it came; setters change fields in place and mark the
checksums as stale, `frame()` returns bytes with right checksums. Unknown frames (ARP,
neighbour discovery) are kept as they are.
"""

import ipaddress
import struct

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << n for n in range(8))
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58


def checksum(data):
    """The Internet checksum (RFC 1071) of `data`."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Packet:
    """One Ethernet frame with named fields. `version` is 4, 6 or None (not IP)."""

    def __init__(self, frame):
        self.data = bytearray(frame)
        self.stale = False
        self.version = self.protocol = None
        self.l3 = 14
        self.l4 = None
        kind = struct.unpack_from("!H", self.data, 12)[0] if len(self.data) >= 14 else 0
        if kind == 0x0800 and len(self.data) >= 34:
            self.version = 4
            self.l4 = 14 + (self.data[14] & 15) * 4
            if struct.unpack_from("!H", self.data, 20)[0] & 0x1FFF == 0:
                self.protocol = self.data[23]
            self.end = 14 + struct.unpack_from("!H", self.data, 16)[0]
        elif kind == 0x86DD and len(self.data) >= 54:
            self.version = 6
            self.protocol = self.data[20]
            self.l4 = 54
            self.end = 54 + struct.unpack_from("!H", self.data, 18)[0]

    # --- what it is -----------------------------------------------------------------
    @property
    def is_tcp(self):
        return self.protocol == TCP

    @property
    def is_udp(self):
        return self.protocol == UDP

    @property
    def is_resolution(self):
        """ARP and IPv6 neighbour discovery: what makes a link work at all."""
        return self.version is None or (self.protocol == ICMP6 and 133 <= self.data[self.l4] <= 137)

    @property
    def size(self):
        """Length of the IP packet in bytes (0 for other frames)."""
        return self.end - 14 if self.version else 0

    @property
    def src(self):
        return self._address(12, 8)

    @property
    def dst(self):
        return self._address(16, 24)

    def _address(self, at4, at6):
        if self.version == 4:
            return str(ipaddress.ip_address(bytes(self.data[14 + at4 : 18 + at4])))
        return str(ipaddress.ip_address(bytes(self.data[14 + at6 : 30 + at6])))

    # --- the IP header --------------------------------------------------------------
    @property
    def ttl(self):
        return self.data[22] if self.version == 4 else self.data[21]

    @ttl.setter
    def ttl(self, value):
        self.data[22 if self.version == 4 else 21] = value
        self.stale = True

    @property
    def ip_id(self):
        return struct.unpack_from("!H", self.data, 18)[0] if self.version == 4 else 0

    @ip_id.setter
    def ip_id(self, value):
        if self.version == 4:
            struct.pack_into("!H", self.data, 18, value & 0xFFFF)
            self.stale = True

    @property
    def df(self):
        return bool(self.version == 4 and self.data[20] & 0x40)

    @df.setter
    def df(self, value):
        if self.version == 4:
            self.data[20] = (self.data[20] & ~0x40) | (0x40 if value else 0)
            self.stale = True

    @property
    def tos(self):
        if self.version == 4:
            return self.data[15]
        return (struct.unpack_from("!H", self.data, 14)[0] >> 4) & 0xFF

    @property
    def label(self):
        """IPv6 flow label (0 for IPv4)."""
        return struct.unpack_from("!I", self.data, 14)[0] & 0xFFFFF if self.version == 6 else 0

    @label.setter
    def label(self, value):
        if self.version == 6:
            word = struct.unpack_from("!I", self.data, 14)[0]
            struct.pack_into("!I", self.data, 14, (word & ~0xFFFFF) | value)

    # --- TCP and UDP ----------------------------------------------------------------
    @property
    def sport(self):
        return struct.unpack_from("!H", self.data, self.l4)[0]

    @property
    def dport(self):
        return struct.unpack_from("!H", self.data, self.l4 + 2)[0]

    @property
    def seq(self):
        return struct.unpack_from("!I", self.data, self.l4 + 4)[0]

    @property
    def ack(self):
        return struct.unpack_from("!I", self.data, self.l4 + 8)[0]

    @property
    def flags(self):
        return self.data[self.l4 + 13]

    @property
    def window(self):
        return struct.unpack_from("!H", self.data, self.l4 + 14)[0]

    @window.setter
    def window(self, value):
        struct.pack_into("!H", self.data, self.l4 + 14, value)
        self.stale = True

    @property
    def payload(self):
        if self.is_tcp:
            return bytes(self.data[self.l4 + (self.data[self.l4 + 12] >> 4) * 4 : self.end])
        if self.is_udp:
            return bytes(self.data[self.l4 + 8 : self.end])
        return b""

    @property
    def next_seq(self):
        """The sequence number that follows this segment."""
        extra = (1 if self.flags & SYN else 0) + (1 if self.flags & FIN else 0)
        return (self.seq + len(self.payload) + extra) & 0xFFFFFFFF

    def make_windows_reset(self):
        """Turn a RST into the form that Windows gives to its close: RST,ACK, window 0, no options."""
        acknowledged = self.ack if self.flags & ACK else 0
        at = self.l4
        head = struct.pack(
            "!HHIIBBHHH", self.sport, self.dport, self.seq, acknowledged, 5 << 4, RST | ACK, 0, 0, 0
        )
        self.data[at:] = head
        self.end = len(self.data)
        length = self.end - 14
        if self.version == 4:
            struct.pack_into("!H", self.data, 16, length)
        else:
            struct.pack_into("!H", self.data, 18, length - 40)
        self.stale = True

    # --- bytes ----------------------------------------------------------------------
    def frame(self):
        """The frame, with right checksums if a field was changed."""
        if self.stale:
            self._fix()
            self.stale = False
        return bytes(self.data)

    def _fix(self):
        if self.version == 4:
            struct.pack_into("!H", self.data, 24, 0)
            struct.pack_into("!H", self.data, 24, checksum(bytes(self.data[14 : self.l4])))
            pseudo = bytes(self.data[26:34])
        elif self.version == 6:
            pseudo = bytes(self.data[22:54])
        else:
            return
        at = {TCP: 16, UDP: 6}.get(self.protocol)
        if at is None:
            return
        body = self.data[self.l4 : self.end]
        struct.pack_into("!H", body, at, 0)
        total = checksum(pseudo + struct.pack("!II", len(body), self.protocol) + bytes(body))
        struct.pack_into("!H", self.data, self.l4 + at, total)


def segment(like, reverse=False, *, flags, seq, ack=0, window=0, ttl=64, ip_id=0, df=True,
            tos=0, label=0, options=b"", payload=b""):
    """Forge a TCP segment of the connection to which `like` belongs.

    `reverse` False: in the name of the sender of `like`, True: in the name of its receiver.
    MAC addresses are those of `like` (swapped for `reverse`), so that a plain wire carries it.
    """
    data = like.data
    macs = bytes(data[6:12] + data[0:6]) if reverse else bytes(data[0:12])
    width = 4 if like.version == 4 else 16
    at = 26 if like.version == 4 else 22
    one, two = bytes(data[at : at + width]), bytes(data[at + width : at + 2 * width])
    src, dst, sport, dport = (two, one, like.dport, like.sport) if reverse else (one, two, like.sport, like.dport)
    options += b"\1" * (-len(options) % 4)
    tcp = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF,
                      (5 + len(options) // 4) << 4, flags, window, 0, 0) + options + payload
    if like.version == 4:
        head = struct.pack("!BBHHHBBH", 0x45, tos, 20 + len(tcp), ip_id & 0xFFFF,
                           0x4000 if df else 0, ttl, TCP, 0) + src + dst
        kind = b"\x08\x00"
    else:
        head = struct.pack("!IHBB", 6 << 28 | tos << 20 | label, len(tcp), TCP, ttl) + src + dst
        kind = b"\x86\xdd"
    packet = Packet(macs + kind + head + tcp)
    packet.stale = True
    return packet


def reset(trigger, towards, **fields):
    """Forge the RST with which a stateless device answers `trigger`.

    `towards` is "sender" (in the name of the trigger's receiver, the number that the sender
    expects) or "receiver" (in the name of the trigger's sender; the trigger itself is taken as
    not yet delivered unless `after` is true). Any field of `segment` may be given instead.
    """
    after = fields.pop("after", False)
    if towards == "sender":
        if trigger.flags & ACK:
            base = dict(flags=RST, seq=trigger.ack)
        else:
            base = dict(flags=RST | ACK, seq=0, ack=trigger.next_seq)
        base.update(fields)
        if base["flags"] & ACK:
            base.setdefault("ack", trigger.next_seq)
        return segment(trigger, reverse=True, **base)
    base = dict(flags=RST, seq=trigger.next_seq if after else trigger.seq)
    base.update(fields)
    if base["flags"] & ACK:
        base.setdefault("ack", trigger.ack)
    return segment(trigger, **base)
