"""The UDP side: RDP-UDP to the host on 3389, DTLS to the gateway on 3391, and what only looks like them."""

import os
import socket
import struct
import subprocess
import time

from network import inside
from scene import scene
from scenes.reach import both
from udppeer import SYN_AFTER, V2, V3, Client, Host, syn


def beside(lab, version=4, ends=("client",), between=None):
    """client - r1 - ~wire - r2 - server with a healthy session over TCP."""
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.010, 0.0004)
    for end in ends:
        lab.record(end, end)
    if between:
        lab.record("between", *between)
    pair = lab.pair(version)
    assert pair.until("session"), (pair.client.error, pair.server.error)
    return pair


def over(pair):
    """The session goes on over TCP for a moment, and the user ends it."""
    pair.traffic(rounds=3, pause=0.1)
    pair.goodbye()


def talk(client, host, rounds=6, large=1600, small=60, pause=0.15):
    """Session traffic over UDP: input and pictures."""
    for _ in range(rounds):
        client.say(small)
        host.say(large)
        time.sleep(pause)


def opened(lab, version=4, offer=V2, **options):
    """A session with RDP-UDP that is up, its tunnel made."""
    pair = beside(lab, version, **options)
    host = Host(lab, kind=version, version=offer)
    client = Client(lab, lab.server.address(version), version=offer, correlation=os.urandom(16))
    assert client.ready.wait(5) and host.ready.wait(5), "RDP-UDP does not open"
    client.say(28)  # the tunnel's request and answer ([MS-RDPEMT])
    time.sleep(0.1)
    host.say(8)
    time.sleep(0.1)
    return pair, client, host


# --- nothing comes back ---------------------------------------------------------------------
@both("udp-blocked", "A firewall drops UDP 3389 beside a healthy session")
def blocked(lab, version):
    pair = beside(lab, version, ends=("client",))
    Host(lab, kind=version)
    lab.net["r1"].firewall("forward", "udp dport 3389 drop")
    Client(lab, lab.server.address(version), correlation=os.urandom(16)).thread.join(12)
    over(pair)


@scene("udp-blocked-answers", "The host's answers on UDP 3389 are dropped on their way back")
def blocked_answers(lab):
    pair = beside(lab, ends=("server",))
    Host(lab)
    lab.net["r2"].firewall("forward", "udp sport 3389 drop")
    Client(lab, lab.server.v4).thread.join(12)
    over(pair)


@scene("udp-blocked-alone", "UDP 3389 is dropped, and no TCP is in the capture")
def blocked_alone(lab):
    lab.chain("client", "r1", "server")
    lab.record("client", "client")
    lab.net["r1"].firewall("forward", "udp dport 3389 drop")
    Client(lab, lab.server.v4, version=V3, correlation=os.urandom(16)).thread.join(12)


# --- refused --------------------------------------------------------------------------------
@both("udp-prohibited", "A router prohibits UDP 3389 by ICMP beside a healthy session")
def prohibited(lab, version):
    pair = beside(lab, version, ends=("client",))
    lab.net["r2"].firewall("forward", "udp dport 3389 reject with icmpx type admin-prohibited")
    Client(lab, lab.server.address(version)).thread.join(12)
    over(pair)


@scene("udp-port-closed", "The host has no UDP listener: its own kernel says port unreachable")
def port_closed(lab):
    pair = beside(lab)
    Client(lab, lab.server.v4).thread.join(12)
    over(pair)


# --- healthy ----------------------------------------------------------------------------------
@scene("udp-session-healthy", "RDP-UDP version 2 works beside the session and ends with it")
def healthy(lab):
    pair, client, host = opened(lab, ends=("client",))
    talk(client, host, rounds=4)
    client.stop()
    host.stop()
    over(pair)


@scene("udp-v3-healthy", "RDP-UDP version 3 works beside the session")
def healthy_v3(lab):
    pair, client, host = opened(lab, offer=V3, ends=("client",))
    talk(client, host, rounds=4)
    client.stop()
    host.stop()
    over(pair)


