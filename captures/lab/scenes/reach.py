"""The way to the host: refused, prohibited, unreachable, dropped, one way only."""

import socket
import struct
import time

from packets import ACK, RST, SYN, Packet, reset, segment
from scene import scene
from wire import drop


def road(lab, ends=("client",), between=None, delay=0.008):
    """client - r1 - r2 - ~wire - r3 - server: three hops, so that TTLs tell devices apart."""
    lab.chain("client", "r1", "r2", "~wire", "r3", "server")
    lab.wire.delay(delay, 0.0004)
    for end in ends:
        lab.record(end, end)
    if between:
        lab.record("between", *between)


def other_flow(lab, version=4, port=443):
    """A short HTTP-like exchange with another port of the host: what its packets look like."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    listener = lab.server.socket(family)
    listener.bind((lab.server.address(version), port))
    listener.listen()
    client = lab.client.socket(family)
    client.settimeout(10)
    client.connect((lab.server.address(version), port))
    peer, _ = listener.accept()
    for size in (200, 120):
        client.sendall(b"G" * size)
        peer.recv(4096)
        peer.sendall(b"H" * size * 3)
        client.recv(4096)
    client.close()
    peer.close()
    listener.close()
    time.sleep(0.1)


def target(lab, version):
    return lab.server.v4 if version == 4 else "[%s]" % lab.server.v6


def both(case, title):
    """Register a scene for IPv4 as `case` and for IPv6 as `case`-v6."""

    def register(function):
        scene(case, title + " (IPv4)")(lambda lab: function(lab, 4))
        scene(case + "-v6", title + " (IPv6)")(lambda lab: function(lab, 6))
        return function

    return register


@both("port-closed", "The host refuses the SYN: nothing listens on 3389; another flow of the host to compare")
def port_closed(lab, version):
    road(lab, ends=("client", "server"), between=("r2", "r3"))
    other_flow(lab, version)
    lab.xfreerdp(target(lab, version), "/timeout:4000")


@scene("port-closed-alone", "The host refuses the SYN, and nothing else of the host is in the capture")
def port_closed_alone(lab):
    road(lab)
    lab.xfreerdp(target(lab, 4))


@scene("port-closed-windows", "Windows pattern: three SYNs with one sequence number, each refused by the host")
def port_closed_windows(lab):
    lab.chain("client", "r1", "r2", "~wire", "r3", "server")
    lab.wire.delay(0.008)
    for node in (lab.client, lab.server):
        node.sysctl(net__ipv4__ip_default_ttl=128, net__ipv4__tcp_timestamps=0)
    lab.record("client", "client")
    lab.record("server", "server")
    other_flow(lab, 4, port=445)
    # A Linux client does not repeat a refused SYN, so the client's SYNs are built here and answered
    # by the real kernel of the server.
    port = lab.client.socket(socket.AF_PACKET, socket.SOCK_RAW)
    interface = lab.client.ports["r1"]
    port.bind((interface, 0))
    mac = [lab.net[n].run("cat", "/sys/class/net/%s/address" % p).strip().replace(":", "")
           for n, p in (("client", interface), ("r1", "to-client"))]
    bare = Packet(bytes.fromhex(mac[1] + mac[0]) + b"\x08\x00" + struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0x4000, 128, 6, 0, socket.inet_aton(lab.client.v4),
        socket.inet_aton(lab.server.v4)) + struct.pack("!HHIIBBHHH", 50321, 3389, 0, 0, 0x50, 2, 0, 0, 0))
    for number in range(3):
        port.send(segment(bare, flags=SYN, seq=0x5A3C1E00, window=64240, ttl=128, ip_id=0x4A10 + number,
                          options=bytes.fromhex("020405b40103030801010402")).frame())
        time.sleep(0.52)
    port.close()


@both("syn-reset-middlebox", "A router two hops before the host refuses the SYN (nft reject with tcp reset)")
def syn_reset(lab, version):
    road(lab, ends=("client", "server"), between=("r1", "r2"))
    lab.net["r1"].firewall("forward", "tcp dport 3389 reject with tcp reset")
    other_flow(lab, version)
    lab.xfreerdp(target(lab, version))


@scene("syn-reset-middlebox-windows", "A Linux firewall refuses the SYN to a Windows-like host (TTL 128)")
def syn_reset_windows(lab):
    road(lab, ends=("client",))
    lab.server.sysctl(net__ipv4__ip_default_ttl=128, net__ipv4__tcp_timestamps=0)
    lab.net["r2"].firewall("forward", "tcp dport 3389 reject with tcp reset")
    other_flow(lab, 4)
    lab.xfreerdp(target(lab, 4))


@scene("syn-reset-middlebox-pf", "A pf-like firewall refuses the SYN (RST,ACK, TOS 0x10), the host answers on other ports")
def syn_reset_pf(lab):
    road(lab, ends=("client",))
    other_flow(lab, 4, port=22)

    def refuse(passing):
        packet = passing.packet
        if passing.direction == ">" and packet.is_tcp and packet.dport == 3389 and packet.flags & SYN:
            passing.drop()
            passing.inject(reset(packet, "sender", flags=RST | ACK, seq=0, ttl=64, ip_id=0x7D21, tos=0x10), "<")

    lab.wire.rule(refuse)
    lab.xfreerdp(target(lab, 4))


@both("syn-prohibited", "A firewall answers the SYN with ICMP: administratively prohibited")
def syn_prohibited(lab, version):
    road(lab, between=("r1", "r2"))
    kind = "icmp type admin-prohibited" if version == 4 else "icmpv6 type admin-prohibited"
    lab.net["r2"].firewall("forward", "tcp dport 3389 reject with " + kind)
    lab.xfreerdp(target(lab, version), "/timeout:8000", wait=10)


@scene("host-unreachable-arp", "The last router finds no such host: ICMP host unreachable")
def host_unreachable(lab):
    road(lab)
    lab.xfreerdp(lab.server.v4.rsplit(".", 1)[0] + ".77", wait=20)


@scene("host-unreachable-v6", "The last router finds no such host: ICMPv6 address unreachable")
def host_unreachable_v6(lab):
    road(lab)
    lab.xfreerdp("[%s]" % lab.server.v6.replace("::20", "::77"), wait=20)


@scene("host-unreachable-no-route", "A router has no route: ICMP network unreachable")
def no_route(lab):
    road(lab)
    lab.net["r1"].run("ip", "route", "add", "192.0.2.0/24", "via", lab.net["r2"].addresses[2][0])
    lab.xfreerdp("192.0.2.20", wait=20)


@scene("host-unreachable-port", "A firewall's default reject: ICMP port unreachable for the SYN")
def port_unreachable(lab):
    road(lab, between=("r1", "r2"))
    lab.net["r2"].firewall("forward", "tcp dport 3389 reject")
    lab.xfreerdp(target(lab, 4), wait=12)


@both("syn-dropped", "A firewall drops the SYNs in silence")
def syn_dropped(lab, version):
    road(lab, ends=("client", "server"), between=("r1", "r2"))
    lab.net["r2"].firewall("forward", "tcp dport 3389 drop")
    lab.xfreerdp(target(lab, version), wait=25)


@scene("syn-dropped-other-port", "SYNs to 3389 are dropped while another port of the host answers")
def syn_dropped_other(lab):
    road(lab)
    lab.net["r3"].firewall("forward", "tcp dport 3389 drop")
    other_flow(lab, 4)
    lab.xfreerdp(target(lab, 4), wait=25)


@scene("syn-lost-healthy", "The first two SYNs are lost, the third is answered; the session works")
def syn_lost(lab):
    road(lab)
    lost = []

    def lose(passing):
        if passing.packet.is_tcp and passing.packet.flags & SYN and passing.direction == ">" and len(lost) < 2:
            lost.append(1)
            passing.drop()

    lab.wire.rule(lose)
    pair = lab.pair()
    assert pair.until("session") and pair.traffic()
    pair.goodbye()


@scene("syn-cut-short", "The capture ends half a second after the first SYN")
def cut_short(lab):
    road(lab)
    lab.net["r2"].firewall("forward", "tcp dport 3389 drop")
    process = lab.xfreerdp(target(lab, 4), wait=None)
    for _ in range(200):
        if "3389" in lab.client.run("ss", "-Htn", "state", "syn-sent"):
            break
        time.sleep(0.02)
    lab.stop_recording(quiet=0.3)
    process.kill()


@both("one-way-syn-ack-lost", "The host answers the SYN, but its SYN-ACK does not arrive")
def syn_ack_lost(lab, version):
    road(lab, ends=("client", "server"), between=("r3", "r2"))
    lab.wire.rule(drop(lambda p: p.is_tcp and p.flags & SYN, "<"))
    pair = lab.pair(version, timeout=13)
    pair.until("tcp", wait=False)


@scene("one-way-our-ack-lost", "Only the SYN reaches the host: everything that the client sends after it vanishes")
def our_ack_lost(lab):
    road(lab, ends=("client", "server"), between=("r2", "r3"))
    lab.wire.rule(drop(lambda p: p.is_tcp and not p.flags & SYN, ">"))
    pair = lab.pair(timeout=14)
    pair.until("x224", wait=False)


@scene("syn-reset-beside-client-v6", "The client's own router refuses the SYN at once; two packets of the host are all there is to compare")
def syn_reset_beside_client(lab):
    lab.chain("client", "r1", "r2", "r3", "server")
    lab.record("client", "client")
    lab.net["r1"].firewall("forward", "tcp dport 3389 reject with tcp reset")
    other_flow(lab, 6)
    lab.xfreerdp(target(lab, 6))


@scene("port-closed-one-direction", "The host refuses the SYNs, and only its own packets were captured")
def port_closed_one_direction(lab):
    road(lab, ends=())
    lab.record("between", "r1", "r2", only="src host " + lab.server.v4)
    lab.xfreerdp(target(lab, 4))
