"""RSTs in the form of known devices and stacks, other things that devices do, and what merely looks so."""

import time

from packets import ACK, RST, reset
from scene import scene
from scenes.resets import forget, session_data, windows_server
from wire import client_hello, connection_request, drop, once


def path(lab, version=4, phase="session", windows=False, rounds=3, ends=("client", "server"), **options):
    """client - r1 - ~wire - r2 - r3 - server, recorded at the ends and played up to a phase."""
    lab.chain("client", "r1", "~wire", "r2", "r3", "server")
    lab.wire.delay(0.010, 0.0005)
    if windows:
        windows_server(lab)
    for end in ends:
        lab.record(end, end)
    pair = lab.pair(version, **options)
    if phase:
        assert pair.until(phase), (pair.client.error, pair.server.error)
        if phase == "session":
            pair.traffic(rounds=rounds)
    return pair


def strike(lab, pair, action, until="session", condition=session_data):
    """The wire does `action` to the first packet that meets the condition; the peers go on."""
    lab.wire.rule(once(condition, action))
    if until == "traffic":
        pair.traffic(rounds=1, timeout=3, wait=False)
    else:
        pair.until(until, timeout=3, wait=False)
    time.sleep(0.3)


# --- forms of devices ------------------------------------------------------------------------------
@scene("device-pf-credssp", "A pf-like firewall resets the client in CredSSP: RST,ACK, TOS 0x10, the data are swallowed")
def pf(lab):
    pair = path(lab, phase="tls")

    def kill(p):
        p.drop()
        p.inject(reset(p.packet, "sender", flags=RST | ACK, ttl=64, ip_id=0x5D02, tos=0x10), "<")

    strike(lab, pair, kill, "credssp")


@scene("device-suricata-mcs", "A Suricata-like inline IPS resets both ends in MCS: DF clear, window copied from the trigger")
def suricata(lab):
    pair = path(lab, phase="credssp", windows=True)

    def kill(p):
        p.drop()
        for way, towards in (("<", "sender"), (">", "receiver")):
            p.inject(reset(p.packet, towards, flags=RST | ACK, ttl=64, ip_id=0x0000, df=False,
                           window=p.packet.window), way)

    strike(lab, pair, kill, "mcs")


@scene("device-snort-session", "A Snort-like response: TTLs made from the trigger's, a fan of sequence numbers, both ends")
def snort(lab):
    pair = path(lab, windows=True)

    def kill(p):
        packet, length = p.packet, len(p.packet.payload)
        for number, factor in enumerate((0, 1, 3, 5, 9)):
            p.inject(reset(packet, "sender", flags=RST | ACK, seq=packet.ack + factor * length,
                           ttl=max(64, 255 - packet.ttl), ip_id=0xA000 + 11 * number, df=False), "<", 0.0002 * number)
            p.inject(reset(packet, "receiver", flags=RST | ACK, seq=packet.next_seq + factor * length,
                           ttl=packet.ttl, ip_id=0xB000 + 11 * number, df=False), ">", 0.0002 * number)

    strike(lab, pair, kill, "traffic")


@scene("device-ipfilter-request", "A device answers the Connection Request with a RST that copies the request's IP-ID")
def ipfilter(lab):
    pair = path(lab, phase="tcp", windows=True)

    def kill(p):
        p.drop()
        p.inject(reset(p.packet, "sender", flags=RST, ttl=64, ip_id=p.packet.ip_id), "<")

    strike(lab, pair, kill, "x224", connection_request)


@scene("device-label-v6", "A device with the server's own hop limit resets the client (IPv6): flow label 0, no timestamps, too soon")
def label(lab):
    pair = path(lab, 6, tls="1.3", ends=("client",))
    # Two routers stand between the wire and the server.
    strike(lab, pair, lambda p: p.inject(reset(p.packet, "sender", flags=RST | ACK, ttl=62), "<"), "traffic")


@scene("device-server-hello-killed", "A device kills the connection when it sees the server's certificate: RST to both ends")
def certificate(lab):
    pair = path(lab, phase="x224")

    def kill(p):
        p.drop()
        p.inject(reset(p.packet, "sender", flags=RST | ACK, ttl=128, ip_id=0x3001), ">")
        p.inject(reset(p.packet, "receiver", flags=RST | ACK, ttl=128, ip_id=0x3002), "<")

    strike(lab, pair, kill, "tls", lambda packet: packet.is_tcp and packet.payload[:1] == b"\x16"
           and packet.payload[5:6] == b"\x02")