@scene("udp-loss-healthy", "RDP-UDP over a path that loses one datagram in fifteen")
def loss_healthy(lab):
    pair, client, host = opened(lab, ends=("client",))
    for lane in lab.wire.lanes.values():
        lane.loss = 0.066
    talk(client, host, rounds=12, large=900)
    time.sleep(1.5)
    for lane in lab.wire.lanes.values():
        lane.loss = 0.0
    time.sleep(2.5)
    client.stop()
    host.stop()
    over(pair)


@scene("udp-client-leaves-healthy", "The client closes the session while the host still sends on UDP")
def client_leaves(lab):
    pair, client, host = opened(lab, ends=("server",))
    talk(client, host, rounds=3)
    pair.goodbye()
    client.close()
    for _ in range(4):
        host.say(300)
        time.sleep(0.3)
    time.sleep(2.0)


# --- dropped midway -----------------------------------------------------------------------------
def midway(lab, version, rule, ends=("client", "server")):
    pair, client, host = opened(lab, version, ends=ends)
    talk(client, host, rounds=4)
    lab.net["r2"].firewall("forward", rule)
    talk(client, host, rounds=3, large=700)
    time.sleep(8.5)
    over(pair)


@both("udp-dropped-both", "After a second of RDP-UDP both directions are dropped")
def dropped_both(lab, version):
    midway(lab, version, "meta l4proto udp drop", ends=("client", "server") if version == 4 else ("client",))


@scene("udp-dropped-to-client", "After a second of RDP-UDP the direction to the client is dropped")
def dropped_to_client(lab):
    midway(lab, 4, "udp sport 3389 drop")


@scene("udp-dropped-to-server", "After a second of RDP-UDP the direction to the host is dropped")
def dropped_to_server(lab):
    midway(lab, 4, "udp dport 3389 drop", ends=("client",))


@scene("udp-v3-dropped", "After a second of RDP-UDP version 3 both directions are dropped")
def dropped_v3(lab):
    pair, client, host = opened(lab, offer=V3, ends=("client",))
    talk(client, host, rounds=4)
    lab.net["r2"].firewall("forward", "meta l4proto udp drop")
    talk(client, host, rounds=3, large=700)
    time.sleep(8.5)
    over(pair)


@scene("udp-tls-dropped", "RDP-UDP opens, and an inspecting device drops what follows")
def tls_dropped(lab):
    pair = beside(lab, ends=("client",))
    Host(lab)
    # SYN and SYN+ACK have the SYN bit in the eighth byte of the payload; nothing else has.
    lab.net["r2"].firewall("forward", "meta l4proto udp @th,120,8 & 1 != 1 drop")
    client = Client(lab, lab.server.v4)
    time.sleep(9)
    client.stop()
    over(pair)


@scene("udp-large-lost", "RDP-UDP is up, and then a tunnel swallows its large datagrams")
def large_lost(lab):
    pair, client, host = opened(lab, ends=("client", "server"))
    talk(client, host, rounds=2, large=600)
    lab.net["r2"].firewall("forward", "meta l4proto udp meta length > 1000 drop")
    for _ in range(10):
        host.say(1100)
        host.say(90)
        client.say(70)
        time.sleep(0.6)
    time.sleep(2.5)
    over(pair)


# --- DTLS to the gateway --------------------------------------------------------------------------
def gateway(lab, *server, ends=("client",), delay=0.010, bits=2048):
    """client - r1 - ~wire - r2 - server with OpenSSL's DTLS server on UDP 3391, which is returned."""
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(delay, 0.0004)
    for end in ends:
        lab.record(end, end)
    certificate, key = lab.certificate("-newkey", "rsa:%d" % bits)
    if server == (None,):
        return None
    return lab.server.serve("openssl", "s_server", "-quiet", "-accept", "%s:3391" % lab.server.v4, "-cert", certificate,
                            "-key", key, *(server or ("-dtls1_2",)), port=3391, kind="udp", stdin=subprocess.PIPE)


