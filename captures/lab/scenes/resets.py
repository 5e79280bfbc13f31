"""Who made the RST: genuine resets of both ends, resets by devices on the path."""

import os
import signal

import time

import peers
from packets import ACK, RST, reset
from scene import scene
from wire import anything, client_hello, connection_request, drop, gait, once


def played(lab, version=4, phase="session", between=("r1", "r2"), **options):
    """The standard path (client, router, wire, router, server; 10 ms each way), played up to a phase."""
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.010, 0.0005)
    lab.record_ends(between)
    pair = lab.pair(version, **options)
    if phase:
        assert pair.until(phase), (pair.client.error, pair.server.error)
    return pair


def windows_server(lab):
    """Give the server a Windows-like gait: TTL 128, no timestamps, counting IP-ID, RST,ACK with window 0.

    TTL and timestamps are sysctls of the host; IP-ID and the form of its RST are rewritten in the
    wire, so they are seen at the client and between, not at the server itself.
    """
    lab.server.sysctl(net__ipv4__ip_default_ttl=128, net__ipv4__tcp_timestamps=0)
    lab.wire.rule(gait("<", ip_id=0x2B10, windows_reset=True))


def windows_played(lab, phase="session", between=("r1", "r2"), **options):
    """As `played`, with a Windows-like server."""
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.010, 0.0005)
    windows_server(lab)
    lab.record_ends(between)
    pair = lab.pair(4, **options)
    if phase:
        assert pair.until(phase), (pair.client.error, pair.server.error)
    return pair


# --- the peer's own stack ------------------------------------------------------------------------
@scene("peer-reset-linger", "The server's process aborts the session with SO_LINGER 0")
def peer_reset_linger(lab):
    pair = played(lab)
    pair.traffic()
    pair.server.abort()


@scene("peer-reset-linger-v6", "The server's process aborts the session with SO_LINGER 0 (IPv6, TLS 1.3)")
def peer_reset_linger_v6(lab):
    pair = played(lab, 6, tls="1.3", between=None)
    pair.traffic(rounds=5)
    pair.server.abort()


@scene("peer-reset-windows", "A Windows-like server resets an active session (RST,ACK, window 0, next IP-ID)")
def peer_reset_windows(lab):
    pair = windows_played(lab)
    pair.traffic(rounds=5)
    time.sleep(0.3)
    pair.server.abort()


@scene("peer-reset-unread", "The server closes in CredSSP with unread data in its socket: the kernel resets")
def peer_reset_unread(lab):
    pair = played(lab, phase="tls")
    pair.exchange(pair.client, [("C", 57)])
    time.sleep(0.2)  # the record lies unread in the server's socket
    pair.server.close()


@scene("peer-reset-crash-tls", "The server's process is killed while it has the ClientHello unread")
def peer_reset_crash(lab):
    pair = played(lab, phase="x224")
    # The socket moves into a process of its own, which is killed as a crash would end it.
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            time.sleep(60)
    pair.server.socket.close()
    pair.server.socket = None
    pair.alone(pair.client, "tls")
    time.sleep(0.25)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    time.sleep(0.2)


def forget(lab):
    """Make the server forget its connections without a word, as a reboot does."""
    lab.server.firewall("output", "tcp flags & rst == rst drop")
    lab.server.run("ss", "-K", "sport", "= :3389")
    lab.server.no_firewall()


@scene("peer-reset-reboot", "The host was rebooted in a session and answers the client's next data with RST")
def reboot(lab):
    pair = played(lab, between=None)
    pair.traffic()
    forget(lab)
    pair.exchange(pair.client, [("C", 14)])
    time.sleep(0.3)


@scene("peer-reset-reboot-v6", "The host is down for some seconds, retransmissions follow, then it answers RST (IPv6)")
def reboot_v6(lab):
    pair = played(lab, 6)
    pair.traffic()
    down = lab.wire.rule(drop(anything))
    forget(lab)
    pair.exchange(pair.client, [("C", 14)])
    time.sleep(4)
    lab.wire.unrule(down)
    time.sleep(4)


