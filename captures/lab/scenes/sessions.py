"""Sessions of real RDP software that work: protocols, suites, addresses, ports and ends."""

import time

from authority import Authority
from scene import scene, stop
from software import (SERVER_NAME, close_windows, finished, freerdp, network, openssl_conf,
                      refused, shadow, visit, xorg_desk, xrdp)


@scene("session-xrdp-tls13", "xrdp over TLS 1.3, closed by the user")
def session_xrdp_tls13(lab):
    network(lab, keys=True)
    xrdp(lab, Authority(lab).host(SERVER_NAME))
    visit(lab, lab.server.v4, "/sec:tls", password=None, stay=4)


@scene("session-xrdp-tls12-chacha", "xrdp over TLS 1.2 with ChaCha20-Poly1305, closed by the user")
def session_xrdp_tls12_chacha(lab):
    network(lab, keys=True)
    xrdp(lab, Authority(lab).host(SERVER_NAME), ssl_protocols="TLSv1.2",
         tls_ciphers="ECDHE-RSA-CHACHA20-POLY1305")
    visit(lab, lab.server.v4, "/sec:tls", password=None, stay=4)


@scene("session-xrdp-tls12-cbc", "xrdp over TLS 1.2 with AES-CBC-SHA384, logged off on the server")
def session_xrdp_tls12_cbc(lab):
    network(lab, keys=True)
    desk, lines = xorg_desk(lab)
    xrdp(lab, Authority(lab).host(SERVER_NAME), session=lines, ssl_protocols="TLSv1.2",
         tls_ciphers="ECDHE-RSA-AES256-SHA384")
    client = freerdp(lab, lab.server.v4, "/sec:tls")
    time.sleep(3)
    stop(desk)
    finished(client)


@scene("session-xrdp-logoff", "xrdp with an X session; the session ends on the server (logoff)")
def session_xrdp_logoff(lab):
    network(lab, keys=True)
    desk, lines = xorg_desk(lab)
    xrdp(lab, Authority(lab).host(SERVER_NAME), session=lines)
    client = freerdp(lab, lab.server.v4, "/sec:tls")
    time.sleep(3)
    stop(desk)
    finished(client)


@scene("session-xrdp-rdp-plain", "xrdp with Standard RDP Security without encryption, closed by the user")
def session_xrdp_rdp_plain(lab):
    network(lab)
    xrdp(lab, Authority(lab).host(SERVER_NAME), security_layer="rdp", crypt_level="none")
    visit(lab, lab.server.v4, "/sec:rdp", password=None, stay=5)


@scene("session-xrdp-rdp-fips", "xrdp with Standard RDP Security, FIPS (3DES), alive at the end")
def session_xrdp_rdp_fips(lab):
    network(lab)
    xrdp(lab, Authority(lab).host(SERVER_NAME), security_layer="rdp", crypt_level="fips")
    freerdp(lab, lab.server.v4, "/sec:rdp", password=None)
    time.sleep(4)


@scene("rdp-encryption-fault", "Standard RDP Security with RC4: the server cannot read Client Info and disconnects")
def rdp_encryption_fault(lab):
    network(lab)
    xrdp(lab, Authority(lab).host(SERVER_NAME), security_layer="rdp")
    refused(lab, lab.server.v4, "/sec:rdp")


@scene("session-xrdp-ipv6-port", "xrdp over IPv6 on port 33890, alive at the end of the capture")
def session_xrdp_ipv6_port(lab):
    network(lab, keys=True)
    xrdp(lab, Authority(lab).host(SERVER_NAME), port=33890)
    freerdp(lab, "[%s]" % lab.server.v6, "/port:33890", "/sec:tls", password=None)
    time.sleep(4)


@scene("session-shadow-nla-tls13", "FreeRDP shadow server, NLA by NTLM over TLS 1.3, closed by the user")
def session_shadow_nla_tls13(lab):
    network(lab, keys=True)
    shadow(lab, "/sec:nla")
    visit(lab, lab.server.v4, stay=4)


@scene("session-shadow-nla-tls12", "FreeRDP shadow server, NLA by NTLM over TLS 1.2 AES-GCM, closed by the user")
def session_shadow_nla_tls12(lab):
    network(lab, keys=True)
    shadow(lab, "/sec:nla")
    visit(lab, lab.server.v4, "+enforce-tlsv1_2", stay=4)


@scene("session-shadow-nla-cbc-etm", "NLA by NTLM over TLS 1.2 AES-CBC-SHA256 with encrypt-then-MAC")
def session_shadow_nla_cbc(lab):
    network(lab, keys=True)
    shadow(lab, "/sec:nla")
    visit(lab, lab.server.v4, "+enforce-tlsv1_2", "/tls-ciphers:ECDHE-RSA-AES128-SHA256", stay=4)


@scene("session-shadow-nla-chacha13", "NLA by NTLM over TLS 1.3 ChaCha20-Poly1305, recorded at the server")
def session_shadow_nla_chacha13(lab):
    network(lab, keys=True, record=("server",))
    shadow(lab, "/sec:nla")
    visit(lab, lab.server.v4, stay=4, **openssl_conf(lab, "client", Ciphersuites="TLS_CHACHA20_POLY1305_SHA256"))


@scene("session-prompt-then-accepted", "The client asks about the certificate; the user says yes after seconds")
def session_prompt_then_accepted(lab):
    network(lab, keys=True)
    shadow(lab, "/sec:nla")
    client = freerdp(lab, lab.server.v4, certificate=None, answer=b"")
    time.sleep(4)
    client.stdin.write(b"Y\n")
    client.stdin.flush()
    time.sleep(4)
    close_windows(lab)
    finished(client)


@scene("session-fallback-rdp", "The client offers TLS and NLA, the server takes Standard RDP Security")
def session_fallback_rdp(lab):
    network(lab)
    xrdp(lab, Authority(lab).host(SERVER_NAME), security_layer="rdp", crypt_level="none")
    visit(lab, lab.server.v4, password=None, stay=5)


@scene("session-fallback-nla", "TLS alone refused with HYBRID_REQUIRED; the user retries with NLA and connects")
def session_fallback_nla(lab):
    network(lab, keys=True)
    shadow(lab, "/sec:nla")
    finished(freerdp(lab, lab.server.v4, "/sec:tls"))
    time.sleep(0.5)
    visit(lab, lab.server.v4, stay=4)
