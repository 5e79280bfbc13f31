"""Packets that vanish: total loss at each phase, loss rates, sizes that do not pass, slow hosts and paths."""

import os
import signal
import socket
import struct
import threading
import time

from authority import Authority
from packets import checksum
from scene import scene
from software import SERVER_NAME, children, finished, freerdp, network, xrdp
from wire import anything, drop, larger_than

from scenes.faults import over
from scenes.resets import played


def give_up(pair, seconds):
    """Both sides stop without a word when sent data stay unacknowledged for so long."""
    for side in (pair.client, pair.server):
        side.user_timeout(seconds)


def cut(lab, after, version=4, direction=None, tls="1.2", wait=9.0, between=("r1", "r2")):
    """A session whose path dies once `after` is complete; the sides go on until they give up."""
    pair = played(lab, version, phase=after, tls=tls, between=between)
    give_up(pair, wait)
    lab.wire.rule(drop(anything, direction))
    following = {"tcp": "x224", "x224": "tls", "tls": "credssp", "credssp": "mcs", "mcs": "licensing",
                 "licensing": "activation", "activation": "session"}
    if after == "session":
        pair.traffic(timeout=wait + 1, wait=False)
    else:
        pair.until(following[after], timeout=wait + 1, wait=False)
    return pair


@scene("path-loss-x224", "The path dies after the handshake: the Connection Request is never acknowledged")
def path_loss_x224(lab):
    cut(lab, "tcp")


@scene("path-loss-tls-hello", "The path dies after the negotiation: the ClientHello is never acknowledged (IPv6)")
def path_loss_hello(lab):
    cut(lab, "x224", version=6)


@scene("path-loss-tls-server-flight", "The server's answers stop arriving in the middle of the TLS handshake")
def path_loss_flight(lab):
    pair = played(lab, phase="x224")
    give_up(pair, 8)
    lab.wire.rule(drop(anything, "<"))
    pair.until("tls", timeout=9, wait=False)


@scene("path-loss-credssp", "The path dies once TLS is up: CredSSP is never answered")
def path_loss_credssp(lab):
    cut(lab, "tls")


@scene("path-loss-mcs", "The path dies after the logon: the MCS Connect Initial is never acknowledged (TLS 1.3)")
def path_loss_mcs(lab):
    cut(lab, "credssp", tls="1.3")


@scene("path-loss-licensing", "The path dies before the licensing message (IPv6)")
def path_loss_licensing(lab):
    cut(lab, "mcs", version=6)


@scene("path-loss-activation", "The path dies before Demand Active; the client's keep-alives go unanswered, it resets")
def path_loss_activation(lab):
    pair = played(lab, phase="licensing")
    pair.client.keepalive(2, 2, 3)
    lab.wire.rule(drop(anything))
    pair.until("activation", timeout=12, wait=False)


@scene("path-loss-session", "The path dies in an active session; both sides repeat themselves until they give up")
def path_loss_session(lab):
    cut(lab, "session", wait=14)


@scene("path-loss-session-v6", "The path dies in an active session (IPv6, TLS 1.3)")
def path_loss_session_v6(lab):
    cut(lab, "session", version=6, tls="1.3", wait=10, between=None)


@scene("path-loss-session-rst", "The path dies in a session; the client gives up with RST,ACK as Windows does")
def path_loss_rst(lab):
    pair = played(lab)
    lab.wire.rule(drop(anything))
    pair.traffic(timeout=19, wait=False)
    pair.client.abort()


@scene("path-loss-to-server", "Only the direction to the server dies in a session; the server's data still arrive")
def path_loss_to_server(lab):
    cut(lab, "session", direction=">", wait=10)


@scene("path-loss-to-client", "Only the direction to the client dies in a session")
def path_loss_to_client(lab):
    cut(lab, "session", direction="<", wait=10)


@scene("loss-5-healthy", "5 % of the packets are lost, the session works and ends in an ordinary way")
def loss_5(lab):
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.02, 0.002)
    lab.wire.random.seed(3)
    lab.record_ends()
    for lane in lab.wire.lanes.values():
        lane.loss = 0.05
    pair = lab.pair(timeout=40)
    assert pair.until("session", timeout=60) and pair.traffic(rounds=6)
    for lane in lab.wire.lanes.values():
        lane.loss = 0
    pair.goodbye()


