"""Timers of devices on the path: state that expires in silence, with a RST, or is made anew elsewhere."""

import time

from packets import ACK, RST, reset
from scene import scene
from wire import anything, drop


def gate(lab, version=4, phase="session", rules=(), nat=False, established=4, loose=0, between=("r1", "r2"), **options):
    """client - r1 - ~wire - r2 - r3 - server, where r2 keeps state with a short timer; played up to a phase."""
    lab.chain("client", "r1", "~wire", "r2", "r3", "server")
    lab.wire.delay(0.010, 0.0005)
    r2 = lab.net["r2"]
    r2.firewall("forward", "ct state new,established accept", *rules)
    if nat:
        r2.nft("table inet nat { chain post { type nat hook postrouting priority 100; "
               "oifname \"to-r3\" masquerade random; }; }")
    r2.sysctl(net__netfilter__nf_conntrack_tcp_timeout_established=established,
              net__netfilter__nf_conntrack_tcp_loose=loose)
    lab.record_ends(between)
    pair = lab.pair(version, **options)
    if phase:
        assert pair.until(phase), (pair.client.error, pair.server.error)
        if phase == "session":
            pair.traffic(rounds=4)
    return pair


DROP, RESET = "ct state invalid drop", "ct state invalid meta l4proto tcp reject with tcp reset"


def speak(pair, who="C", seconds=9):
    """One side speaks after the idle time; it gives up after `seconds` without an acknowledgment."""
    side = pair.client if who == "C" else pair.server
    side.user_timeout(seconds)
    pair.traffic(rounds=1, records=((who, 60), ("S" if who == "C" else "C", 300)), timeout=seconds + 1, wait=False)
    time.sleep(0.3)


@scene("timer-drop-real", "A firewall forgets an idle session (4 s) and drops what comes later; idle time real")
def drop_real(lab):
    pair = gate(lab, rules=(DROP,))
    lab.idle(6.5)
    speak(pair)


@scene("timer-drop-350", "A device forgets an idle session after 350 s and drops the client's next data")
def drop_350(lab):
    pair = gate(lab, rules=(DROP,), tls="1.3", between=None)
    lab.idle(5.5, shown=352)
    speak(pair)


@scene("timer-drop-3600", "A firewall forgets an idle session within an hour and drops the server's next data")
def drop_3600(lab):
    pair = gate(lab, rules=(DROP,), between=None)
    lab.idle(5.5, shown=3640)
    speak(pair, "S")


@scene("timer-drop-v6", "A firewall forgets an idle session (IPv6) after 30 minutes and drops the client's next data")
def drop_v6(lab):
    pair = gate(lab, 6, rules=(DROP,), between=None)
    lab.idle(5.5, shown=1803)
    speak(pair)


@scene("timer-drop-client-resets", "As timer-drop, and the client gives up with RST,ACK as Windows does")
def drop_reset(lab):
    pair = gate(lab, rules=(DROP,))
    lab.idle(5.5, shown=905)
    pair.traffic(rounds=1, timeout=14, wait=False)
    pair.client.abort()


@scene("timer-miss-reset-240", "A device forgot the session after 240 s and answers the client's next data with RST")
def miss_reset(lab):
    pair = gate(lab, rules=(RESET,))
    lab.idle(5.5, shown=243)
    speak(pair, seconds=3)


@scene("timer-miss-reset-v6", "A device forgot the session after 350 s and answers the client's next data with RST (IPv6)")
def miss_reset_v6(lab):
    pair = gate(lab, 6, rules=(RESET,), tls="1.3", between=None)
    lab.idle(5.5, shown=355)
    speak(pair, seconds=3)


@scene("timer-miss-reset-server-speaks", "The session's state has expired, the server speaks first and is reset; the client hears nothing")
def miss_server(lab):
    pair = gate(lab, rules=(RESET,), between=None)
    lab.idle(5.5, shown=1205)
    speak(pair, "S", seconds=3)


@scene("timer-nat-remap", "A NAT forgot the mapping after 5 minutes and makes a new one: the server does not know the new port")
def nat_remap(lab):
    pair = gate(lab, nat=True, loose=1)
    lab.idle(5.5, shown=312)
    speak(pair, seconds=3)


@scene("timer-nat-remap-real", "A NAT forgets the mapping after 4 s and makes a new one; idle time real")
def nat_remap_real(lab):
    pair = gate(lab, nat=True, loose=1, between=None)
    lab.idle(7)
    speak(pair, seconds=3)


@scene("timer-nat-unknown-inbound", "A NAT forgot the mapping; the server speaks first, and the NAT answers it")
def nat_inbound(lab):
    pair = gate(lab, nat=True, rules=(DROP,), between=None)
    lab.idle(5.5, shown=605)
    speak(pair, "S", seconds=6)