def dial(lab, *options):
    """OpenSSL's DTLS client."""
    options = options or ("-dtls1_2",)
    return lab.client.start("openssl", "s_client", "-quiet", "-no_ign_eof", "-connect", lab.server.v4 + ":3391", *options,
                            stdin=subprocess.PIPE)


def lines(client, server, count=4, pause=0.2):
    """Both sides send lines, as RDP-UDP inside of DTLS would acknowledge."""
    for _ in range(count):
        for process, size in ((client, 60), (server, 300)):
            try:
                process.stdin.write(os.urandom(size // 2).hex().encode() + b"\n")
                process.stdin.flush()
            except OSError:
                pass  # this side has given up
            time.sleep(pause / 2)


def hang_up(client):
    """The client says close_notify."""
    client.stdin.close()
    try:
        client.wait(3)
    except subprocess.TimeoutExpired:
        pass


@scene("dtls-healthy", "DTLS to UDP 3391 works and is closed by the client")
def dtls_healthy(lab):
    server = gateway(lab)
    client = dial(lab)
    time.sleep(0.5)
    lines(client, server)
    hang_up(client)


@scene("dtls-blocked", "UDP 3391 is dropped on the way: the ClientHello is never answered")
def dtls_blocked(lab):
    gateway(lab)
    lab.net["r1"].firewall("forward", "udp dport 3391 drop")
    dial(lab)
    time.sleep(8)


@scene("dtls-prohibited", "A router prohibits UDP 3391 by ICMP")
def dtls_prohibited(lab):
    gateway(lab)
    lab.net["r2"].firewall("forward", "udp dport 3391 reject with icmpx type admin-prohibited")
    dial(lab)
    time.sleep(4)


@scene("dtls-port-closed", "Nothing listens on UDP 3391: the gateway's own kernel says so")
def dtls_port_closed(lab):
    gateway(lab, None)
    dial(lab)
    time.sleep(4)


@scene("dtls-certificate-refused", "The client turns the gateway's DTLS certificate down by an alert")
def dtls_certificate(lab):
    gateway(lab)
    dial(lab, "-dtls1_2", "-verify_return_error", "-verify", "4")
    time.sleep(2)


@scene("dtls-version-mismatch", "The client offers DTLS 1.0 only, the gateway wants 1.2")
def dtls_version(lab):
    gateway(lab)
    dial(lab, "-dtls1", "-cipher", "DEFAULT:@SECLEVEL=0")
    time.sleep(2)


@scene("dtls-large-lost", "The gateway's DTLS flight has datagrams that the path cannot carry")
def dtls_large(lab):
    gateway(lab, "-dtls1_2", "-mtu", "1400", ends=("client", "server"), bits=8192)
    lab.net["r1"].firewall("forward", "meta l4proto udp meta length > 1000 drop")
    dial(lab)
    time.sleep(9)


@scene("dtls-dropped", "DTLS on UDP 3391 is up, and then the way to the client is dropped")
def dtls_dropped(lab):
    server = gateway(lab)
    client = dial(lab)
    time.sleep(0.5)
    lines(client, server, 6)
    lab.net["r2"].firewall("forward", "udp sport 3391 drop")
    lines(client, server, 12, pause=0.5)


@scene("dtls-mapping-expires", "A firewall forgets a silent DTLS conversation; the idle time is moved to 130 s")
def dtls_mapping(lab):
    server = gateway(lab, ends=("client", "server"))
    r1 = lab.net["r1"]
    r1.firewall("forward", "ct state new udp sport 3391 drop")
    r1.sysctl(net__netfilter__nf_conntrack_udp_timeout=3, net__netfilter__nf_conntrack_udp_timeout_stream=3)
    client = dial(lab)
    time.sleep(0.5)
    lines(client, server, 4)
    # What it knows goes on; what is new has to be allowed first, and data in the middle are not.
    r1.firewall("forward", "ct state new meta l4proto udp drop")
    lab.idle(5.5, shown=130)
    lines(client, server, 10, pause=0.4)


@scene("dtls-answers-lost", "The gateway's answers on UDP 3391 are dropped on their way back, from the first one on")
def dtls_answers_lost(lab):
    gateway(lab, ends=("client", "server"))
    lab.net["r2"].firewall("forward", "udp sport 3391 drop")
    dial(lab)
    time.sleep(8)


@scene("dtls-flight-lost", "The HelloVerifyRequest passes, and the gateway's flight is dropped")
def dtls_flight_lost(lab):
    gateway(lab, ends=("client", "server"))
    lab.net["r2"].firewall("forward", "udp sport 3391 meta length > 120 drop")
    dial(lab)
    time.sleep(8)


# --- the gateway's side channel inside DTLS ([MS-TSGU] 2.2.11) --------------------------------------
def side_packet(kind, body):
    return struct.pack("<HH", kind, len(body)) + body


def side_channel(lab, result):
    """The client asks for the channel in two fragments, the gateway answers with `result`."""
    certificate, key = lab.certificate()
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.010, 0.0004)
    lab.record("client", "client")
    lab.with_keys("client")
    server = lab.server.serve("openssl", "s_server", "-quiet", "-accept", "%s:3391" % lab.server.v4, "-cert", certificate,
                              "-key", key, "-dtls1_2", port=3391, kind="udp", stdin=subprocess.PIPE)
    client = lab.client.start("openssl", "s_client", "-quiet", "-no_ign_eof", "-connect", lab.server.v4 + ":3391", "-dtls1_2",
                              "-keylogfile", lab.keylog, stdin=subprocess.PIPE)
    time.sleep(0.5)

    def put(process, data):
        process.stdin.write(data)
        process.stdin.flush()
        time.sleep(0.15)

    cookie = os.urandom(1200)
    request = side_packet(1, struct.pack("<HHHHIi", 3389, len(cookie), 1232, 1232, 0, 77) + cookie)
    for number, at in enumerate(range(0, len(request), 1000)):
        part = request[at:at + 1000]
        put(client, side_packet(5, struct.pack("<HHH", number, 2, len(part)) + part))
    put(server, side_packet(2, struct.pack("<HHIq", 1232, 1232, 0, result)))
    return client, server, put


@scene("dtls-side-channel-healthy", "The gateway opens the side channel, data pass, the client ends it")
def side_channel_healthy(lab):
    client, server, put = side_channel(lab, 0)
    for _ in range(4):
        put(client, side_packet(3, os.urandom(90)))
        put(server, side_packet(3, os.urandom(600)))
    put(client, side_packet(4, struct.pack("<q", 0)))
    hang_up(client)


@scene("dtls-side-channel-refused", "The gateway does not accept the cookie on its side channel")
def side_channel_refused(lab):
    client, server, put = side_channel(lab, 0x800759F8)
    time.sleep(0.3)
    hang_up(client)


@scene("udp-refused-midway", "After a second of RDP-UDP a router prohibits it by ICMP, in both directions")
def refused_midway(lab):
    pair, client, host = opened(lab, ends=("client", "server"))
    talk(client, host, rounds=5)
    lab.net["r2"].firewall("forward", "meta l4proto udp reject with icmpx type admin-prohibited")
    talk(client, host, rounds=3, large=700)
    time.sleep(6)
    over(pair)


@scene("udp-policed", "A policer lets six datagrams of the host pass in a second, and the host sends many more")
def policed(lab):
    pair, client, host = opened(lab, ends=("client", "server"))
    talk(client, host, rounds=3)
    lab.net["r2"].firewall("forward", "udp sport 3389 limit rate over 6/second burst 5 packets drop")
    talk(client, host, rounds=14, large=3600)
    time.sleep(2)
    client.stop()
    host.stop()
    over(pair)


@scene("udp-late-answer-healthy", "The first SYN is lost, the second one is answered")
def late_answer(lab):
    pair = beside(lab, ends=("client",))
    host = Host(lab)
    lab.net["r2"].firewall("forward", "udp dport 3389 drop")
    client = Client(lab, lab.server.v4, correlation=os.urandom(16))
    time.sleep(2)
    lab.net["r2"].no_firewall()
    assert client.ready.wait(8), "RDP-UDP does not open"
    client.say(28)
    time.sleep(0.1)
    host.say(8)
    talk(client, host, rounds=4)
    client.stop()
    host.stop()
    over(pair)


@scene("udp-two-flows", "Of two RDP-UDP conversations one works, and the SYNs of the other are lost")
def two_flows(lab):
    pair, client, host = opened(lab, ends=("client",))
    lab.net["r2"].firewall("forward", "udp dport 3389 meta length > 1200 drop")
    other = Client(lab, lab.server.v4)
    while other.thread.is_alive():
        talk(client, host, rounds=1, large=300, pause=0.5)
    client.stop()
    host.stop()
    over(pair)


# --- RDP Shortpath: STUN first, then RDP-UDP between the same ports or through a relay ---------------
COOKIE = 0x2112A442


def stun(kind, body=b"", transaction=None):
    return struct.pack("!HHI", kind, len(body), COOKIE) + (transaction or os.urandom(12)) + body


@scene("udp-relayed-blocked", "RDP-UDP through a TURN relay: the allocation works, the SYNs in channel data are never answered")
def relayed(lab):
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.010)
    lab.record("client", "client")
    relay = lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM)
    relay.bind((lab.server.v4, 3478))
    client = lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    relay.settimeout(2)
    client.settimeout(2)

    def ask(kind, answer, body=b"", result=b""):
        request = stun(kind, body)
        client.sendto(request, (lab.server.v4, 3478))
        _, sender = relay.recvfrom(2048)
        relay.sendto(stun(answer, result, request[8:20]), sender)
        client.recvfrom(2048)

    transport = struct.pack("!HHI", 0x19, 4, 17 << 24)
    ask(0x003, 0x113, transport, struct.pack("!HHHBB", 9, 4, 0, 4, 1))
    ask(0x003, 0x103, transport, struct.pack("!HHBBHI", 0x16, 8, 0, 1, 50000 ^ COOKIE >> 16, 0x0A010314 ^ COOKIE))
    ask(0x008, 0x108)
    ask(0x009, 0x109, struct.pack("!HHHH", 0x0C, 4, 0x4000, 0))
    request = syn(4711, V3, os.urandom(16))
    for pause in SYN_AFTER + (1.0,):
        client.sendto(struct.pack("!HH", 0x4000, len(request)) + request, (lab.server.v4, 3478))
        time.sleep(pause)
    relay.close()
    client.close()


