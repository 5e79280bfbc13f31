"""Faults of the network under real RDP software: xfreerdp against xrdp and the shadow server.

FreeRDP's TCP keep-alives (after 5 s of silence, every 2 s, three times) are what speaks in a session
without input.
"""

import time

from authority import Authority
from packets import ACK, FIN, PSH, RST, reset, segment
from scene import scene, stop
from scenes.resets import forget, session_data
from software import SERVER_NAME, freerdp, network, shadow, visit, xrdp
from wire import anything, client_hello, drop, larger_than, once

ENDS = ("client", "server")


def desk(lab, version=4, record=ENDS, delay=0.008, stay=2.5, **settings):
    """A session of xfreerdp with xrdp's login window; returns the client's process."""
    network(lab, delay=delay, record=record)
    xrdp(lab, Authority(lab).host(SERVER_NAME), **settings)
    target = lab.server.v4 if version == 4 else "[%s]" % lab.server.v6
    process = freerdp(lab, target, "/sec:tls", password=None, keys=False)
    time.sleep(stay)
    return process


def over(process, limit=20):
    """Wait until the client has ended by itself."""
    try:
        process.wait(limit)
    except Exception:
        stop(process)
    time.sleep(0.5)


def firewall(lab, node, rules, established=3, loose=0, nat=False):
    """Connection tracking with a short timer at a router (loaded before the connection begins)."""
    router = lab.net[node]
    router.firewall("forward", "ct state new,established accept", *rules)
    if nat:
        router.nft("table inet nat { chain post { type nat hook postrouting priority 100; "
                   "oifname \"to-server\" masquerade random; }; }")
    router.sysctl(net__netfilter__nf_conntrack_tcp_timeout_established=established,
                  net__netfilter__nf_conntrack_tcp_loose=loose)


@scene("fault-reject-session", "A firewall begins to reject with tcp reset under a session of FreeRDP with xrdp")
def reject_session(lab):
    client = desk(lab)
    lab.net["r1"].firewall("forward", "tcp dport 3389 reject with tcp reset")
    over(client)


@scene("fault-reject-session-v6", "A firewall begins to reject with tcp reset under a session of FreeRDP with xrdp (IPv6)")
def reject_session_v6(lab):
    client = desk(lab, 6, record=("client",), ssl_protocols="TLSv1.2")
    lab.net["r1"].firewall("forward", "tcp dport 3389 reject with tcp reset")
    over(client)


@scene("host-rejects-session", "The host's own firewall begins to reject with tcp reset under a session of FreeRDP with xrdp")
def host_rejects(lab):
    client = desk(lab)
    lab.server.firewall("input", "tcp dport 3389 reject with tcp reset")
    over(client)


@scene("host-filter-resets-client", "The client's own packet filter begins to reject with tcp reset under a session of FreeRDP with xrdp")
def client_filter(lab):
    client = desk(lab, stay=4)
    lab.client.firewall("input", "tcp sport 3389 reject with tcp reset")
    over(client)


@scene("reject-one-hop-nearer", "The router next to xrdp begins to reject with tcp reset under a session: TTL one above the host's")
def reject_nearer(lab):
    client = desk(lab, record=("client",))
    lab.net["r2"].firewall("forward", "tcp dport 3389 reject with tcp reset")
    over(client)


@scene("reject-hello-one-hop-nearer", "The router next to xrdp rejects FreeRDP's ClientHello with tcp reset: TTL one above the host's")
def reject_hello_nearer(lab):
    network(lab, delay=0.012, record=("client",))
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    lab.net["r2"].firewall("forward", "tcp dport 3389 @ih,0,8 0x16 reject with tcp reset")
    over(freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False))


@scene("reject-answers-then-close", "A router rejects what xrdp sends with tcp reset: xrdp's end is reset, FreeRDP hears nothing more")
def reject_answers(lab):
    client = desk(lab)
    lab.net["r2"].firewall("forward", "tcp sport 3389 reject with tcp reset")
    over(client)


