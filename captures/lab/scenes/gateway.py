"""RD Gateway: HTTP errors through nginx, broken upgrades, refusals of the tunnel, and sessions that work."""

import os
import ssl
import subprocess
import time

import tlspeer
from authority import Authority
from front import HYBRID, Front
from kerberos import ProxyClient, Realm
from scene import scene, stop
from software import (PASSWORD, SERVER_NAME, USER, close_windows, finished, freerdp, network, nginx, shadow, xorg_desk,
                      xrdp)
from tlspeer import server_context
from tsgateway import AUTHORIZATION, CHANNEL, HANDSHAKE, TUNNEL, Gateway

NAME = "rdgw.corp.lab"


def gateway_network(lab, name=NAME, record=("client",), more=()):
    """The ordinary network with a gateway and a host behind it; the client knows the gateway's name."""
    network(lab, keys=True, record=record, servers=("gateway", "server", *more))
    folder = "/etc/netns/" + lab.client.ns
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/hosts", "w") as out:
        out.write("127.0.0.1 localhost\n%s %s\n" % (lab.net["gateway"].v4, name))
    return Authority(lab).host(name)


def connect(lab, *options, name=NAME, password=PASSWORD, limit=25):
    """xfreerdp to the host through the gateway; it is expected to give up by itself."""
    process = freerdp(lab, lab.server.v4, "/g:" + name, "/gt:http", "/gu:" + USER, "/gp:" + password, *options)
    return finished(process, limit)


def http_error(lab, location, protocols="TLSv1.2", more="", **names):
    nginx(lab, 443, location, gateway_network(lab, **names), protocols, more, node="gateway")
    connect(lab, **names)


@scene("gateway-401", "The gateway (nginx) answers 401 and offers nothing that the client can do")
def gateway_401(lab):
    http_error(lab, "add_header WWW-Authenticate Negotiate always; return 401;")


@scene("gateway-403", "The gateway (nginx) answers 403, TLS 1.2")
def gateway_403(lab):
    http_error(lab, "return 403;")


@scene("gateway-403-tls13-plain-name", "The gateway (nginx) answers 403, TLS 1.3, a name that says nothing")
def gateway_403_tls13(lab):
    http_error(lab, "return 403;", "TLSv1.3", name="portal.corp.lab")


@scene("gateway-502", "nginx in front of the gateway cannot reach it: 502")
def gateway_502(lab):
    http_error(lab, "proxy_pass http://127.0.0.1:9;")


@scene("gateway-503", "The gateway (nginx) answers 503, TLS 1.3")
def gateway_503(lab):
    http_error(lab, "return 503;", "TLSv1.3")


def proxied(lab, **options):
    """nginx with TLS in front of our gateway, with the directives that a WebSocket needs."""
    nginx(lab, 443, "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;"
          " proxy_set_header Connection $http_connection; proxy_set_header Host $host;"
          " keepalive_requests 100; proxy_pass http://channel;",
          gateway_network(lab), "TLSv1.2",
          "upstream channel { server %s:8080; keepalive 4; }\n" % lab.net["gateway"].v4, node="gateway")
    Gateway(lab, port=8080, **options)


@scene("gateway-upgrade-200", "The upgrade to WebSocket is answered 200 with a page, then the gateway closes")
def gateway_upgrade_200(lab):
    direct(lab, upgraded="200")
    connect(lab)


@scene("gateway-upgrade-closed", "Through nginx: 101 Switching Protocols, then the connection is closed")
def gateway_upgrade_closed(lab):
    proxied(lab, upgraded="close")
    connect(lab)


def direct(lab, tls="1.2", record=("client",), **options):
    """Our gateway with its own TLS; an xrdp behind it."""
    certificate = gateway_network(lab, record=record)
    xrdp(lab, Authority(lab, "Second Root CA").host(SERVER_NAME))
    options.setdefault("target", (lab.server.v4, 3389))
    Gateway(lab, server_context(certificate, tls), **options)


@scene("gateway-wrong-password", "The gateway refuses the NTLM logon: 401 after the third leg")
def gateway_wrong_password(lab):
    direct(lab)
    connect(lab, password="Winter-2025")


@scene("gateway-closed-after-request", "The gateway takes the packet that makes the tunnel and closes")
def gateway_closed_after_request(lab):
    direct(lab, leave=TUNNEL)
    connect(lab)