def detour(lab):
    """A network in which the server's answers can be sent over one router more; returns the switch."""
    lab.net.chain("client", "r1", "~wire", "r2", "server")
    lab.net.link("r2", "r3").link("r3", "server")
    lab.ready()
    for node in ("server", "r2", "r3"):
        lab.net[node].sysctl(net__ipv4__conf__all__rp_filter=0)
    lab.wire.delay(0.010, 0.0005)
    lab.record("client", "client")
    lab.record("server", "server", "r2")
    lab.record("between", "r1", "r2")
    number = {frozenset((a.name, b.name)): n for n, a, b in lab.net.links}

    def switch(router):
        link = number[frozenset((router, "server"))]
        lab.server.run("ip", "route", "replace", "10.1.1.0/24", "via", lab.net[router].addresses[link][0])

    switch("r2")
    return switch


@scene("peer-reset-ttl-shift", "A route change alters the server's TTL by one just before its genuine RST")
def ttl_shift(lab):
    switch = detour(lab)
    pair = lab.pair(4)
    assert pair.until("session") and pair.traffic(rounds=6)
    time.sleep(0.2)
    # The server's own port towards the detour is recorded too: its RST leaves there.
    lab.record("server-detour", "server", "r3")
    switch("r3")
    pair.server.abort()


@scene("peer-reset-ttl-flaps", "The server's TTL flaps by one on its way; its genuine RST comes with the rarer value")
def ttl_flaps(lab):
    pair = played(lab, phase="tcp", between=None)
    longer = "ip ttl set 62"  # as over one router more
    lab.net["r2"].firewall("forward", "tcp sport 3389 numgen inc mod 5 == 3 " + longer,
                           "tcp sport 3389 tcp flags & rst == rst " + longer)
    assert pair.until("session") and pair.traffic(rounds=5)
    time.sleep(0.2)
    pair.server.abort()


@scene("peer-reset-id-zero", "A Windows-like server whose genuine RST carries IP-ID 0; TTL, time and numbers are its own")
def id_zero(lab):
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.010, 0.0005)
    lab.server.sysctl(net__ipv4__ip_default_ttl=128, net__ipv4__tcp_timestamps=0)
    lab.record_ends()
    pair = lab.pair(4)
    assert pair.until("session") and pair.traffic(rounds=4)
    forget(lab)
    pair.exchange(pair.client, [("C", 14)])
    time.sleep(0.3)


@scene("peer-reset-after-client-hello", "The server's own stack resets right after the ClientHello (unusable key)")
def after_hello(lab):
    pair = windows_played(lab, phase="x224")
    pair.alone(pair.client, "tls")
    time.sleep(0.3)
    pair.server.abort()


# --- the client leaves ---------------------------------------------------------------------------
@scene("client-leaves-after-confirm", "The client resets seconds after the Connection Confirm (a prompt was cancelled)")
def leaves_confirm(lab):
    pair = played(lab, phase="x224")
    lab.idle(1, shown=9)
    pair.client.abort()


@scene("client-leaves-after-tls", "The client closes after the TLS handshake: a certificate question was answered with no")
def leaves_tls(lab):
    pair = played(lab, 6, phase="tls", tls="1.3")
    lab.idle(1, shown=6)
    pair.client.finish()


@scene("client-leaves-in-credssp", "The client resets after the server's challenge; nothing is wrong with the path")
def leaves_credssp(lab):
    pair = played(lab, phase="tls")
    pair.say(peers.RECORDS["credssp"][:2])
    time.sleep(0.4)
    pair.client.abort()


@scene("client-redials-healthy", "As mstsc does: the first connection is reset after the Confirm, the second works")
def redials(lab):
    pair = played(lab, phase="x224", between=None)
    pair.client.abort()
    pair.done.clear()
    assert pair.until("session") and pair.traffic()
    pair.goodbye()


@scene("client-closes-window-healthy", "A session that the user ends: ultimatum from the client, then its RST,ACK")
def closes_window(lab):
    pair = windows_played(lab, between=None)
    pair.traffic(rounds=6)
    pair.say([("C", 35), ("C", 9)])
    pair.client.abort()


@scene("session-fin-healthy", "A session that ends with close_notify and FIN of both sides (IPv6, TLS 1.3)")
def fin(lab):
    pair = played(lab, 6, tls="1.3")
    pair.traffic(rounds=4)
    pair.part()


@scene("session-open-healthy", "A session that is alive at the end of the capture")
def still_open(lab):
    pair = played(lab, between=None)
    pair.traffic(rounds=8)


