"""TLS handshakes that end the connection: versions, suites, certificates, alerts, silent closes."""

import select
import socket
import ssl
import struct
import time

import tlspeer
from authority import Authority
from network import inside
from peers import connection_confirm, receive
from responder import Responder, abort, read_tpkt
from scene import scene
from software import SERVER_NAME, finished, freerdp, network, openssl_conf, refused, visit, xrdp


@scene("tls-version-server-refuses", "xrdp with TLS 1.3 only, a client with TLS 1.2 at most")
def tls_version_server_refuses(lab):
    network(lab)
    xrdp(lab, Authority(lab).host(SERVER_NAME), ssl_protocols="TLSv1.3")
    refused(lab, lab.server.v4, "/sec:tls", "+enforce-tlsv1_2", keys=False)


@scene("tls-version-client-refuses", "A server with TLS 1.0 only, a client with TLS 1.2 only: the client refuses")
def tls_version_client_refuses(lab):
    network(lab)
    tlspeer.host(lab, tlspeer.server_context(Authority(lab).host(SERVER_NAME), "1.0", "ALL:@SECLEVEL=0"))
    refused(lab, lab.server.v4, "/sec:tls", "+enforce-tlsv1_2", keys=False)


@scene("tls-cipher-mismatch", "xrdp with one suite for TLS 1.2, a client that offers another")
def tls_cipher_mismatch(lab):
    network(lab)
    xrdp(lab, Authority(lab).host(SERVER_NAME), ssl_protocols="TLSv1.2", tls_ciphers="ECDHE-RSA-AES256-GCM-SHA384")
    refused(lab, lab.server.v4, "/sec:tls", "+enforce-tlsv1_2", "/tls-ciphers:ECDHE-RSA-CHACHA20-POLY1305", keys=False)


@scene("tls-cipher-ecdsa-only", "xrdp with an ECDSA certificate, a client that offers RSA suites only")
def tls_cipher_ecdsa_only(lab):
    network(lab, record=("server",))
    xrdp(lab, Authority(lab).host(SERVER_NAME, key="P-256"), ssl_protocols="TLSv1.2")
    refused(lab, lab.server.v4, "/sec:tls", "+enforce-tlsv1_2", "/tls-ciphers:ECDHE-RSA-AES256-GCM-SHA384", keys=False)


def judged(lab, certificate, authority, version, keys=False, **client):
    """xrdp with `certificate`; a client that verifies against `authority` and says so by an alert."""
    network(lab, keys=keys)
    xrdp(lab, certificate, ssl_protocols="TLSv1.2" if version == "1.2" else "TLSv1.3")
    error = tlspeer.client(lab, lab.server.v4, authority, version, keys=keys, **client)
    if not isinstance(error, ssl.SSLCertVerificationError):
        raise RuntimeError("the client did not turn the certificate down: %r" % error)


@scene("certificate-expired", "TLS 1.2: the certificate expired 20 days ago, the client says so")
def certificate_expired(lab):
    authority = Authority(lab)
    judged(lab, authority.host(SERVER_NAME, -400, -20), authority, "1.2")


@scene("certificate-expired-tls13", "TLS 1.3: the certificate expired 20 days ago, the client says so")
def certificate_expired_tls13(lab):
    authority = Authority(lab)
    judged(lab, authority.host(SERVER_NAME, -400, -20), authority, "1.3", keys=True)


@scene("certificate-not-yet-valid", "TLS 1.2: the certificate is valid from tomorrow on")
def certificate_not_yet_valid(lab):
    authority = Authority(lab)
    judged(lab, authority.host(SERVER_NAME, 1, 300), authority, "1.2")


@scene("certificate-name-mismatch", "TLS 1.2: the certificate is for another name than the one asked for")
def certificate_name_mismatch(lab):
    authority = Authority(lab)
    judged(lab, authority.host("srv99.corp.lab"), authority, "1.2")


@scene("certificate-untrusted", "TLS 1.2: the certificate comes from an authority that the client does not know")
def certificate_untrusted(lab):
    judged(lab, Authority(lab, "Other Root CA").host(SERVER_NAME), Authority(lab), "1.2")


@scene("certificate-untrusted-tls13", "TLS 1.3: the certificate comes from an authority that the client does not know")
def certificate_untrusted_tls13(lab):
    judged(lab, Authority(lab, "Other Root CA").host(SERVER_NAME), Authority(lab), "1.3", keys=True)


@scene("certificate-self-signed", "TLS 1.2: a self-signed certificate, the client says so")
def certificate_self_signed(lab):
    judged(lab, lab.certificate(name=SERVER_NAME), Authority(lab), "1.2")


@scene("certificate-wrong-purpose", "TLS 1.2: the certificate is not for servers (extended key usage)")
def certificate_wrong_purpose(lab):
    authority = Authority(lab)
    judged(lab, authority.host(SERVER_NAME, purpose="clientAuth"), authority, "1.2")