@scene("fault-drop-session", "The path dies under a session of FreeRDP with xrdp; its keep-alives go unanswered, it resets")
def drop_session(lab):
    client = desk(lab, record=("client",))
    lab.wire.rule(drop(anything))
    over(client)


@scene("fault-reset-both", "A device resets both ends of a session of FreeRDP with xrdp at one moment")
def reset_both(lab):
    client = desk(lab)
    time.sleep(1)
    last = lab.wire.last[">"]
    lab.wire.inject(reset(last, "sender", flags=RST | ACK, seq=last.ack, ack=last.next_seq, ttl=255, ip_id=0x2211,
                          df=False), "<")
    lab.wire.inject(reset(last, "receiver", flags=RST | ACK, seq=last.next_seq, ack=last.ack, ttl=255, ip_id=0x2212,
                          df=False), ">")
    over(client)


@scene("fault-inject-hello", "A device answers FreeRDP's ClientHello with a RST; the hello reaches xrdp all the same")
def inject_hello(lab):
    network(lab, delay=0.015, record=("client",))
    lab.wire.rule(once(client_hello, lambda p: p.inject(
        reset(p.packet, "sender", flags=RST, ttl=115, ip_id=0x6F31, df=False), "<")))
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    over(freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False))


@scene("fault-inject-nla", "An inline device resets both ends when it sees the client's NTLM answer (FreeRDP, shadow server)")
def inject_nla(lab):
    network(lab, delay=0.010, record=ENDS)

    def kill(p):
        p.drop()
        p.inject(reset(p.packet, "sender", flags=RST | ACK, ttl=64, ip_id=0, df=False), "<")
        p.inject(reset(p.packet, "receiver", flags=RST | ACK, ttl=64, ip_id=0, df=False), ">")

    records = {}

    def answers(p):
        """The second encrypted record of each connection after the handshake: NTLM AUTHENTICATE (TLS 1.3)."""
        if session_data(p.packet) and p.packet.payload[0] == 23:
            records[p.packet.sport] = records.get(p.packet.sport, 0) + 1
            if records[p.packet.sport] == 2:
                kill(p)

    lab.wire.rule(answers)
    shadow(lab, "/sec:nla")
    over(freerdp(lab, lab.server.v4, "/sec:nla", keys=False))


@scene("fault-drop-hello", "FreeRDP's ClientHello vanishes; it gives up after nine seconds without a word")
def drop_hello(lab):
    network(lab, delay=0.010, record=("client",))
    lab.wire.rule(drop(lambda packet: packet.is_tcp and client_hello(packet)))
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    over(freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False), 25)


@scene("fault-reboot", "The host forgets a session of FreeRDP with xrdp and answers the client's keep-alive with RST")
def reboot(lab):
    client = desk(lab)
    forget(lab)
    over(client)


@scene("fault-state-reset", "A firewall forgot an idle session of FreeRDP with xrdp and answers its keep-alive with RST")
def state_reset(lab):
    network(lab, delay=0.008, record=ENDS)
    firewall(lab, "r2", ("ct state invalid meta l4proto tcp reject with tcp reset",))
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    client = freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False)
    time.sleep(4.5)
    lab.moves.append((time.time(), 296.0))
    over(client)


@scene("fault-nat-remap", "A NAT forgot an idle session of FreeRDP with xrdp: its keep-alive gets another port, the host resets")
def nat_remap(lab):
    network(lab, delay=0.008, record=ENDS)
    firewall(lab, "r2", (), nat=True, loose=1)
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    client = freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False)
    time.sleep(4.5)
    lab.moves.append((time.time(), 176.0))
    over(client)


