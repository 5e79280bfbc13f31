"""Captures that are not what the wire carried: doubled, incomplete, cut, one-sided, out of order in time."""

import time

import capture
from packets import ACK, RST, Packet, reset
from scene import scene
from scenes.resets import session_data
from software import SERVER_NAME, freerdp, xrdp
from wire import once


def road(lab, *names, delay=0.010):
    lab.chain(*(names or ("client", "r1", "~wire", "r2", "r3", "server")))
    lab.wire.delay(delay, 0.0005)


def span(lab):
    """A mirror port that copies the link r2 - r3 as received and as sent: every frame twice, unchanged."""
    lab.record("in", "r2", "r3")
    lab.record("out", "r3", "r2")
    lab.merges["span"] = ("in", "out")


def routed(lab):
    """Both ports of one router in one file: every packet twice, TTL one less, other MAC addresses."""
    lab.record("near", "r2", "r1")
    lab.record("far", "r2", "r3")
    lab.merges["routed"] = ("near", "far")


@scene("double-span-healthy", "A mirror port doubles every frame of a healthy session")
def span_healthy(lab):
    road(lab)
    span(lab)
    pair = lab.pair()
    assert pair.until("session") and pair.traffic()
    pair.goodbye()


@scene("double-span-peer-reset", "A mirror port doubles every frame; the server resets the session itself (IPv6)")
def span_reset(lab):
    road(lab)
    span(lab)
    pair = lab.pair(6)
    assert pair.until("session") and pair.traffic()
    pair.server.abort()


@scene("double-routed-healthy", "Both sides of a router in one capture, a healthy session")
def routed_healthy(lab):
    road(lab)
    routed(lab)
    pair = lab.pair(tls="1.3")
    assert pair.until("session") and pair.traffic()
    pair.goodbye()


@scene("double-routed-peer-reset", "Both sides of a router in one capture; the server resets the session itself")
def routed_reset(lab):
    road(lab)
    routed(lab)
    pair = lab.pair()
    assert pair.until("session") and pair.traffic()
    pair.server.abort()


@scene("double-routed-drop", "Both sides of a router that begins to drop the session: keep-alives fail, the client resets, the server speaks later")
def routed_drop(lab):
    road(lab)
    routed(lab)
    xrdp(lab, lab.certificate(name=SERVER_NAME))
    process = freerdp(lab, lab.server.v4, "/sec:tls", keys=False)
    time.sleep(4)
    lab.net["r2"].firewall("forward", "tcp dport 3389 drop", "tcp sport 3389 drop")
    time.sleep(20)
    process.kill()


@scene("double-routed-injected", "Both sides of a router in one capture; a device between it and the client resets both ends")
def routed_injected(lab):
    road(lab)
    lab.server.sysctl(net__ipv4__ip_default_ttl=128, net__ipv4__tcp_timestamps=0)
    routed(lab)
    pair = lab.pair()
    assert pair.until("session") and pair.traffic(rounds=4)

    def kill(p):
        p.drop()
        p.inject(reset(p.packet, "sender", flags=RST | ACK, ttl=64, ip_id=0x0777), "<")
        p.inject(reset(p.packet, "receiver", flags=RST | ACK, ttl=64, ip_id=0x0778), ">")

    lab.wire.rule(once(session_data, kill))
    pair.traffic(rounds=1, timeout=3, wait=False)


def losing(lab, name, every, of=lambda packet: True):
    """Let the recorder `name` lose every so-many-th TCP packet for which `of` holds."""

    def step(path):
        seen = [0]

        def condition(_, data):
            packet = Packet(data)
            if packet.is_tcp and of(packet):
                seen[0] += 1
                return seen[0] % every != 0
            return True

        capture.keep(path, condition)

    lab.steps[name] = step


@scene("capture-loss-healthy", "The recorder lost every eighth packet; the session itself is healthy")
def loss_healthy(lab):
    road(lab)
    lab.record("client", "client")
    losing(lab, "client", 8)
    pair = lab.pair()
    assert pair.until("session") and pair.traffic(rounds=5)
    pair.goodbye()