@scene("device-retry-killed", "Two attempts, both killed by a device after the ClientHello")
def retried(lab):
    lab.chain("client", "r1", "~wire", "r2", "r3", "server")
    lab.wire.delay(0.010, 0.0005)
    windows_server(lab)
    lab.record_ends()

    def kill(p):
        if p.packet.is_tcp and client_hello(p.packet):
            p.drop()
            p.inject(reset(p.packet, "sender", flags=RST, ttl=64, ip_id=0), "<")

    lab.wire.rule(kill)
    for _ in range(2):
        pair = lab.pair()
        pair.until("tls", timeout=2, wait=False)
        pair.listener.close()
        time.sleep(1)


@scene("device-many-flows", "A device restarts: three sessions of one client are reset within a moment, both ends")
def many(lab):
    lab.chain("client", "r1", "~wire", "r2", "r3", "server")
    lab.wire.delay(0.010, 0.0005)
    windows_server(lab)
    lab.record("client", "client")
    last = {}

    def remember(p):
        if p.packet.is_tcp and p.direction == ">":
            last[p.packet.sport] = p.packet

    lab.wire.rule(remember)
    for _ in range(3):
        pair = lab.pair(selected=1)
        assert pair.until("session")
        pair.listener.close()
    time.sleep(0.5)
    for number, packet in enumerate(last.values()):
        lab.wire.inject(reset(packet, "sender", flags=RST | ACK, seq=packet.ack, ack=packet.next_seq, ttl=255,
                              ip_id=0x10 + 2 * number), "<", 0.01 * number)
        lab.wire.inject(reset(packet, "receiver", flags=RST | ACK, seq=packet.next_seq, ack=packet.ack, ttl=255,
                              ip_id=0x11 + 2 * number), ">", 0.01 * number)
    time.sleep(0.3)


@scene("device-age-limit", "A device resets a session at the age of a minute, though it was never idle for long")
def age(lab):
    pair = path(lab, selected=1, rounds=1)
    for _ in range(6):
        lab.idle(0.3, shown=9.8)
        pair.traffic(rounds=1, pause=0)
    client = lab.wire.last[">"]
    for way, towards, seq, ack in (("<", "sender", client.ack, client.next_seq), (">", "receiver", client.next_seq, client.ack)):
        lab.wire.inject(reset(client, towards, flags=RST | ACK, seq=seq, ack=ack, ttl=64, ip_id=0, df=False), way)
    time.sleep(0.3)


@scene("device-drops-hello", "A filter swallows every ClientHello in silence; a second attempt fares the same")
def swallowed(lab):
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.010, 0.0005)
    lab.record_ends()
    lab.wire.rule(drop(lambda packet: packet.is_tcp and client_hello(packet)))
    for _ in range(2):
        pair = lab.pair(timeout=7)
        pair.until("x224")
        pair.client.user_timeout(5)
        pair.until("tls", timeout=7, wait=False)
        pair.listener.close()


# --- genuine, though unusual -----------------------------------------------------------------------
def rewritten(lab, version, change):
    """A server that forgot the session; the wire gives its RSTs the look of another stack."""
    pair = path(lab, version, rounds=4, ends=("client",))

    def rule(p):
        if p.direction == "<" and p.packet.is_tcp and p.packet.flags & RST:
            change(p.packet)

    lab.wire.rule(rule)
    forget(lab)
    pair.exchange(pair.client, [("C", 14)])
    time.sleep(0.3)


@scene("genuine-apple-like", "The server's own stateless RST with DF clear and an unrelated IP-ID, as BSD-like stacks send it")
def apple(lab):
    def change(packet):
        packet.df, packet.ip_id = False, 0xC3A7

    rewritten(lab, 4, change)


@scene("genuine-label-zero-v6", "The server's own stateless RST with flow label 0 (IPv6), as BSD-like stacks send it")
def label_zero(lab):
    def change(packet):
        packet.label = 0

    rewritten(lab, 6, change)