@scene("nat-remap-then-reconnect", "A NAT forgets a session of FreeRDP with xrdp within 3 s: its keep-alive gets another port; the user dials again")
def nat_remap_again(lab):
    network(lab, delay=0.008, record=ENDS)
    lab.record("between", "r2", "r1")
    firewall(lab, "r2", (), nat=True, loose=1)
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    over(freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False))
    time.sleep(1)
    visit(lab, lab.server.v4, "/sec:tls", password=None, stay=4, keys=False)
    time.sleep(1)


@scene("black-hole-tls-flight", "Packets above 1000 bytes from the server vanish from the beginning: xrdp's certificate never arrives")
def black_hole_flight(lab):
    network(lab, delay=0.008, record=ENDS)
    lab.wire.rule(drop(larger_than(1000), "<"))
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    over(freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False), 25)


@scene("black-hole-user-leaves", "Packets above 1100 bytes from the server vanish; after six seconds the user ends FreeRDP")
def black_hole_leaves(lab):
    network(lab, delay=0.008, record=ENDS)
    lab.wire.rule(drop(larger_than(1100), "<"))
    shadow(lab, "/sec:nla")
    client = freerdp(lab, lab.server.v4, keys=False)
    time.sleep(6)
    client.kill()
    time.sleep(1)


@scene("fault-loss-10-healthy", "10 % of the packets are lost under a session of FreeRDP with xrdp; it works")
def loss(lab):
    network(lab, delay=0.020, record=("client",))
    lab.wire.random.seed(4)
    for lane in lab.wire.lanes.values():
        lane.loss = 0.10
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False)
    time.sleep(6)


# --- a device that speaks in the server's name, without a RST for the client -------------------------
def hang_up(lab, words=b""):
    """The wire answers the ClientHello in the server's name, with a FIN after these words, and resets the server."""

    def answer(p):
        header = {"ack": p.packet.next_seq, "window": 512, "ttl": 61, "df": True}
        if words:
            p.inject(segment(p.packet, True, flags=PSH | ACK, seq=p.packet.ack, ip_id=4711, payload=words, **header), "<")
        fin = segment(p.packet, True, flags=FIN | ACK, seq=p.packet.ack + len(words), ip_id=4712, **header)
        p.inject(fin, "<", 0.0002)
        p.inject(reset(p.packet, "receiver", flags=RST, ttl=61), ">")
        p.drop()

    lab.wire.rule(once(client_hello, answer))


@scene("fault-device-alert", "A filter answers the ClientHello of FreeRDP with a fatal TLS alert and FIN in the name of xrdp")
def device_alert(lab):
    network(lab, delay=0.020, record=ENDS)
    hang_up(lab, b"\x15\x03\x03\x00\x02\x02\x31")
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    over(freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False))


@scene("fault-device-fin", "A filter answers the ClientHello of FreeRDP with a FIN in the name of xrdp")
def device_fin(lab):
    network(lab, delay=0.015, record=ENDS)
    hang_up(lab)
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    over(freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False))


@scene("fault-device-fin-plain", "The same without TCP timestamps, as Windows hosts speak: only TTL and time tell the FIN from the server's")
def device_fin_plain(lab):
    network(lab, delay=0.015, record=("client",))
    lab.server.sysctl(net__ipv4__tcp_timestamps=0)
    hang_up(lab)
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    over(freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False))


# --- ICMP in the middle of a connection ---------------------------------------------------------------
@scene("fault-icmp-client-hello", "A firewall rejects the ClientHello of FreeRDP with ICMP, administratively prohibited")
def icmp_client_hello(lab):
    network(lab, delay=0.006, record=("client",))
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    lab.net["r1"].firewall("forward", "tcp dport 3389 @ih,0,8 0x16 reject with icmpx admin-prohibited")
    over(freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False), 25)


@scene("fault-link-down", "The server's link goes down under a session of FreeRDP with xrdp; the router says host unreachable")
def link_down(lab):
    client = desk(lab, record=("client",), delay=0.006, stay=3.5)
    lab.server.run("ip", "link", "set", lab.server.ports["r2"], "down")
    over(client, 25)