@scene("capture-loss-peer-reset", "The recorder lost every fifth data packet of the server; the server resets the session itself")
def loss_reset(lab):
    road(lab)
    lab.record("client", "client")
    losing(lab, "client", 5, lambda p: p.sport == 3389 and p.payload)
    pair = lab.pair()
    assert pair.until("session") and pair.traffic(rounds=5)
    pair.server.abort()


@scene("capture-one-direction", "Only the direction to the server was captured, of a healthy session")
def one_direction(lab):
    road(lab)
    lab.record("between", "r1", "r2", only="tcp dst port 3389")
    pair = lab.pair()
    assert pair.until("session") and pair.traffic()
    pair.goodbye()


@scene("capture-mid-stream", "The capture starts in an established session and ends in it")
def mid_stream(lab):
    road(lab)
    pair = lab.pair()
    assert pair.until("session")
    time.sleep(0.2)
    lab.record("client", "client")
    pair.traffic(rounds=12)


@scene("capture-mid-stream-injected", "The capture starts in an established session, which a device on the path then resets")
def mid_stream_injected(lab):
    road(lab)
    lab.server.sysctl(net__ipv4__ip_default_ttl=128, net__ipv4__tcp_timestamps=0)
    pair = lab.pair()
    assert pair.until("session")
    time.sleep(0.2)
    lab.record("client", "client")
    pair.traffic(rounds=15)
    lab.wire.rule(once(session_data, lambda p: p.inject(
        reset(p.packet, "sender", flags=RST | ACK, ttl=64, ip_id=0, df=False), "<")))
    pair.traffic(rounds=1, timeout=3, wait=False)


@scene("capture-snaplen-healthy", "Only 80 bytes of every packet were kept, of a healthy session")
def snaplen(lab):
    road(lab)
    lab.record("client", "client")
    lab.snaplen["client"] = 80
    pair = lab.pair()
    assert pair.until("session") and pair.traffic(rounds=5)
    pair.goodbye()


@scene("capture-clock-step-healthy", "The recorder's clock was set back by two seconds in a healthy session")
def clock_step(lab):
    road(lab)
    lab.record("client", "client")
    pair = lab.pair()
    assert pair.until("session") and pair.traffic()
    lab.moves.append((time.time(), -2.0))
    pair.traffic()
    pair.goodbye()


@scene("capture-late-start-healthy", "The capture starts in the last moments of a session, which its client ends by RST,ACK")
def late_start(lab):
    road(lab)
    pair = lab.pair()
    assert pair.until("session")
    time.sleep(0.2)
    lab.record("client", "client")
    pair.traffic(rounds=2)
    pair.client.abort()
    time.sleep(0.2)


@scene("capture-snaplen-clock-step-healthy", "80 bytes of every packet, and a clock set back by two seconds, in a healthy session")
def snaplen_clock_step(lab):
    road(lab)
    lab.record("client", "client")
    lab.snaplen["client"] = 80
    pair = lab.pair()
    assert pair.until("session") and pair.traffic()
    lab.moves.append((time.time(), -2.0))
    pair.traffic()
    pair.goodbye()


@scene("capture-one-direction-challenged", "Only the server's packets; a forged RST among them was challenged, and the session goes on")
def one_direction_challenged(lab):
    road(lab)
    lab.server.sysctl(net__ipv4__ip_default_ttl=128, net__ipv4__tcp_timestamps=0)
    lab.record("client", "client", only="tcp src port 3389")
    pair = lab.pair()
    assert pair.until("session") and pair.traffic(rounds=4)
    lab.wire.rule(once(session_data, lambda p: p.inject(
        reset(p.packet, "sender", seq=p.packet.ack + 1000, ttl=64, ip_id=0x0999), "<")))
    assert pair.traffic(rounds=4)
    pair.goodbye()
