"""Sessions that work in less common ways, and connections that nobody meant to bring to a session."""

import os
import socket
import struct
import time

import credssp
import gnutls
from authority import Authority
from front import CLOSE, HYBRID, Front, StandIn, is_demand_active, send_data_indication
from packets import SYN
from peers import connection_request
from responder import abort, read_tpkt
from scene import scene, stop
from software import (SERVER_NAME, close_windows, finished, freerdp, network, openssl_conf, refused, shadow, visit,
                      xorg_desk, xrdp)

# Bits of OpenSSL's SSL_OP_NO_EXTENDED_MASTER_SECRET and SSL_OP_NO_ENCRYPT_THEN_MAC, which Python does not name.
NO_EXTENDED_MASTER_SECRET, NO_ENCRYPT_THEN_MAC = 1 << 0, 1 << 19


def own_certificate(lab, **options):
    return Authority(lab).host(SERVER_NAME, **options)


@scene("session-tls10-cbc", "TLS 1.0 with AES-128-CBC-SHA and RSA key exchange, closed by the user")
def session_tls10_cbc(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), tls="1.0", ciphers="AES128-SHA:@SECLEVEL=0")
    visit(lab, lab.server.v4, "/sec:tls", "/tls-seclevel:0", password=None, stay=5,
          **openssl_conf(lab, "old", MinProtocol="TLSv1", CipherString="ALL:@SECLEVEL=0"))


def by_gnutls(lab, priorities):
    """A session whose TLS is GnuTLS's on both sides, between an xfreerdp and an xrdp."""
    network(lab, keys=True)
    os.environ["SSLKEYLOGFILE"] = lab.keylog
    certificate = own_certificate(lab)
    Front(lab, certificate, context=gnutls.Context(priorities, certificate), session=xorg_desk(lab)[1])
    StandIn(lab, lab.server.v4, certificate, context=gnutls.Context(priorities))
    visit(lab, lab.client.v4, "/port:3400", "/sec:tls", password=None, stay=5)


@scene("session-tls10-rc4", "TLS 1.0 with RC4_128_SHA, as Windows 7 agrees on, and a session")
def session_tls10_rc4(lab):
    by_gnutls(lab, "NONE:+VERS-TLS1.0:+ARCFOUR-128:+SHA1:+RSA:+COMP-NULL:+SIGN-ALL:%NO_ETM")


@scene("session-tls10-3des", "TLS 1.0 with 3DES_EDE_CBC_SHA, as Windows 7 agrees on, and a session")
def session_tls10_3des(lab):
    by_gnutls(lab, "NONE:+VERS-TLS1.0:+3DES-CBC:+SHA1:+RSA:+COMP-NULL:+SIGN-ALL:%NO_ETM")


@scene("session-tls12-3des", "TLS 1.2 with ECDHE_RSA_3DES_EDE_CBC_SHA and encrypt-then-MAC, and a session")
def session_tls12_3des(lab):
    by_gnutls(lab, "NONE:+VERS-TLS1.2:+3DES-CBC:+SHA1:+ECDHE-RSA:+COMP-NULL:+SIGN-ALL:+GROUP-ALL")


@scene("session-tls12-ccm", "TLS 1.2 with RSA_AES_128_CCM_8, and a session")
def session_tls12_ccm(lab):
    by_gnutls(lab, "NONE:+VERS-TLS1.2:+AES-128-CCM-8:+AEAD:+RSA:+COMP-NULL:+SIGN-ALL")


@scene("session-tls12-cbc-mac-then-encrypt", "NLA over TLS 1.2 AES-256-CBC-SHA256, MAC-then-encrypt, RSA key exchange")
def session_tls12_cbc_mac_then_encrypt(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), tls="1.2", ciphers="AES256-SHA256", selected=HYBRID,
          options=NO_ENCRYPT_THEN_MAC | NO_EXTENDED_MASTER_SECRET, session=xorg_desk(lab)[1])
    visit(lab, lab.server.v4, stay=5)


@scene("session-tls13-key-update", "TLS 1.3 with a KeyUpdate of the server in the session")
def session_tls13_key_update(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), tls="1.3", rekey=True)
    visit(lab, lab.server.v4, "/sec:tls", password=None, stay=5)