# --- devices in the path ---------------------------------------------------------------------------
def road(lab, version=4, phase="session", between=("r2", "r3"), **options):
    """client - r1 - ~wire - r2 - r3 - server; played up to a phase (None: not at all)."""
    lab.chain("client", "r1", "~wire", "r2", "r3", "server")
    lab.wire.delay(0.010, 0.0005)
    lab.record_ends(between)
    pair = lab.pair(version, **options)
    if phase:
        assert pair.until(phase), (pair.client.error, pair.server.error)
    return pair


@scene("middlebox-reject-hello", "nft rejects with tcp reset from the ClientHello on, at the first router")
def reject_hello(lab):
    pair = road(lab, phase="x224")
    lab.net["r1"].firewall("forward", "tcp dport 3389 reject with tcp reset")
    pair.until("tls", timeout=3, wait=False)


@scene("middlebox-reject-hello-v6", "nft rejects with tcp reset from the ClientHello on, at the first router (IPv6)")
def reject_hello_v6(lab):
    pair = road(lab, 6, phase="x224")
    lab.net["r1"].firewall("forward", "tcp dport 3389 reject with tcp reset")
    pair.until("tls", timeout=3, wait=False)


@scene("middlebox-reject-session", "nft begins to reject with tcp reset in the middle of an active session, at r1")
def reject_session(lab):
    pair = road(lab)
    pair.traffic(rounds=6)
    lab.net["r1"].firewall("forward", "tcp dport 3389 reject with tcp reset")
    pair.traffic(rounds=1, timeout=3, wait=False)


@scene("middlebox-reject-session-v6", "nft begins to reject with tcp reset in an active session, at r1 (IPv6)")
def reject_session_v6(lab):
    pair = road(lab, 6, tls="1.3", between=None)
    pair.traffic(rounds=6)
    lab.net["r1"].firewall("forward", "tcp dport 3389 reject with tcp reset")
    pair.traffic(rounds=1, timeout=3, wait=False)


@scene("middlebox-reject-server-side", "nft rejects the server's packets: the server gets the RST, the client sees silence")
def reject_server_side(lab):
    pair = road(lab)
    pair.traffic(rounds=4)
    lab.net["r1"].firewall("forward", "tcp sport 3389 reject with tcp reset")
    pair.client.user_timeout(7)
    pair.traffic(rounds=1, timeout=8, wait=False)


def injected(lab, condition, action, phase=None, version=4, windows=False, until="session", rounds=0,
             between=("r1", "r2"), **options):
    """Play a session in which the wire injects when `condition` first holds for a packet."""
    lab.chain("client", "r1", "~wire", "r2", "r3", "server")
    lab.wire.delay(0.010, 0.0005)
    if windows:
        windows_server(lab)
    lab.record_ends(between)
    pair = lab.pair(version, **options)
    if phase:
        assert pair.until(phase), (pair.client.error, pair.server.error)
    for _ in range(rounds):
        pair.traffic(rounds=1)
    lab.wire.rule(once(condition, action))
    if phase == "session":
        pair.traffic(rounds=2, timeout=3, wait=False)
    else:
        pair.until(until, timeout=3, wait=False)
    time.sleep(0.3)
    return pair


def session_data(packet):
    """A data segment from the client to the server."""
    return packet.is_tcp and packet.dport == 3389 and len(packet.payload) > 0


@scene("inject-hello-other-ttl", "A device on the path answers the ClientHello with a RST of another TTL; the server answers too")
def inject_hello(lab):
    injected(lab, client_hello, lambda p: p.inject(
        reset(p.packet, "sender", flags=RST | ACK, ttl=243, ip_id=0x1A2B), "<"), windows=True)


@scene("inject-connection-request-inline", "An inline device swallows the Connection Request and resets both sides")
def inject_request(lab):
    def kill(p):
        p.drop()
        p.inject(reset(p.packet, "sender", flags=RST | ACK, ttl=255, ip_id=0x0301, df=False), "<")
        p.inject(reset(p.packet, "receiver", flags=RST | ACK, ttl=255, ip_id=0x0302, df=False), ">")
    injected(lab, connection_request, kill)


@scene("inject-same-ttl-other-id", "A RST with the server's own TTL but another IP-ID gait, in an active session")
def inject_same_ttl(lab):
    # The wire stands two routers before the server: 128 - 2.
    injected(lab, session_data, lambda p: p.inject(
        reset(p.packet, "sender", flags=RST | ACK, ttl=126, ip_id=0xE3D1), "<"),
        phase="session", windows=True, rounds=4, between=None)