def strike(lab, ttl, to="both", ip_id=(0, 0), flags=RST | ACK, window=0):
    """The wire sends RSTs without a trigger, with the exact numbers of the idle connection."""
    client = lab.wire.last[">"]
    if to in ("both", "client"):
        lab.wire.inject(reset(client, "sender", flags=flags, seq=client.ack, ack=client.next_seq, ttl=ttl,
                              ip_id=ip_id[0], window=window), "<")
    if to in ("both", "server"):
        lab.wire.inject(reset(client, "receiver", flags=flags, seq=client.next_seq, ack=client.ack, ttl=ttl,
                              ip_id=ip_id[1], window=window), ">")
    time.sleep(0.5)


@scene("timer-reset-both-240", "A load balancer resets both ends of a session that was idle for 240 s")
def reset_both(lab):
    gate(lab, established=60)
    lab.idle(2, shown=240.4)
    strike(lab, ttl=64)


@scene("timer-reset-both-v6", "A device resets both ends of a session that was idle for an hour (IPv6)")
def reset_both_v6(lab):
    gate(lab, 6, established=60, between=None)
    lab.idle(2, shown=3600.7)
    strike(lab, ttl=255)


@scene("timer-reset-client-180", "A device of TTL 255 resets only the client after 180 s, with a code in the window")
def reset_client(lab):
    gate(lab, established=60)
    lab.idle(2, shown=181.4)
    strike(lab, ttl=255, to="client", ip_id=(0x91C4, 0), window=9300)


@scene("timer-reset-server-900", "A device resets only the server after 15 minutes; the client learns it by its next data")
def reset_server(lab):
    pair = gate(lab, established=60, between=None)
    lab.idle(2, shown=900.9)
    strike(lab, ttl=60, to="server", ip_id=(0, 0x4D2))
    lab.idle(1, shown=31)
    speak(pair, seconds=3)


@scene("timer-half-open-tls", "The server thinks over the ClientHello; after 30 s a device resets both ends")
def half_open(lab):
    pair = gate(lab, phase="x224", established=60)
    pair.server.pause = 60
    pair.until("tls", timeout=1, wait=False)
    lab.idle(1, shown=29.2)
    strike(lab, ttl=64)


@scene("timer-half-open-credssp", "The logon takes the server long; its answer finds no state and is reset, the client waits and leaves")
def half_open_credssp(lab):
    pair = gate(lab, phase="tls", rules=(RESET,))
    pair.server.pause = 5.5
    pair.until("credssp", timeout=1, wait=False)
    lab.idle(3, shown=61)
    time.sleep(3)
    pair.client.abort()
    time.sleep(0.3)


# --- what merely looks so -------------------------------------------------------------------------
@scene("timer-policy", "The server's own idle limit of 15 minutes ends the session: error info, ultimatum, the client's RST")
def policy(lab):
    pair = gate(lab, established=60, between=None)
    lab.idle(1.5, shown=900.2)
    pair.say([("S", 36), ("S", 9)])
    pair.client.abort()
    time.sleep(0.2)


@scene("timer-peer-reset-600", "The server's own stack resets a session that was idle for exactly ten minutes")
def peer_600(lab):
    pair = gate(lab, established=60, between=None)
    lab.idle(1.5, shown=600)
    pair.server.abort()
    time.sleep(0.2)


@scene("timer-reboot-1800", "The host rebooted while the session was idle for half an hour; it answers the next data with RST")
def reboot_1800(lab):
    from scenes.resets import forget

    pair = gate(lab, established=60, between=None)
    forget(lab)
    lab.idle(1.5, shown=1812)
    speak(pair, seconds=3)


@scene("timer-hidden-expiry-healthy", "The firewall's state expires and is made again by the next packet; the session goes on")
def hidden(lab):
    pair = gate(lab, loose=1, rules=(DROP,), between=None)
    lab.idle(6, shown=3700)
    assert pair.traffic(rounds=3)
    pair.goodbye()


@scene("timer-keepalive-healthy", "Keep-alives hold the state of an idle session; it goes on afterwards")
def keepalive(lab):
    pair = gate(lab, rules=(DROP,), between=None)
    pair.client.keepalive(1, 2, 5)
    lab.idle(9)
    assert pair.traffic(rounds=2)
    pair.goodbye()


@scene("timer-keepalive-death", "The path dies under an idle session; the client's keep-alives go unanswered, it resets")
def keepalive_death(lab):
    pair = gate(lab, established=60, between=None)
    pair.client.keepalive(3, 2, 3)
    lab.idle(4)
    lab.wire.rule(drop(anything))
    time.sleep(9)