@scene("loss-15-slow-logon", "15 % of the packets are lost; the logon takes long, the client's user gives up in it")
def loss_15(lab):
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.03, 0.002)
    lab.wire.random.seed(11)
    lab.record_ends(between=("r1", "r2"))
    for lane in lab.wire.lanes.values():
        lane.loss = 0.15
    pair = lab.pair(timeout=25)
    pair.until("tcp")
    give_up(pair, 30)
    pair.until("session", timeout=3.5, wait=False)
    pair.client.abort()
    time.sleep(0.3)


@scene("loss-30-dies", "30 % of the packets are lost; the connection dies of it before the session")
def loss_30(lab):
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.03, 0.002)
    lab.wire.random.seed(5)
    lab.record_ends(between=("r1", "r2"))
    for lane in lab.wire.lanes.values():
        lane.loss = 0.30
    pair = lab.pair(timeout=12)
    pair.until("x224", timeout=20, wait=False)
    for lane in lab.wire.lanes.values():
        lane.loss = 0.55
    give_up(pair, 7)
    pair.until("session", timeout=14, wait=False)


@scene("loss-reorder-jitter-healthy", "Reordered, doubled and delayed packets; the session works")
def reorder(lab):
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.015, 0.008)
    lab.wire.random.seed(2)
    lab.record_ends()
    for lane in lab.wire.lanes.values():
        lane.reorder, lane.duplicate = 0.10, 0.08
    pair = lab.pair()
    assert pair.until("session") and pair.traffic(rounds=5)
    pair.goodbye()


# --- path MTU ---------------------------------------------------------------------------------
def meanwhile(side, seconds):
    """The side goes on with small records, one per second, while the large ones of the other are stuck."""
    for _ in range(seconds):
        time.sleep(1)
        side.send(os.urandom(14))


@scene("pmtu-tls-1400", "Packets above 1400 bytes vanish: the server's certificate never arrives")
def pmtu_tls(lab):
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.010, 0.0005)
    lab.record_ends(between=("r1", "r2"))
    # A real certificate chain of an enterprise is larger than one segment; so is this one.
    names = ",".join("DNS:host%02d.corp.lab" % n for n in range(60))
    lab.certificate("-addext", "subjectAltName=" + names)
    pair = lab.pair()
    pair.until("x224")
    give_up(pair, 10)
    lab.wire.rule(drop(larger_than(1400)))
    pair.until("tls", timeout=9, wait=False)
    pair.client.abort()
    time.sleep(0.2)


@scene("pmtu-tls-1300-waiting", "Packets above 1300 bytes vanish: the certificate never arrives, and the client still waits for it")
def pmtu_tls_waiting(lab):
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.015)
    lab.record_ends()
    lab.certificate("-addext", "nsComment=" + "x" * 1800)
    pair = lab.pair()
    pair.until("x224")
    lab.wire.rule(drop(larger_than(1300)))
    pair.until("tls", timeout=5, wait=False)
    lab.server.run("ping", "-c", "1", lab.client.v4, check=False)


@scene("pmtu-session-1280-v6", "Packets above 1280 bytes vanish in IPv6: small ones pass, the first picture does not")
def pmtu_v6(lab):
    pair = played(lab, 6, phase="activation")
    give_up(pair, 10)
    lab.wire.rule(drop(larger_than(1280)))
    pair.until("session", timeout=1, wait=False)
    meanwhile(pair.client, 7)


@scene("pmtu-session-1450", "Packets above 1450 bytes towards the client vanish (tunnel); the client gives up with RST")
def pmtu_session(lab):
    pair = played(lab, phase="activation", tls="1.3")
    lab.wire.rule(drop(larger_than(1450), "<"))
    pair.until("session", timeout=12, wait=False)
    pair.client.abort()


@scene("pmtu-client-data", "Packets above 1300 bytes from the client vanish: what the user pastes never arrives")
def pmtu_up(lab):
    pair = played(lab, phase="session", between=None)
    pair.traffic()
    give_up(pair, 9)
    lab.wire.rule(drop(larger_than(1300), ">"))
    pair.traffic(rounds=1, records=(("C", 40), ("S", 60), ("C", 6000), ("S", 100)), timeout=1, wait=False)
    meanwhile(pair.server, 7)


def narrow(lab, mtu, between=False):
    """The link r2 - server's router has a smaller MTU, so that r2 must answer with ICMP."""
    lab.net.chain("client", "r1", "~wire", "r2", "r3", "server")
    lab.ready()
    lab.wire.delay(0.010, 0.0005)
    lab.net["r2"].run("ip", "link", "set", "to-r3", "mtu", str(mtu))
    lab.net["r3"].run("ip", "link", "set", "to-r2", "mtu", str(mtu))
    lab.record_ends(("r1", "r2") if between else None)