# --- near misses ------------------------------------------------------------------------------------
@scene("udp-other-healthy", "Other protocols on UDP 3389 and 3391, STUN and QUIC, beside a healthy session")
def others(lab):
    pair = beside(lab, ends=("client",))
    listeners = []
    for port in (3389, 3391, 3478):
        listener = lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind((lab.server.v4, port))
        listeners.append(listener)
    with inside(lab.client.ns):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(6):  # text, as a logger would send
        sender.sendto(b"<134>Nov 20 10:00:00 host app: a line of a log that went astray", (lab.server.v4, 3389))
        time.sleep(0.3)
    random = lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(6):
        random.sendto(os.urandom(400), (lab.server.v4, 3391))
        time.sleep(0.3)
    quic = lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    initial = b"\xc3" + struct.pack("!I", 1) + b"\x08" + os.urandom(8) + b"\x00" + b"\x00\x44\xb0"
    for _ in range(3):
        quic.sendto((initial + os.urandom(1200))[:1200], (lab.server.v4, 3391))
        time.sleep(0.5)
    stun = lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(3):
        stun.sendto(struct.pack("!HHI", 1, 0, 0x2112A442) + os.urandom(12), (lab.server.v4, 3478))
        time.sleep(0.5)
    over(pair)
    for one in listeners + [sender, random, quic, stun]:
        one.close()
