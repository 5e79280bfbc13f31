"""Licensing refused, logons denied after TLS, and sessions that the server ends."""

import os
import signal
import time

from authority import Authority
from front import (CLOSE, HYBRID, RESET, Front, disconnect_ultimatum, is_client_info, is_demand_active, is_licensing,
                   license_error, set_error_info)
from scene import scene
from software import (SERVER_NAME, children, finished, freerdp, network, refused, shadow, visit,
                      xorg_desk, xrdp)

PROVIDER, USER_REQUESTED = 1, 3


def own_certificate(lab):
    return Authority(lab).host(SERVER_NAME)


def instead_of(test, from_client, *items):
    """A change: the first PDU that meets `test` is replaced by `items`."""
    def change(pdu, client):
        return list(items) if client is from_client and test(pdu) else None

    return change


def denied(lab, code, test=is_demand_active, from_client=False, tls=None, **more):
    """Set Error Info `code` and Disconnect Provider Ultimatum instead of the PDU that meets `test`."""
    network(lab, keys=True)
    change = instead_of(test, from_client, set_error_info(code), 0.13, disconnect_ultimatum(PROVIDER), 0.02, CLOSE)
    Front(lab, own_certificate(lab), change, tls=tls, **more)
    refused(lab, lab.server.v4, *(["/sec:tls"] if "selected" not in more else []))


def ended(lab, *items, seconds=1.0, tls=None, **more):
    """`items` are sent to the client in the session."""
    network(lab, keys=True)
    _, lines = xorg_desk(lab)
    Front(lab, own_certificate(lab), session=lines, later=(seconds, items), tls=tls, **more)
    refused(lab, lab.server.v4, *(["/sec:tls"] if "selected" not in more else []))


@scene("licensing-no-license-server", "Licensing error ERR_NO_LICENSE_SERVER with ST_TOTAL_ABORT")
def licensing_no_license_server(lab):
    network(lab, keys=True)
    change = instead_of(is_licensing, False, license_error(6, 1), 0.05, disconnect_ultimatum(PROVIDER), 0.02, CLOSE)
    Front(lab, own_certificate(lab), change)
    refused(lab, lab.server.v4, "/sec:tls")


@scene("licensing-invalid-client", "Licensing error ERR_INVALID_CLIENT, TLS 1.2, after NLA")
def licensing_invalid_client(lab):
    network(lab, keys=True)
    change = instead_of(is_licensing, False, license_error(8, 1), 0.05, CLOSE)
    Front(lab, own_certificate(lab), change, tls="1.2", selected=HYBRID)
    refused(lab, lab.server.v4)


@scene("licensing-closed", "The server closes after Client Info instead of licensing the client")
def licensing_closed(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), instead_of(is_client_info, True, 0.3, CLOSE))
    refused(lab, lab.server.v4, "/sec:tls")


@scene("slow-server-activation", "The server licenses the client and never sends Demand Active; the user ends the client after seconds")
def slow_activation(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), instead_of(is_demand_active, False, 20.0, CLOSE))
    process = freerdp(lab, lab.server.v4, "/sec:tls")
    time.sleep(9)
    process.kill()
    time.sleep(0.3)


@scene("denied-before-activation", "Set Error Info SERVER_DENIED_CONNECTION before Demand Active, after NLA, TLS 1.2")
def denied_before_activation(lab):
    denied(lab, 0x7, tls="1.2", selected=HYBRID)


@scene("denied-insufficient-privileges", "Set Error Info SERVER_INSUFFICIENT_PRIVILEGES before Demand Active, TLS 1.3")
def denied_insufficient_privileges(lab):
    denied(lab, 0x9)


@scene("denied-instead-of-licensing", "Set Error Info LICENSE_NO_LICENSE_SERVER right after Client Info, TLS 1.2")
def denied_instead_of_licensing(lab):
    denied(lab, 0x101, is_client_info, True, tls="1.2")


@scene("shadow-logon-refused", "FreeRDP shadow server with +auth: the operating system's logon refuses, the server leaves")
def shadow_logon_refused(lab):
    network(lab, keys=True)
    shadow(lab, "/sec:tls", "+auth")
    refused(lab, lab.server.v4, "/sec:tls", password="Winter-2025")


@scene("session-idle-timeout", "Set Error Info IDLE_TIMEOUT in the session, then the disconnect, TLS 1.2")
def session_idle_timeout(lab):
    ended(lab, set_error_info(0x3), 0.15, disconnect_ultimatum(USER_REQUESTED), 0.02, CLOSE, tls="1.2")


@scene("session-replaced", "Set Error Info DISCONNECTED_BY_OTHER_CONNECTION in the session, after NLA, TLS 1.3")
def session_replaced(lab):
    ended(lab, set_error_info(0x5), 0.15, disconnect_ultimatum(USER_REQUESTED), 0.02, CLOSE, selected=HYBRID)


@scene("session-graphics-failed", "Set Error Info GRAPHICS_SUBSYSTEM_FAILED in the session, TLS 1.2 after NLA")
def session_graphics_failed(lab):
    ended(lab, set_error_info(0x112F), 0.2, disconnect_ultimatum(USER_REQUESTED), 0.02, CLOSE, tls="1.2",
          selected=HYBRID)


@scene("session-logoff-announced", "Set Error Info LOGOFF_BY_USER, then the disconnect: an ordinary end, TLS 1.2")
def session_logoff_announced(lab):
    ended(lab, set_error_info(0xC), 0.2, disconnect_ultimatum(USER_REQUESTED), 0.02, CLOSE, tls="1.2")


@scene("session-server-resets", "The server resets an established session without a word, TLS 1.3 after NLA")
def session_server_resets(lab):
    ended(lab, RESET, selected=HYBRID)


@scene("session-xrdp-killed", "The xrdp process of the session is killed: FIN without a word")
def session_xrdp_killed(lab):
    network(lab, keys=True)
    _, lines = xorg_desk(lab)
    server = xrdp(lab, own_certificate(lab), session=lines)
    client = freerdp(lab, lab.server.v4, "/sec:tls")
    time.sleep(3)
    for pid in reversed(children(server)):
        os.kill(pid, signal.SIGKILL)
    finished(client)


@scene("session-error-info-none", "Set Error Info with code 0 in a session that goes on, as Windows servers send it")
def session_error_info_none(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), later=(0.5, [set_error_info(0)]), tls="1.2", session=xorg_desk(lab)[1])
    visit(lab, lab.server.v4, "/sec:tls", stay=5)