@scene("session-tls13-aes128-ecdsa", "TLS 1.3 AES-128-GCM with an ECDSA certificate, alive at the end")
def session_tls13_aes128_ecdsa(lab):
    network(lab, keys=True)
    xrdp(lab, own_certificate(lab, key="P-256"))
    freerdp(lab, lab.server.v4, "/sec:tls", password=None,
            **openssl_conf(lab, "client", Ciphersuites="TLS_AES_128_GCM_SHA256"))
    time.sleep(4)


@scene("session-xrdp-rdp-logoff", "Standard RDP Security without encryption; the session ends on the server (logoff)")
def session_xrdp_rdp_logoff(lab):
    network(lab)
    desk, lines = xorg_desk(lab)
    xrdp(lab, own_certificate(lab), session=lines, security_layer="rdp", crypt_level="none")
    client = freerdp(lab, lab.server.v4, "/sec:rdp")
    time.sleep(3)
    stop(desk)
    finished(client)


def redirection(address):
    """Enhanced Security Server Redirection PDU ([MS-RDPBCGR] 2.2.13.3.1) to `address`, with a routing token."""
    def text(value):
        return (value + "\0").encode("utf-16le")

    token = b"Cookie: msts=%d.%d.0000\r\n" % (
        int.from_bytes(socket.inet_aton(address), "little"), int.from_bytes(struct.pack("<H", 3389), "big"))
    flags = 0x1 | 0x2  # LB_TARGET_NET_ADDRESS, LB_LOAD_BALANCE_INFO
    fields = b"".join(struct.pack("<I", len(part)) + part for part in (text(address), token))
    packet = struct.pack("<HHII", 0x400, 12 + len(fields), 7, flags) + fields
    return send_data_indication(struct.pack("<HHHH", 8 + len(packet) + 1, 0x1A, 1002, 0) + packet + b"\0")


@scene("session-redirected", "A farm's host redirects the client, which comes back with a routing token and gets its session")
def session_redirected(lab):
    network(lab, keys=True)
    done = []

    def change(pdu, from_client):
        if not done and not from_client and is_demand_active(pdu):
            done.append(True)
            return [redirection(lab.server.v4), 0.5, CLOSE]
        return None

    Front(lab, own_certificate(lab), change)
    client = freerdp(lab, lab.server.v4, "/sec:tls", password=None)
    time.sleep(6)
    close_windows(lab)
    finished(client)


def opened(lab, protocols=None):
    """A TCP connection of the client to port 3389, with X.224 negotiated if `protocols` are given."""
    connection = lab.client.socket(socket.AF_INET)
    connection.settimeout(10)
    connection.connect((lab.server.v4, 3389))
    if protocols is not None:
        connection.sendall(connection_request(protocols, "anna"))
        read_tpkt(connection)
    return connection


@scene("credential-prompt-cancelled", "The server wants NLA, the user is asked for credentials for 6 s and cancels")
def credential_prompt_cancelled(lab):
    network(lab)
    Front(lab, own_certificate(lab), selected=HYBRID)
    connection = opened(lab, 3)
    time.sleep(6)
    connection.close()
    time.sleep(0.2)


@scene("probe-tcp", "A health check: the port is opened and closed, three times")
def probe_tcp(lab):
    network(lab)
    xrdp(lab, own_certificate(lab))
    for _ in range(3):
        opened(lab).close()
        time.sleep(0.7)


@scene("probe-tcp-held", "A client opens the port, its first SYN is lost, and closes after 12 s without a word")
def probe_tcp_held(lab):
    network(lab)
    xrdp(lab, own_certificate(lab))
    lost = []

    def lose(passing):
        if passing.packet.is_tcp and passing.packet.flags & SYN and passing.direction == ">" and not lost:
            lost.append(1)
            passing.drop()

    lab.wire.rule(lose)
    connection = opened(lab)
    time.sleep(12)
    connection.close()
    time.sleep(0.3)


@scene("probe-x224", "A scanner negotiates X.224 and resets")
def probe_x224(lab):
    network(lab)
    xrdp(lab, own_certificate(lab))
    abort(opened(lab, 3))
    time.sleep(0.3)