@scene("pmtu-icmp-honoured-healthy", "A narrow link answers with ICMP fragmentation needed, and the host obeys")
def pmtu_honoured(lab):
    narrow(lab, 1380)
    pair = lab.pair()
    assert pair.until("session") and pair.traffic(rounds=2, records=(("C", 5000), ("S", 7000)))
    pair.goodbye()


@scene("pmtu-icmp-honoured-v6-healthy", "A narrow link answers with ICMPv6 packet too big, and the host obeys")
def pmtu_honoured_v6(lab):
    narrow(lab, 1380)
    pair = lab.pair(6)
    assert pair.until("session") and pair.traffic(rounds=2, records=(("C", 5000), ("S", 7000)))
    pair.goodbye()


@scene("pmtu-icmp-ignored", "A narrow link answers with ICMP fragmentation needed, and the server ignores it")
def pmtu_ignored(lab):
    narrow(lab, 1380, between=True)
    lab.server.firewall("input", "icmp type destination-unreachable drop")
    pair = lab.pair()
    pair.until("activation")
    give_up(pair, 10)
    pair.until("session", timeout=1, wait=False)
    meanwhile(pair.client, 7)


# --- slow ----------------------------------------------------------------------------------------
@scene("slow-server-tls", "The server thinks for half a minute over the ClientHello; the client leaves first")
def slow_tls(lab):
    pair = played(lab, phase="x224")
    pair.server.pause = 60
    pair.until("tls", timeout=2, wait=False)
    lab.idle(1, shown=28)
    pair.client.abort()


@scene("slow-server-x224", "The server acknowledges the Connection Request and says nothing; the client leaves (FIN)")
def slow_x224(lab):
    pair = played(lab, 6, phase="tcp")
    pair.server.pause = 60
    pair.until("x224", timeout=12, wait=False)
    pair.client.close()
    time.sleep(0.3)


@scene("slow-server-hangs-open", "xrdp is stopped in its tracks: the kernel takes the Connection Request, the capture ends while xfreerdp waits")
def slow_hangs(lab):
    network(lab)
    server = xrdp(lab, lab.certificate(name=SERVER_NAME))
    for pid in [server.pid, *children(server)]:
        os.kill(pid, signal.SIGSTOP)
    freerdp(lab, lab.server.v4, "/sec:tls", keys=False)
    lab.idle(14)
    lab.stop_recording()


@scene("slow-server-credssp", "The server does not answer the first CredSSP message; the client leaves after 15 s")
def slow_credssp(lab):
    pair = played(lab, phase="tls")
    pair.server.pause = 60
    pair.until("credssp", timeout=2, wait=False)
    lab.idle(1, shown=13)
    pair.client.abort()


@scene("slow-client-server-gives-up", "The client does not send its ClientHello; the server's handshake timer closes (FIN)")
def slow_client(lab):
    pair = played(lab, phase="x224")
    lab.idle(1.5, shown=30)
    pair.server.close()
    time.sleep(0.3)


def ended_by(side, other):
    """One side ends TLS and TCP in order, and the other answers in kind once it hears of it."""

    def answer():
        try:
            other.receive(1)
        except OSError:
            pass
        other.finish()

    hearer = threading.Thread(target=answer, daemon=True)
    hearer.start()
    side.finish()
    hearer.join(5)
    time.sleep(0.3)


def owed(lab, phase):
    """After `phase` the server owes the client a message and keeps silent for 30 s; the client closes."""
    pair = played(lab, phase=phase, between=None)
    lab.idle(2, shown=30)
    ended_by(pair.client, pair.server)


@scene("server-silent-after-client-info", "The server says nothing for 30 s after Client Info, not even about licences; the client closes")
def silent_after_client_info(lab):
    owed(lab, "mcs")


@scene("server-owes-demand-active", "The server has licensed the client and sends no Demand Active for 30 s; the client closes")
def owes_demand_active(lab):
    owed(lab, "licensing")


@scene("prompt-outlasts-server-notify", "The client asks for credentials for a minute; the server's patience ends first: close_notify and FIN")
def prompt_outlasts(lab):
    pair = played(lab, phase="tls", between=None)
    lab.idle(2, shown=60)
    ended_by(pair.server, pair.client)