@scene("inject-fan", "Three RSTs with spread sequence numbers answer one segment (TTL and IP-ID of their own)")
def inject_fan(lab):
    def fan(p):
        for number, ahead in enumerate((0, 1460, 4380)):
            p.inject(reset(p.packet, "sender", seq=p.packet.ack + ahead, ttl=57, ip_id=0x7A00 + 37 * number,
                           window=1980 + number, flags=RST | ACK), "<", after=0.0004 * number)
    injected(lab, session_data, fan, phase="session", rounds=3, between=None, tls="1.3")


@scene("inject-both-ends", "A device resets both ends at one moment in an active session (RST,ACK, DF clear)")
def inject_both(lab):
    def kill(p):
        p.drop()
        p.inject(reset(p.packet, "sender", flags=RST | ACK, ttl=64, ip_id=0, df=False), "<")
        p.inject(reset(p.packet, "receiver", flags=RST | ACK, ttl=64, ip_id=0, df=False), ">")
    injected(lab, session_data, kill, phase="session", windows=True, rounds=4)


@scene("inject-both-ends-v6", "A device resets both ends in an active session (IPv6: hop limit and flow label differ)")
def inject_both_v6(lab):
    def kill(p):
        p.drop()
        p.inject(reset(p.packet, "sender", flags=RST | ACK, ttl=255), "<")
        p.inject(reset(p.packet, "receiver", flags=RST | ACK, ttl=255), ">")
    injected(lab, session_data, kill, phase="session", version=6, rounds=4, between=None)


@scene("inject-client-only", "Only the client gets the forged RST; the server goes on and is answered by the client's stack")
def inject_client_only(lab):
    injected(lab, session_data, lambda p: p.inject(
        reset(p.packet, "sender", flags=RST, ttl=64, ip_id=0), "<"),
        phase="session", windows=True, rounds=4, between=None)


@scene("inject-server-only", "Only the server gets a RST in the client's name; the client's next data are answered by RST")
def inject_server_only(lab):
    injected(lab, session_data, lambda p: p.inject(
        reset(p.packet, "receiver", flags=RST | ACK, ttl=200, ip_id=0x5151, after=False), ">"),
        phase="session", rounds=4, between=None)


@scene("inject-mimic", "Perfect mimicry: TTL, IP-ID, window and form are the server's; only the time betrays it")
def inject_mimic(lab):
    def mimic(p):
        last = p.wire.last["<"]
        p.inject(reset(p.packet, "sender", flags=RST | ACK, ttl=last.ttl, ip_id=last.ip_id + 1,
                       window=0), "<")
        p.drop()
    # A long path behind the wire: the true server cannot answer in less than 80 ms.
    lab.chain("client", "r1", "~wire", "r2", "~far", "r3", "server")
    lab.wires["wire"].delay(0.001)
    lab.wires["far"].delay(0.040, 0.0005)
    lab.server.sysctl(net__ipv4__ip_default_ttl=128, net__ipv4__tcp_timestamps=0)
    lab.wires["wire"].rule(gait("<", ip_id=0x2B10, windows_reset=True))
    lab.record_ends(between=("r1", "r2"))
    pair = lab.pair(4)
    assert pair.until("session")
    pair.traffic(rounds=4)
    lab.wires["wire"].rule(once(session_data, mimic))
    pair.traffic(rounds=1, timeout=3, wait=False)
    time.sleep(0.3)


@scene("inject-ignored-out-of-window", "A forged RST far outside the window is ignored; the session goes on and ends well")
def inject_ignored(lab):
    pair = injected(lab, session_data, lambda p: p.inject(
        reset(p.packet, "sender", seq=p.packet.ack + 10_000_000, ttl=57, ip_id=0x4242), "<"),
        phase="session", rounds=2, between=None)
    pair.goodbye()


@scene("inject-challenged", "A forged RST inside the window is challenged (RFC 5961); the session goes on and ends well")
def inject_challenged(lab):
    pair = injected(lab, session_data, lambda p: p.inject(
        reset(p.packet, "sender", seq=p.packet.ack + 1000, ttl=57, ip_id=0x4242), "<"),
        phase="session", rounds=2, between=None)
    pair.goodbye()