@scene("certificate-expired-silent", "TLS 1.2: the certificate has expired and the client leaves without an alert")
def certificate_expired_silent(lab):
    network(lab)
    xrdp(lab, Authority(lab).host(SERVER_NAME, -400, -20), ssl_protocols="TLSv1.2")
    tlspeer.silent_client(lab, lab.server.v4, version="1.2")


@scene("certificate-self-signed-silent", "TLS 1.2: a self-signed certificate, the client resets without an alert")
def certificate_self_signed_silent(lab):
    network(lab)
    xrdp(lab, lab.certificate(name=SERVER_NAME), ssl_protocols="TLSv1.2")
    tlspeer.silent_client(lab, lab.server.v4, version="1.2", reset=True)


@scene("certificate-denied-freerdp-tls12", "xfreerdp /cert:deny at a self-signed certificate, TLS 1.2")
def certificate_denied_freerdp_tls12(lab):
    network(lab, keys=True)
    xrdp(lab, lab.certificate(name=SERVER_NAME), ssl_protocols="TLSv1.2")
    refused(lab, lab.server.v4, "/sec:tls", certificate="/cert:deny")


@scene("certificate-denied-freerdp-tls13", "xfreerdp /cert:deny at an expired certificate, TLS 1.3")
def certificate_denied_freerdp_tls13(lab):
    network(lab, keys=True)
    xrdp(lab, Authority(lab).host(SERVER_NAME, -400, -20))
    refused(lab, lab.server.v4, "/sec:tls", certificate="/cert:deny")


@scene("certificate-question-no", "xfreerdp asks about a self-signed certificate and the user says no after seconds")
def certificate_question_no(lab):
    network(lab, keys=True)
    xrdp(lab, lab.certificate(name=SERVER_NAME), ssl_protocols="TLSv1.2")
    process = freerdp(lab, lab.server.v4, "/sec:tls", certificate=None, answer=b"")
    time.sleep(4)
    process.stdin.write(b"N\n")
    process.stdin.flush()
    finished(process)


def asked_without_tickets(lab):
    """xfreerdp asks its user about the certificate of a TLS 1.3 host that sends no session tickets."""
    network(lab)
    context = tlspeer.server_context(lab.certificate(name=SERVER_NAME), "1.3")
    context.num_tickets = 0
    tlspeer.host(lab, context, stay=30)
    return freerdp(lab, lab.server.v4, "/sec:tls", certificate=None, answer=b"", keys=False)


@scene("certificate-question-closed", "xfreerdp asks about a certificate under TLS 1.3 without tickets, and its user ends it after seconds")
def certificate_question_closed(lab):
    process = asked_without_tickets(lab)
    time.sleep(8)
    process.kill()
    time.sleep(0.3)


@scene("certificate-question-open", "xfreerdp asks about a certificate under TLS 1.3 without tickets; the capture ends while it asks")
def certificate_question_open(lab):
    asked_without_tickets(lab)
    lab.idle(14)
    lab.stop_recording()


@scene("tls-inspection", "A device on the path re-signs TLS with its own authority; the client turns it down")
def tls_inspection(lab):
    authority = Authority(lab)
    network(lab, record=("client", "server"))
    xrdp(lab, authority.host(SERVER_NAME))
    inspecting_device(lab)
    error = tlspeer.client(lab, lab.server.v4, authority)
    if not isinstance(error, ssl.SSLCertVerificationError):
        raise RuntimeError("the client did not turn the certificate down: %r" % error)


@scene("session-inspected", "A device on the path re-signs TLS, the client accepts it and the session works")
def session_inspected(lab):
    network(lab, keys=True)
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    inspecting_device(lab)
    visit(lab, lab.server.v4, "/sec:tls", password=None, stay=5)


def inspecting_device(lab):
    """The router r2 takes connections to port 3389 and serves a certificate of its own for the host's name."""
    device = Authority(lab, "Web Gateway TLS Inspection CA", "Corp Lab Security")
    context = tlspeer.server_context(device.host(SERVER_NAME), "1.2")
    lab.net["r2"].nft("table ip inspection {\n chain in {\n  type nat hook prerouting priority -100\n"
                      "  iifname to-r1 tcp dport 3389 redirect to :8443\n }\n}\n")
    server = lab.server.v4

    def inspect(connection):
        request = read_tpkt(connection)
        with inside(lab.net["r2"].ns):
            upstream = socket.create_connection((server, 3389), 10)
        upstream.sendall(request)
        connection.sendall(read_tpkt(upstream))
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        own.check_hostname, own.verify_mode = False, ssl.CERT_NONE
        with own.wrap_socket(upstream, server_hostname=SERVER_NAME) as host:
            try:
                client = context.wrap_socket(connection, server_side=True)
            except ssl.SSLError:
                return  # the client's alert
            with client:
                relay(client, host)

    Responder(lab, inspect, 8443, "r2")