@scene("slow-path-handshake", "A path of four seconds round trip; the client gives up in CredSSP")
def slow_path(lab):
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(2.0, 0.1)
    lab.record_ends()
    pair = lab.pair(timeout=40)
    pair.until("credssp", timeout=22, wait=False)
    pair.client.abort()
    time.sleep(2.5)


def own_limit(lab, delay, jitter):
    """xfreerdp to xrdp over a path without loss, so slow that the client's own limit (9 s after TLS) ends it."""
    network(lab, record=("client", "server"))
    lab.wire.delay(delay, jitter)
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    finished(freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False), 30)
    time.sleep(3 * (delay + jitter))


@scene("slow-path-client-gives-up", "A path of one second round trip: FreeRDP runs into its own limit before the session, nobody touches it")
def slow_path_limit(lab):
    own_limit(lab, 0.5, 0.1)


@scene("slow-path-jitter-client-gives-up", "A path of 1.2 to 2 s round trip: FreeRDP runs into its own limit in the channel joins")
def slow_path_jitter_limit(lab):
    own_limit(lab, 0.6, 0.4)


@scene("slow-server-healthy", "The server takes seconds for each of the early answers, and the session works")
def slow_healthy(lab):
    pair = played(lab, phase="tcp", between=None)
    pair.server.pause = 1.3
    assert pair.until("tls")
    pair.server.pause = 0.4
    assert pair.until("credssp")
    pair.server.pause = 0
    assert pair.until("session") and pair.traffic()
    pair.goodbye()


@scene("slow-path-healthy", "A satellite path of 600 ms round trip; the session works")
def satellite(lab):
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.3, 0.01)
    lab.record_ends()
    pair = lab.pair(tls="1.3", timeout=40)
    assert pair.until("session", timeout=60) and pair.traffic(rounds=1)
    pair.goodbye()
    time.sleep(0.5)


@scene("data-in-flight-at-reset-healthy", "A path of half a second; the user leaves while pictures are on their way, which meet RST")
def in_flight(lab):
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.25)
    lab.record_ends()
    pair = lab.pair(timeout=40)
    assert pair.until("session", timeout=60) and pair.traffic(rounds=1)
    for size in (1380, 1380, 2210):  # the last one is a whole segment and a smaller one
        pair.server.send(os.urandom(size))
        time.sleep(0.03)
    time.sleep(0.2)  # two pictures have arrived and are not read, the last one is on its way
    pair.client.finish()
    time.sleep(1)


# --- fragments and windows ------------------------------------------------------------------------------
class FirstFragment:
    """The first 1 256 bytes of an IPv4 packet's payload, as a router cuts them."""

    def __init__(self, packet):
        self.data = bytearray(packet.frame()[: 14 + 20 + 1256])
        struct.pack_into("!H", self.data, 16, 20 + 1256)
        struct.pack_into("!H", self.data, 20, 0x2000)
        struct.pack_into("!H", self.data, 24, 0)
        struct.pack_into("!H", self.data, 24, checksum(bytes(self.data[14:34])))

    def frame(self):
        return bytes(self.data)


@scene("fragments-lost", "Of the large packets of xrdp a router makes fragments, of which only the first ones reach FreeRDP")
def fragments_lost(lab):
    network(lab, delay=0.006, record=("client",))

    def cut(p):
        if p.direction == "<" and p.packet.is_tcp and p.packet.size > 1300:
            p.inject(FirstFragment(p.packet), "<", 0.006)
            p.drop()

    lab.wire.rule(cut)
    xrdp(lab, Authority(lab).host(SERVER_NAME), ssl_protocols="TLSv1.2")
    over(freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False), 30)


def takes_nothing(lab, stalled, other, patience):
    """A session in which one program reads no more; the other one sends until it loses patience."""
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.010)
    lab.record_ends()
    pair = lab.pair()
    assert pair.until("session") and pair.traffic()
    stalled, other = getattr(pair, stalled), getattr(pair, other)
    stalled.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    other.timeout = patience
    try:
        while True:
            other.send(os.urandom(8000))
    except OSError:
        pass
    other.abort()
    time.sleep(0.5)


@scene("client-takes-nothing", "The client's program hangs in the session: its window closes; the server gives up after nine seconds")
def client_takes_nothing(lab):
    takes_nothing(lab, "client", "server", 9)


@scene("server-takes-nothing", "The server's program hangs in the session: its window closes; the client gives up after twelve seconds")
def server_takes_nothing(lab):
    takes_nothing(lab, "server", "client", 12)