@scene("gateway-version-refused", "HANDSHAKE_RESPONSE with E_PROXY_CAPABILITYMISMATCH, TLS 1.3")
def gateway_version_refused(lab):
    direct(lab, "1.3", refuse=(HANDSHAKE, 0x800759E9, 0.02))
    connect(lab)


@scene("gateway-tunnel-refused", "TUNNEL_RESPONSE with E_PROXY_NAP_ACCESSDENIED")
def gateway_tunnel_refused(lab):
    direct(lab, refuse=(TUNNEL, 0x800759DB, 0.02))
    connect(lab)


@scene("gateway-cap-refused", "TUNNEL_AUTH_RESPONSE with E_PROXY_NAP_ACCESSDENIED (connection policy)")
def gateway_cap_refused(lab):
    direct(lab, refuse=(AUTHORIZATION, 0x800759DB, 0.02))
    connect(lab)


@scene("gateway-rap-refused", "CHANNEL_RESPONSE with E_PROXY_RAP_ACCESSDENIED (resource policy), TLS 1.3")
def gateway_rap_refused(lab):
    direct(lab, "1.3", refuse=(CHANNEL, 0x800759DA, 0.02))
    connect(lab)


@scene("gateway-host-unreachable", "CHANNEL_RESPONSE with E_PROXY_TS_CONNECTFAILED after three seconds")
def gateway_host_unreachable(lab):
    direct(lab, refuse=(CHANNEL, 0x800759DD, 3.0))
    connect(lab)


def without_nla(lab, *options):
    """xfreerdp through the gateway to a host without NLA."""
    return freerdp(lab, lab.server.v4, "/g:" + NAME, "/gt:http", "/gu:" + USER, "/gp:" + PASSWORD, "/sec:tls", *options,
                   password=None)


def through(lab, *options, close=True):
    """A session through the gateway."""
    process = without_nla(lab, *options)
    time.sleep(6)
    if close:
        close_windows(lab)
        finished(process)


@scene("gateway-session", "A session through the gateway (WebSocket, TLS 1.2), closed by the user")
def gateway_session(lab):
    direct(lab)
    through(lab)


@scene("gateway-session-tls13-open", "A session through the gateway (WebSocket, TLS 1.3), alive at the end")
def gateway_session_tls13_open(lab):
    direct(lab, "1.3")
    through(lab, close=False)


@scene("gateway-session-two-channels", "A session through the gateway the old way: RDG_OUT_DATA and RDG_IN_DATA, TLS 1.2")
def gateway_session_two_channels(lab):
    direct(lab)
    through(lab, "/gt:http,no-websockets")


@scene("gateway-rap-refused-two-channels", "The resource policy refuses, with RDG_OUT_DATA and RDG_IN_DATA, TLS 1.2")
def gateway_rap_refused_two_channels(lab):
    direct(lab, refuse=(CHANNEL, 0x800759DA, 0.02))
    connect(lab, "/gt:http,no-websockets")


@scene("gateway-certificate-untrusted", "The client turns the gateway's certificate down, TLS 1.2")
def gateway_certificate_untrusted(lab):
    network(lab, servers=("gateway", "server"))
    certificate = lab.certificate(name=NAME)
    nginx(lab, 443, "return 503;", certificate, "TLSv1.2", node="gateway")
    error = tlspeer.client(lab, lab.net["gateway"].v4, Authority(lab), name=NAME, port=443, protocols=None)
    if not isinstance(error, ssl.SSLCertVerificationError):
        raise RuntimeError("the client did not turn the certificate down: %r" % error)


@scene("gateway-session-at-gateway", "A session through the gateway, taken at the gateway: HTTPS in, RDP out")
def gateway_session_at_gateway(lab):
    direct(lab, record=("gateway",))
    through(lab)


@scene("gateway-rpc-503", "RPC over HTTP (the legacy transport) is answered 503 by nginx")
def gateway_rpc_503(lab):
    nginx(lab, 443, "return 503;", gateway_network(lab), "TLSv1.2", node="gateway")
    connect(lab, "/gt:rpc")


