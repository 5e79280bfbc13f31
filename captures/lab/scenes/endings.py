"""Servers that end a connection without saying why, bytes that change on their way, and attempts one after another."""

import os
import signal
import socket
import time

from front import CLOSE, HYBRID, Front
from scene import scene
from scenes.ends import ended, instead_of, own_certificate
from scenes.faults import ENDS, over
from software import children, close_windows, finished, freerdp, network, refused, shadow, visit, wait, xrdp
from wire import client_hello, once


# --- the server ends it --------------------------------------------------------------------------
@scene("session-close-notify-only", "The server ends a session by close_notify without a word of RDP, TLS 1.3 after NLA")
def session_close_notify(lab):
    ended(lab, CLOSE, selected=HYBRID)


@scene("session-close-notify-tls12", "The server ends a session by close_notify without a word of RDP, TLS 1.2 after NLA")
def session_close_notify_tls12(lab):
    ended(lab, CLOSE, selected=HYBRID, tls="1.2")


@scene("mcs-close-notify", "The server answers MCS Connect Initial with close_notify, TLS 1.3 without NLA")
def mcs_close_notify(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), instead_of(bool, False, CLOSE))
    refused(lab, lab.server.v4, "/sec:tls")


@scene("mcs-closed-after-nla", "NLA succeeds; the server answers MCS Connect Initial with a bare FIN")
def mcs_closed(lab):
    network(lab, record=ENDS, keys=True)

    def leave(_pdu, _client):
        raise ConnectionError("no close_notify")

    Front(lab, own_certificate(lab), leave, selected=HYBRID)
    refused(lab, lab.server.v4)


def kill(server):
    """Kill a service with all its processes."""
    for pid in [*reversed(children(server)), server.pid]:
        os.kill(pid, signal.SIGKILL)


@scene("mcs-service-killed", "xrdp is killed while FreeRDP joins its channels")
def mcs_service_killed(lab):
    network(lab, delay=0.02, record=ENDS)
    server = xrdp(lab, own_certificate(lab))
    hello = []
    lab.wire.rule(once(client_hello, hello.append))
    client = freerdp(lab, lab.server.v4, "/sec:tls", password=None, keys=False)
    wait(lambda: hello, "no ClientHello was seen")
    time.sleep(0.25)
    kill(server)
    over(client)


@scene("prompt-service-killed", "The server is killed while FreeRDP asks its user about the certificate; the user says yes")
def prompt_service_killed(lab):
    network(lab, record=ENDS)
    server = shadow(lab, "/sec:nla")
    client = freerdp(lab, lab.server.v4, certificate=None, answer=b"", keys=False)
    time.sleep(6)
    kill(server)
    time.sleep(3)
    client.stdin.write(b"Y\n")
    client.stdin.flush()
    over(client)


# --- bytes that change on their way ----------------------------------------------------------------
def alter(lab, direction):
    """Change a byte of the first TLS record in `direction` once xrdp draws; the TCP checksum is right again."""
    drawn = []

    def rule(p):
        if not p.packet.is_tcp or p.packet.payload[:1] != b"\x17":
            return
        if p.direction == "<" and p.packet.size == 1500:
            drawn.append(True)
        if drawn and p.direction == direction:
            p.packet.data[len(p.packet.data) - len(p.packet.payload) + 20] ^= 0x55
            p.packet.stale = True
            lab.wire.unrule(rule)

    lab.wire.rule(rule)


@scene("altered-record-from-server", "A byte of what xrdp sends in a session changes on its way: FreeRDP ends it, TLS 1.3")
def altered_from_server(lab):
    network(lab, delay=0.008, record=ENDS, keys=True)
    xrdp(lab, own_certificate(lab))
    alter(lab, "<")
    refused(lab, lab.server.v4, "/sec:tls", password=None)


@scene("altered-record-from-client", "A byte of what FreeRDP sends in a session changes on its way: xrdp ends it, TLS 1.2")
def altered_from_client(lab):
    network(lab, delay=0.008, record=ENDS, keys=True)
    xrdp(lab, own_certificate(lab), ssl_protocols="TLSv1.2")
    alter(lab, ">")
    refused(lab, lab.server.v4, "/sec:tls", password=None)


# --- attempts one after another ----------------------------------------------------------------------


@scene("wrong-password-after-session", "A session with NLA ends in an ordinary way; two seconds later the password is wrong")
def wrong_password_after(lab):
    network(lab)
    shadow(lab, "/sec:nla")
    visit(lab, lab.server.v4, stay=4, keys=False)
    time.sleep(2)
    over(freerdp(lab, lab.server.v4, password="Winter-2025", keys=False))


@scene("wrong-password-then-other-user", "The password of one user is wrong; two seconds later another user has a session from the same client")
def wrong_password_then(lab):
    network(lab)
    shadow(lab, "/sec:nla", accounts=(("anna", "Sommer-2026"), ("bert", "Herbst-2026")))
    over(freerdp(lab, lab.server.v4, password="Winter-2025", keys=False))
    time.sleep(2)
    visit(lab, lab.server.v4, user="bert", password="Herbst-2026", keys=False)


@scene("session-lost-reconnected", "The xrdp process of a session is killed; FreeRDP reconnects by itself and works on")
def session_lost(lab):
    network(lab)
    server = xrdp(lab, own_certificate(lab))
    client = freerdp(lab, lab.server.v4, "/sec:tls", "+auto-reconnect", password=None, keys=False)
    time.sleep(3.5)
    for pid in reversed(children(server)):
        os.kill(pid, signal.SIGKILL)
    time.sleep(9)
    close_windows(lab)
    finished(client)


def knock(lab, timeout):
    """Connect to xrdp's port and close again, or give up after `timeout` seconds."""
    with lab.client.socket(socket.AF_INET) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect((lab.server.v4, 3389))
        except TimeoutError:
            pass


@scene("syn-ack-too-late", "The way takes 2.5 s each direction; the client gives up after 4 s and resets the SYN-ACK that comes after")
def syn_ack_too_late(lab):
    network(lab, delay=0.010)
    xrdp(lab, own_certificate(lab))
    knock(lab, 4)
    time.sleep(0.5)
    lab.wire.delay(2.5)
    knock(lab, 4)
    time.sleep(5)