@scene("genuine-unrelated-id", "The server's own stateless RST with an unrelated IP-ID, as older Linux sends it")
def unrelated(lab):
    def change(packet):
        packet.ip_id = 0x91EE

    rewritten(lab, 4, change)


@scene("genuine-reset-lost", "The server's first RST is lost; the client's next data are answered by its stateless RST")
def reset_lost(lab):
    pair = path(lab)
    lab.wire.rule(once(lambda packet: packet.is_tcp and packet.flags & RST, lambda p: p.drop()))
    time.sleep(0.1)
    pair.server.abort()
    time.sleep(0.7)
    pair.exchange(pair.client, [("C", 14)])
    time.sleep(0.3)


@scene("genuine-reset-after-loss", "The server's last data are lost just before its RST, which therefore lies ahead and is challenged")
def after_loss(lab):
    pair = path(lab)
    time.sleep(0.1)
    lab.wire.rule(once(lambda packet: packet.is_tcp and packet.sport == 3389 and packet.payload, lambda p: p.drop()))
    pair.exchange(pair.server, [("S", 420)])
    time.sleep(0.004)
    pair.server.abort()
    time.sleep(0.5)


@scene("genuine-host-firewall", "The server's own packet filter begins to reject the session's packets")
def host_firewall(lab):
    pair = path(lab, rounds=5)
    lab.server.firewall("input", "tcp dport 3389 reject with tcp reset")
    pair.traffic(rounds=1, timeout=3, wait=False)


@scene("strays-after-end-healthy", "The client ends its session as usual; a NAT beside it answers the server's late data with RSTs")
def strays(lab):
    pair = path(lab, rounds=4)

    def answer(p):
        if ended and p.direction == "<" and p.packet.is_tcp and p.packet.payload:
            p.drop()
            p.inject(reset(p.packet, "sender", flags=RST | ACK, ttl=245, ip_id=0x0F00 + len(ended)), ">", after=0.020)
            ended.append(1)

    ended = []
    lab.wire.rule(answer)
    pair.say([("C", 35), ("C", 9)])
    # The server still sends while the client's RST is under way.
    pair.client.abort()
    ended.append(1)
    for size in (640, 310, 220):
        try:
            pair.server.send(b"x" * size)
        except OSError:
            break
    time.sleep(0.5)


@scene("mss-clamped-healthy", "A router clamps the MSS to 1220; the session works")
def clamped(lab):
    lab.chain("client", "r1", "~wire", "r2", "r3", "server")
    lab.wire.delay(0.010, 0.0005)
    lab.net["r2"].firewall("forward", "tcp flags & syn == syn tcp option maxseg size set 1220")
    lab.record_ends()
    pair = lab.pair()
    assert pair.until("session") and pair.traffic(rounds=1)
    pair.goodbye()


def synproxy(lab):
    """r2 answers SYNs itself (nft synproxy) and opens the connection to the server only then."""
    lab.chain("client", "r1", "~wire", "r2", "r3", "server")
    lab.wire.delay(0.010, 0.0005)
    lab.net["r2"].sysctl(net__netfilter__nf_conntrack_tcp_loose=0, net__ipv4__tcp_syncookies=1,
                         net__ipv4__tcp_timestamps=1)
    lab.net["r2"].nft("""table ip proxy {
  chain pre { type filter hook prerouting priority -300; policy accept; tcp dport 3389 tcp flags syn notrack; }
  chain proxied { type filter hook forward priority 0; policy accept;
    tcp dport 3389 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
    ct state invalid drop; }
}
""")
    lab.record_ends()
    pair = lab.pair()
    assert pair.until("session") and pair.traffic(rounds=2)
    return pair


@scene("syn-proxy-healthy", "A SYN proxy stands in the path (its TTL in the handshake, the server's later); the session works")
def syn_proxy(lab):
    synproxy(lab).goodbye()


@scene("syn-proxy-peer-reset", "A SYN proxy stands in the path; the server resets the session itself")
def syn_proxy_reset(lab):
    pair = synproxy(lab)
    pair.server.abort()
    time.sleep(0.5)
    try:
        pair.exchange(pair.client, [("C", 14)])
    except OSError:
        pass
    time.sleep(0.4)
