"""Kerberos beside RDP: a real KDC's answers to the client that then logs on to a host.

The lab's RDP software has no Kerberos of its own; kinit and kvno ask in the same namespace, as a
Windows client does inside the logon, and xfreerdp logs on by NTLM right after them.
"""

import tlspeer
from authority import Authority
from front import HYBRID, Front
from kerberos import Realm
from scene import scene
from software import PASSWORD, SERVER_NAME, USER, network, refused, shadow, visit

SERVICE = "TERMSRV/" + SERVER_NAME


def realm(lab, **options):
    network(lab, keys=True, servers=("kdc", "server"))
    options.setdefault("passwords", ((USER, PASSWORD),))
    return Realm(lab, **options)


def expect(answer, wanted):
    if answer != wanted:
        raise RuntimeError("the KDC's answer is not what the scene is about")


def host(lab, **options):
    """A host that accepts the right password, or answers what `options` say (see `front.Front`)."""
    if options:
        Front(lab, Authority(lab).host(SERVER_NAME), selected=HYBRID, tls="1.2", **options)
    else:
        shadow(lab, "/sec:nla")


@scene("kerberos-preauth-required-healthy", "PREAUTH_REQUIRED is ordinary: ticket granted (UDP), then a session")
def kerberos_preauth_required_healthy(lab):
    kdc = realm(lab, services=(SERVICE,))
    host(lab)
    expect(kdc.kinit(USER, PASSWORD), True)
    expect(kdc.ticket(SERVICE), True)
    visit(lab, lab.server.v4, stay=4)


@scene("kerberos-service-unknown-healthy", "S_PRINCIPAL_UNKNOWN (TCP), then NTLM and a session: nothing failed")
def kerberos_service_unknown_healthy(lab):
    kdc = realm(lab, tcp=True)
    host(lab)
    expect(kdc.kinit(USER, PASSWORD), True)
    expect(kdc.ticket("TERMSRV/alias.corp.lab"), False)
    visit(lab, lab.server.v4, stay=4)


@scene("kerberos-preauth-failed", "PREAUTH_FAILED over UDP: the password is wrong, the logon is refused")
def kerberos_preauth_failed(lab):
    kdc = realm(lab)
    host(lab, error=0xC000006D)
    expect(kdc.kinit(USER, "Winter-2025"), False)
    refused(lab, lab.server.v4, password="Winter-2025")


@scene("kerberos-client-unknown", "C_PRINCIPAL_UNKNOWN over TCP: no such user, the logon is refused")
def kerberos_client_unknown(lab):
    kdc = realm(lab, tcp=True)
    host(lab)
    expect(kdc.kinit("anne", PASSWORD), False)
    refused(lab, lab.server.v4, user="anne")


@scene("kerberos-client-revoked", "CLIENT_REVOKED over UDP: the account is locked, the logon is refused")
def kerberos_client_revoked(lab):
    kdc = realm(lab, locked=(USER,))
    host(lab, error=0xC0000234)
    expect(kdc.kinit(USER, PASSWORD), False)
    refused(lab, lab.server.v4)


@scene("kerberos-clock-skew", "KRB_AP_ERR_SKEW over TCP: the client's clock is 20 minutes ahead, the logon is refused")
def kerberos_clock_skew(lab):
    kdc = realm(lab, tcp=True, services=(SERVICE,))
    host(lab, error=0xC0000133)
    expect(kdc.kinit(USER, PASSWORD), True)
    expect(kdc.ticket(SERVICE, clock=1200), False)
    refused(lab, lab.server.v4)


@scene("kerberos-no-ticket-client-leaves", "PREAUTH_FAILED, and the client leaves before it logs on to the host")
def kerberos_no_ticket_client_leaves(lab):
    kdc = realm(lab)
    host(lab, error=0xC000006D)
    def ask(_, __):
        expect(kdc.kinit(USER, "Winter-2025"), False)

    tlspeer.client(lab, lab.server.v4, protocols=3, version="1.2", keys=True, talk=ask, verify=False)


@scene("kerberos-no-kdc-healthy", "No KDC answers (ICMP port unreachable), then NTLM and a session: nothing failed")
def kerberos_no_kdc_healthy(lab):
    kdc = realm(lab)
    kdc.stop()
    host(lab)
    expect(kdc.kinit(USER, PASSWORD), False)
    visit(lab, lab.server.v4, stay=4)