@scene("session-among-checks", "A balancer's health checks, a monitor and a port scan beside the session of another client")
def session_among_checks(lab):
    lab.net.link("client", "r1").link("monitor", "r1").link("r1", "r2", wire="wire").link("r2", "server")
    lab.ready()
    lab.wire.delay(0.004)
    lab.record("server", "server")

    def check(*said, node="monitor", reset=False):
        connection = lab.net[node].socket()
        connection.connect((lab.server.v4, 3389))
        for words in said:
            connection.sendall(words)
            read_tpkt(connection)
        if reset:
            abort(connection)
        else:
            connection.close()
        time.sleep(0.1)

    xrdp(lab, own_certificate(lab))
    check(reset=True)
    process = freerdp(lab, lab.server.v4, "/sec:tls", keys=False)
    time.sleep(3)
    check()
    check(connection_request(1, "check"), reset=True)
    time.sleep(1)
    stop(process)
    check(reset=True)
    check(connection_request(3, ""))


@scene("tls-server-slow", "The server answers the ClientHello after 5 s; the session works: slow is not dead")
def tls_server_slow(lab):
    network(lab, keys=True)
    front = Front(lab, own_certificate(lab), tls="1.2")
    front.context.sni_callback = lambda *_: time.sleep(5)
    visit(lab, lab.server.v4, "/sec:tls", password=None, stay=11)


@scene("session-preconnection", "A virtual machine's console: preconnection PDU, port 2179, NLA, session")
def session_preconnection(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), selected=HYBRID, tls="1.2", port=2179, preconnection=True,
          session=xorg_desk(lab)[1])
    visit(lab, lab.server.v4, "/port:2179", "/pcb:C824F53E-95D2-46C6-9A18-23A5BB403532", stay=5)


@scene("session-console-freerdp", "A virtual machine's console by the direct way: preconnection PDU, TLS, NLA, no X.224; FreeRDP")
def session_console_freerdp(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), selected=HYBRID, tls="1.2", port=2179, preconnection=True, direct=True,
          session=xorg_desk(lab)[1])
    visit(lab, lab.server.v4, "/vmconnect:C824F53E-95D2-46C6-9A18-23A5BB403532", stay=5)


def console(lab, tls, **options):
    """A virtual machine's console as Hyper-V's client opens it, with an xfreerdp behind that client."""
    network(lab, keys=True)
    certificate = own_certificate(lab)
    Front(lab, certificate, selected=HYBRID, tls=tls, port=2179, preconnection=True, direct=True,
          session=xorg_desk(lab)[1], **options.pop("server", {}))
    StandIn(lab, lab.server.v4, certificate, credssp.public_key(certificate[0]), 2179, **options)


@scene("session-console", "A virtual machine's console: preconnection PDU, TLS 1.3, NLA, X.224 inside, session")
def session_console(lab):
    console(lab, "1.3")
    visit(lab, lab.client.v4, "/port:3400", "/sec:tls", stay=5)


@scene("session-console-refused", "A virtual machine's console by the direct way: NLA refuses the password, TLS 1.2")
def session_console_refused(lab):
    console(lab, "1.2", password="Winter-2025")
    refused(lab, lab.client.v4, "/port:3400", "/sec:tls")


@scene("session-small-segments", "A router clamps the MSS to 300: every record lies in several segments")
def session_small_segments(lab):
    network(lab, keys=True)
    lab.net["r1"].nft("table inet clamp {\n chain forward {\n  type filter hook forward priority 0\n"
                      "  tcp flags syn tcp option maxseg size set 300\n }\n}\n")
    shadow(lab, "/sec:nla")
    visit(lab, lab.server.v4, "+enforce-tlsv1_2", stay=5)


@scene("session-shadow-nla-wan", "NLA and a session over 80 ms each way with jitter and 3 % loss, closed by the user")
def session_shadow_nla_wan(lab):
    network(lab, keys=True)
    wide_area(lab)
    shadow(lab, "/sec:nla")
    visit(lab, lab.server.v4, stay=9)


@scene("nla-refused-wan", "errorCode STATUS_LOGON_FAILURE over 80 ms each way with jitter and 3 % loss, TLS 1.2")
def nla_refused_wan(lab):
    network(lab, keys=True)
    wide_area(lab)
    Front(lab, own_certificate(lab), selected=HYBRID, tls="1.2", think=1.0)
    finished(freerdp(lab, lab.server.v4, password="Winter-2025"))


def wide_area(lab):
    lab.wire.delay(0.080, 0.006)
    for lane in lab.wire.lanes.values():
        lane.loss = 0.03