def relay(one, other):
    """Copy what either TLS connection says to the other one until one of them ends."""
    ends = {one: other, other: one}
    for end in ends:
        end.setblocking(False)
    while True:
        if not any(end.pending() for end in ends):
            select.select(list(ends), [], [], 20)
        for source, target in ends.items():
            try:
                data = source.recv(16384)
            except ssl.SSLWantReadError:
                continue
            if not data:
                return
            target.setblocking(True)
            target.sendall(data)
            target.setblocking(False)


def after_hello(answer):
    """A host that confirms X.224, takes the ClientHello and does `answer(connection)`."""

    def serve(connection):
        read_tpkt(connection)
        connection.sendall(connection_confirm(1))
        receive(connection, struct.unpack("!H", receive(connection, 5)[3:])[0])
        time.sleep(0.01)
        answer(connection)

    return serve


@scene("tls-closed-by-server-fin", "The server closes after the ClientHello, by FIN, as with an unusable private key")
def tls_closed_by_server_fin(lab):
    network(lab)
    Responder(lab, after_hello(lambda connection: None))
    refused(lab, lab.server.v4, "/sec:tls", keys=False)


@scene("tls-closed-by-server-rst", "The server resets after the ClientHello")
def tls_closed_by_server_rst(lab):
    network(lab, record=("server",))
    Responder(lab, after_hello(abort))
    refused(lab, lab.server.v4, "/sec:tls", keys=False)


@scene("tls-closed-by-client", "The client leaves in the handshake without an alert; the certificate is sound")
def tls_closed_by_client(lab):
    network(lab)
    xrdp(lab, Authority(lab).host(SERVER_NAME), ssl_protocols="TLSv1.3")
    tlspeer.silent_client(lab, lab.server.v4, version="1.3", think=0.3)


@scene("tls-alert-unrecognized-name", "The server's fatal alert unrecognized_name, TLS 1.2")
def tls_alert_unrecognized_name(lab):
    network(lab)
    context = tlspeer.server_context(Authority(lab).host(SERVER_NAME), "1.2")
    context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    tlspeer.host(lab, context)
    tlspeer.client(lab, lab.server.v4, Authority(lab, "Any"), "1.2")


@scene("tls-alert-internal-error", "The server's fatal alert internal_error, TLS 1.3")
def tls_alert_internal_error(lab):
    network(lab)
    context = tlspeer.server_context(Authority(lab).host(SERVER_NAME))
    context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
    tlspeer.host(lab, context)
    refused(lab, lab.server.v4, "/sec:tls", keys=False)


@scene("tls-client-certificate-tls13", "The server wants a client certificate and gets none: TLS 1.3, sealed alert")
def tls_client_certificate_tls13(lab):
    network(lab, keys=True)
    client_certificate(lab, None)


@scene("tls-client-certificate-tls12", "The server wants a client certificate and gets none: TLS 1.2, clear alert")
def tls_client_certificate_tls12(lab):
    network(lab)
    client_certificate(lab, "1.2")


def client_certificate(lab, version):
    authority = Authority(lab)
    context = tlspeer.server_context(authority.host(SERVER_NAME), version)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    tlspeer.host(lab, context)
    refused(lab, lab.server.v4, "/sec:tls")


@scene("tls-handshake-then-probe", "A probe that does the whole handshake and leaves: nothing failed")
def tls_handshake_then_probe(lab):
    authority = Authority(lab)
    network(lab)
    xrdp(lab, authority.host(SERVER_NAME))
    if tlspeer.client(lab, lab.server.v4, authority):
        raise RuntimeError("the probe failed")


@scene("session-expired-certificate-accepted", "An expired, unknown certificate for another name, and the client accepts it")
def session_expired_certificate_accepted(lab):
    network(lab, keys=True)
    xrdp(lab, Authority(lab).host("old.corp.lab", -400, -20), ssl_protocols="TLSv1.2")
    visit(lab, lab.server.v4, "/sec:tls", password=None, stay=4)


@scene("session-hello-retry", "TLS 1.3 with a HelloRetryRequest (the server wants another group), session")
def session_hello_retry(lab):
    network(lab, keys=True)
    xrdp(lab, Authority(lab).host(SERVER_NAME), environ=openssl_conf(lab, "server", Groups="secp384r1"))
    visit(lab, lab.server.v4, "/sec:tls", password=None, stay=4)


@scene("certificate-untrusted-at-server", "TLS 1.2, IPv6: the client turns the certificate down, taken at the server")
def certificate_untrusted_at_server(lab):
    authority = Authority(lab)
    network(lab, record=("server",))
    xrdp(lab, Authority(lab, "Other Root CA").host(SERVER_NAME), ssl_protocols="TLSv1.2")
    tlspeer.client(lab, lab.server.v6, authority, "1.2")