def by_kdc_proxy(lab, user_is_locked=False, published=True):
    """A realm whose KDC the client reaches through the gateway's /KdcProxy only, and the gateway with a host."""
    certificate = gateway_network(lab, more=("kdc",))
    xrdp(lab, Authority(lab, "Second Root CA").host(SERVER_NAME))
    realm = Realm(lab, tcp=True, passwords=((USER, PASSWORD),), locked=(USER,) if user_is_locked else (),
                  proxy="%s:8088" % lab.client.v4)
    gateway = lab.net["gateway"].v4
    Gateway(lab, server_context(certificate, "1.2"), target=(lab.server.v4, 3389),
            kdc=lab.net["kdc"].v4 if published else None)
    ProxyClient(lab, gateway, NAME)
    return realm


@scene("kdc-proxy-session", "A ticket through the gateway's KDC proxy, then a session through the gateway")
def kdc_proxy_session(lab):
    if not by_kdc_proxy(lab).kinit(USER, PASSWORD):
        raise RuntimeError("no ticket through the proxy")
    through(lab)


@scene("kdc-proxy-unavailable", "The KDC proxy answers 503, the client falls back to NTLM and gets its session")
def kdc_proxy_unavailable(lab):
    by_kdc_proxy(lab, published=False).kinit(USER, PASSWORD)
    through(lab)


@scene("kdc-proxy-client-revoked", "CLIENT_REVOKED through the KDC proxy, then the gateway refuses the logon by NTLM: 401")
def kdc_proxy_client_revoked(lab):
    if by_kdc_proxy(lab, user_is_locked=True).kinit(USER, PASSWORD):
        raise RuntimeError("the account is not locked")
    connect(lab, password="Winter-2025")


@scene("gateway-session-timeout", "The gateway ends an established session: CLOSE_CHANNEL with E_PROXY_SESSIONTIMEOUT")
def gateway_session_timeout(lab):
    direct(lab, ends=(2.5, 0x000059F6))
    finished(without_nla(lab))


@scene("gateway-slow-path", "A path of 0.8 s round trip to the gateway: FreeRDP runs into its own limit in activation, the Font Map comes too late")
def gateway_slow_path(lab):
    direct(lab)
    lab.wire.delay(0.4, 0.05)
    finished(without_nla(lab), 40)
    time.sleep(2)


def with_nla(lab, serve, **options):
    """Our gateway with its own TLS, and behind it the host with NLA that `serve(certificate)` starts."""
    certificate = gateway_network(lab)
    serve(Authority(lab, "Second Root CA").host(SERVER_NAME))
    Gateway(lab, server_context(certificate, options.pop("tls", "1.2")), target=(lab.server.v4, 3389), **options)


def logon(lab, transport="/gt:http", password="Winter-2025"):
    """xfreerdp through the gateway, to whose own logon it has the right password."""
    return freerdp(lab, lab.server.v4, "/g:" + NAME, transport, "/gu:" + USER, "/gp:" + PASSWORD, password=password)


@scene("gateway-nla-refused", "The host behind the gateway refuses NLA with STATUS_LOGON_FAILURE, TLS 1.2 in TLS 1.2")
def gateway_nla_refused(lab):
    with_nla(lab, lambda certificate: Front(lab, certificate, selected=HYBRID, tls="1.2"))
    finished(logon(lab))


@scene("gateway-nla-refused-tls13", "FreeRDP's shadow server behind the gateway refuses NLA, TLS 1.3 in TLS 1.3")
def gateway_nla_refused_tls13(lab):
    with_nla(lab, lambda _: shadow(lab, "/sec:nla"), tls="1.3")
    finished(logon(lab))


@scene("gateway-nla-refused-two-channels", "The host behind the gateway refuses NLA, with RDG_OUT_DATA and RDG_IN_DATA")
def gateway_nla_refused_two_channels(lab):
    with_nla(lab, lambda certificate: Front(lab, certificate, selected=HYBRID, tls="1.2", error=0xC0000234))
    finished(logon(lab, "/gt:http,no-websockets"))


@scene("gateway-session-nla-two-channels", "NLA and a session, with RDG_OUT_DATA and RDG_IN_DATA, closed by the user")
def gateway_session_nla_two_channels(lab):
    with_nla(lab, lambda certificate: Front(lab, certificate, selected=HYBRID, tls="1.2"))
    process = logon(lab, "/gt:http,no-websockets", PASSWORD)
    time.sleep(6)
    close_windows(lab)
    finished(process)


