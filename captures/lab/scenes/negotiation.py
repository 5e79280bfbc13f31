"""X.224 negotiation that ends the connection: failure codes, closes, and hosts that speak no RDP."""

import os
import time

from authority import Authority
from responder import Responder, close_after_request, refuse
from scene import scene, stop
from software import SERVER_NAME, environment, freerdp, network, nginx, refused, shadow, write, xrdp


def own_certificate(lab):
    return Authority(lab).host(SERVER_NAME)


@scene("nla-required-tls-client", "A client without NLA (TLS only) at a server that requires NLA")
def nla_required_tls_client(lab):
    network(lab)
    shadow(lab, "/sec:nla")
    refused(lab, lab.server.v4, "/sec:tls", keys=False)


@scene("nla-required-rdp-client", "A client with Standard RDP Security at a server that requires NLA, IPv6")
def nla_required_rdp_client(lab):
    network(lab, record=("server",))
    shadow(lab, "/sec:nla", bind=lab.server.v6)
    refused(lab, "[%s]" % lab.server.v6, "/sec:rdp", keys=False)


@scene("tls-required", "A client with Standard RDP Security at a server that requires TLS")
def tls_required(lab):
    network(lab)
    shadow(lab, "/sec:tls")
    refused(lab, lab.server.v4, "/sec:rdp", keys=False)


@scene("mcs-closed-tls-only-xrdp", "xrdp requires TLS, confirms a client without negotiation, and leaves in MCS")
def mcs_closed_tls_only_xrdp(lab):
    network(lab)
    xrdp(lab, own_certificate(lab), security_layer="tls")
    refused(lab, lab.server.v4, "/sec:rdp", keys=False)


@scene("tls-not-allowed", "A client with TLS at a server that allows Standard RDP Security only")
def tls_not_allowed(lab):
    network(lab)
    shadow(lab, "/sec:rdp")
    refused(lab, lab.server.v4, "/sec:tls", keys=False)


@scene("rdp-only-server-client-leaves", "xrdp chooses Standard RDP Security, the client insists on TLS and leaves")
def rdp_only_server_client_leaves(lab):
    network(lab)
    xrdp(lab, own_certificate(lab), security_layer="rdp")
    refused(lab, lab.server.v4, "/sec:tls", keys=False)


@scene("server-certificate-missing", "An xrdp whose private key cannot be read")
def server_certificate_missing(lab):
    network(lab)
    certificate, _ = own_certificate(lab)
    xrdp(lab, (certificate, os.path.join(lab.folder, "missing.key")), security_layer="tls")
    refused(lab, lab.server.v4, "/sec:tls", keys=False)


@scene("negotiation-inconsistent", "INCONSISTENT_FLAGS from the server")
def negotiation_inconsistent(lab):
    network(lab)
    Responder(lab, refuse(4))
    refused(lab, lab.server.v4, "/sec:tls", keys=False)


@scene("user-auth-tls-required", "SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER")
def user_auth_tls_required(lab):
    network(lab)
    Responder(lab, refuse(6))
    refused(lab, lab.server.v4, "/sec:tls", keys=False)


@scene("negotiation-closed-fin", "The server takes the Connection Request and closes with FIN")
def negotiation_closed_fin(lab):
    network(lab)
    Responder(lab, close_after_request(after=0.02))
    refused(lab, lab.server.v4, "/sec:tls", keys=False)


@scene("negotiation-closed-rst", "The server takes the Connection Request and resets")
def negotiation_closed_rst(lab):
    network(lab)
    Responder(lab, close_after_request(reset=True, after=0.02))
    refused(lab, lab.server.v4, "/sec:tls", keys=False)


@scene("not-rdp-ssh", "An SSH server on port 3389")
def not_rdp_ssh(lab):
    network(lab)

    def ssh(connection):
        connection.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7\r\n")
        connection.recv(4096)
        connection.sendall(b"Invalid SSH identification string.\r\n")

    Responder(lab, ssh)
    refused(lab, lab.server.v4, "/sec:tls", keys=False)


@scene("not-rdp-http", "nginx with HTTP on port 3389")
def not_rdp_http(lab):
    network(lab)
    nginx(lab, 3389, "return 200 'ok';")
    refused(lab, lab.server.v4, "/sec:tls", keys=False)


@scene("not-rdp-https", "nginx with HTTPS on port 3389 answers X.224 with an HTTP error in clear")
def not_rdp_https(lab):
    network(lab)
    nginx(lab, 3389, "return 200 'ok';", own_certificate(lab))
    refused(lab, lab.server.v4, keys=False)


@scene("negotiation-closed-s-server", "openssl s_server on port 3389 expects a ClientHello and closes without a word")
def negotiation_closed_s_server(lab):
    network(lab)
    certificate, key = own_certificate(lab)
    lab.server.serve("openssl", "s_server", "-accept", "3389", "-cert", certificate, "-key", key, "-www", port=3389)
    refused(lab, lab.server.v4, keys=False)


@scene("negotiation-closed-stunnel", "stunnel on port 3389 expects a ClientHello and resets, without a word")
def negotiation_closed_stunnel(lab):
    network(lab)
    certificate, key = own_certificate(lab)
    conf = write(lab, "stunnel.conf", "foreground = yes\npid =\n[web]\naccept = 3389\nconnect = 127.0.0.1:1\n"
                 "cert = %s\nkey = %s\n" % (certificate, key))
    lab.server.serve("stunnel4", conf, port=3389, env=environment(lab))
    refused(lab, lab.server.v4, keys=False)


@scene("not-rdp-echo", "An echo service on port 3389 sends the Connection Request back")
def not_rdp_echo(lab):
    network(lab)

    def echo(connection):
        connection.sendall(connection.recv(4096))
        connection.recv(4096)

    Responder(lab, echo)
    process = freerdp(lab, lab.server.v4, "/sec:tls", keys=False)
    time.sleep(4)
    stop(process)
    time.sleep(0.2)


@scene("not-rdp-tls-alert", "A TLS service on port 3389 answers the Connection Request with a TLS alert")
def not_rdp_tls_alert(lab):
    network(lab)

    def alert(connection):
        connection.recv(4096)
        connection.sendall(bytes.fromhex("15030100020246"))  # fatal, protocol_version

    Responder(lab, alert)
    refused(lab, lab.server.v4, "/sec:tls", keys=False)