@scene("gateway-host-ends", "The host behind the gateway logs the user off: the end is announced inside the tunnel")
def gateway_host_ends(lab):
    certificate = gateway_network(lab)
    desk, lines = xorg_desk(lab)
    xrdp(lab, Authority(lab, "Second Root CA").host(SERVER_NAME), session=lines)
    Gateway(lab, server_context(certificate, "1.2"), target=(lab.server.v4, 3389))
    process = freerdp(lab, lab.server.v4, "/g:" + NAME, "/gt:http", "/gu:" + USER, "/gp:" + PASSWORD, "/sec:tls")
    time.sleep(4)
    stop(desk)
    finished(process)


# --- with the UDP side channel on 3391 ---------------------------------------------------------
def beside_udp(lab, tls="1.2", *rules):
    """A session through a gateway whose name says nothing, and OpenSSL's DTLS client as its side channel."""
    certificate = gateway_network(lab, name="portal.corp.lab", record=("client", "gateway"))
    xrdp(lab, Authority(lab, "Second Root CA").host(SERVER_NAME))
    Gateway(lab, server_context(certificate, tls), target=(lab.server.v4, 3389))
    for rule in rules:
        lab.net["r1"].firewall("forward", rule)
    dtls, key = lab.certificate()
    lab.net["gateway"].serve("openssl", "s_server", "-quiet", "-accept", "%s:3391" % lab.net["gateway"].v4, "-cert", dtls,
                             "-key", key, "-dtls1_2", port=3391, kind="udp", stdin=subprocess.PIPE)
    process = freerdp(lab, lab.server.v4, "/g:portal.corp.lab", "/gt:http", "/gu:" + USER, "/gp:" + PASSWORD, "/sec:tls",
                      password=None)
    time.sleep(4)
    lab.client.start("openssl", "s_client", "-quiet", "-no_ign_eof", "-connect", lab.net["gateway"].v4 + ":3391", "-dtls1_2",
                     stdin=subprocess.PIPE)
    return process


@scene("gateway-udp-blocked", "A session through a gateway known by its DTLS alone: UDP 3391 is dropped")
def gateway_udp_blocked(lab):
    process = beside_udp(lab, "1.2", "udp dport 3391 drop")
    time.sleep(9)
    close_windows(lab)
    finished(process, 10)


@scene("gateway-udp-healthy", "A session through a gateway known by its DTLS alone: UDP 3391 works, TLS 1.3")
def gateway_udp_healthy(lab):
    process = beside_udp(lab, "1.3")
    time.sleep(3)
    close_windows(lab)
    finished(process, 10)


# --- the user ends the client in the tunnel ------------------------------------------------------
def left(lab, process, seconds):
    """The user ends the client so long after it began."""
    time.sleep(seconds)
    process.kill()
    time.sleep(0.3)


@scene("gateway-host-slow-left", "The gateway looks for a host that does not answer; the user ends the client meanwhile, TLS 1.2")
def gateway_host_slow_left(lab):
    direct(lab, refuse=(CHANNEL, 0x800759DD, 16))
    left(lab, logon(lab, password=PASSWORD), 10)


@scene("gateway-host-slow-left-two-channels", "The same with RDG_OUT_DATA and RDG_IN_DATA")
def gateway_host_slow_left_two_channels(lab):
    direct(lab, refuse=(CHANNEL, 0x800759DD, 16))
    left(lab, logon(lab, "/gt:http,no-websockets", PASSWORD), 10)


def asked_in_tunnel(lab, transport):
    """xfreerdp asks its user about the certificate of the host behind the gateway, and the user ends it."""
    gateway = gateway_network(lab)
    xrdp(lab, lab.certificate(name=SERVER_NAME), ssl_protocols="TLSv1.2")
    Gateway(lab, server_context(gateway, "1.2"), target=(lab.server.v4, 3389))
    process = freerdp(lab, lab.server.v4, "/g:" + NAME, transport, "/gu:" + USER, "/gp:" + PASSWORD, "/sec:tls", certificate=None,
                      answer=b"Y\n")
    left(lab, process, 10)


@scene("gateway-question-left", "The user ends the client at the question about the certificate of the host behind the gateway, TLS 1.2")
def gateway_question_left(lab):
    asked_in_tunnel(lab, "/gt:http")


@scene("gateway-question-left-two-channels", "The same with RDG_OUT_DATA and RDG_IN_DATA")
def gateway_question_left_two_channels(lab):
    asked_in_tunnel(lab, "/gt:http,no-websockets")
