"""Network Level Authentication that fails: wrong credentials, error codes, versions, ends in the middle."""

import base64
import os
import signal
import struct
import time

import credssp
import tlspeer
from authority import Authority
from front import HYBRID, HYBRID_EX, Front
from peers import connection_confirm, receive
from responder import Responder, abort, read_tpkt
from scene import scene
from software import SERVER_NAME, USER, children, finished, freerdp, network, refused, shadow, wait
from tlspeer import server_context


def own_certificate(lab):
    return Authority(lab).host(SERVER_NAME)


@scene("nla-wrong-password", "FreeRDP shadow server: the password is wrong, TLS 1.3")
def nla_wrong_password(lab):
    network(lab, keys=True)
    shadow(lab, "/sec:nla")
    refused(lab, lab.server.v4, password="Winter-2025")


@scene("nla-wrong-password-tls12", "FreeRDP shadow server: the password is wrong, TLS 1.2")
def nla_wrong_password_tls12(lab):
    network(lab, keys=True)
    shadow(lab, "/sec:nla")
    refused(lab, lab.server.v4, "+enforce-tlsv1_2", password="Winter-2025")


@scene("nla-unknown-user", "FreeRDP shadow server: no such user, taken at the server")
def nla_unknown_user(lab):
    network(lab, keys=True, record=("server",))
    shadow(lab, "/sec:nla")
    refused(lab, lab.server.v4, user="nobody.here")


@scene("nla-error-logon-failure", "errorCode STATUS_LOGON_FAILURE, TLS 1.2, CredSSP version 6")
def nla_error_logon_failure(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), selected=HYBRID, tls="1.2", think=0.004)
    refused(lab, lab.server.v4, password="Winter-2025")


@scene("nla-error-locked-out", "errorCode STATUS_ACCOUNT_LOCKED_OUT, TLS 1.3")
def nla_error_locked_out(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), selected=HYBRID, error=0xC0000234)
    refused(lab, lab.server.v4)


@scene("nla-error-password-expired", "errorCode STATUS_PASSWORD_EXPIRED, TLS 1.2 AES-CBC")
def nla_error_password_expired(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), selected=HYBRID, error=0xC0000071)
    refused(lab, lab.server.v4, "+enforce-tlsv1_2", "/tls-ciphers:ECDHE-RSA-AES256-SHA384")


@scene("nla-error-ntlm-refused", "errorCode SEC_E_UNSUPPORTED_FUNCTION (no NTLM wanted), CredSSP version 3")
def nla_error_ntlm_refused(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), selected=HYBRID, version=3, error=0x80090302)
    refused(lab, lab.server.v4)


class Patient(Front):
    """A host that lets its client in, and closes when it says nothing more for eight seconds."""

    def backend(self):
        time.sleep(8)
        raise OSError("the client says nothing")


@scene("nla-granted-client-hangs", "HYBRID_EX: the early authorization result says granted; the client hangs, the server closes after 8 s")
def nla_granted_client_hangs(lab):
    network(lab, record=("client", "server"))
    certificate = own_certificate(lab)
    Patient(lab, certificate, selected=HYBRID_EX, tls="1.2")
    key = credssp.public_key(certificate[0])

    def talk(_, connection):
        credssp.log_on(connection, key)
        if receive(connection, 4) != bytes(4):
            raise RuntimeError("another authorization result")
        try:
            connection.recv(1)
        except OSError:
            pass
        time.sleep(1)

    tlspeer.client(lab, lab.server.v4, protocols=11, talk=talk, verify=False)


@scene("nla-not-authorized", "HYBRID_EX: the logon is right, the early authorization result says access denied")
def nla_not_authorized(lab):
    network(lab, keys=True)
    certificate = own_certificate(lab)
    Front(lab, certificate, selected=HYBRID_EX, authorization=5, tls="1.2")
    key = credssp.public_key(certificate[0])

    def talk(_, connection):
        credssp.log_on(connection, key)
        if receive(connection, 4) != b"\x05\0\0\0":
            raise RuntimeError("another authorization result")

    tlspeer.client(lab, lab.server.v4, protocols=11, keys=True, talk=talk, verify=False)


@scene("nla-error-hybrid-ex", "HYBRID_EX: errorCode STATUS_ACCOUNT_DISABLED, the client resets as Windows does")
def nla_error_hybrid_ex(lab):
    network(lab, keys=True)
    certificate = own_certificate(lab)
    Front(lab, certificate, selected=HYBRID_EX, error=0xC0000072)
    key = credssp.public_key(certificate[0])

    def talk(_, connection):
        if 4 not in credssp.log_on(connection, key):
            raise RuntimeError("no error code")
        abort(connection)

    tlspeer.client(lab, lab.server.v4, protocols=11, keys=True, talk=talk, verify=False)


def redirected(lab, selected, first, request, result, tls):
    """A host that begins the logon, takes a request and says no; a client that resets as Windows does."""
    network(lab, keys=True)
    context = server_context(own_certificate(lab), tls)

    def serve(connection):
        read_tpkt(connection)
        connection.sendall(connection_confirm(selected))
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(first)
            secure.recv(8192)
            time.sleep(0.003)
            secure.sendall(result)
            secure.settimeout(3)
            secure.recv(4096)

    def talk(_, connection):
        connection.recv(4096)
        connection.sendall(request)
        connection.recv(4096)
        abort(connection)

    Responder(lab, serve)
    tlspeer.client(lab, lab.server.v4, protocols=11 | selected, keys=True, talk=talk, verify=False)


def counted(data):
    return struct.pack("<H", len(data)) + data


@scene("rdstls-refused", "RDSTLS after a redirection: the host answers that the account is locked out, TLS 1.2")
def rdstls_refused(lab):
    names = [text.encode("utf-16le") + bytes(2) for text in (USER, "CORP")]
    request = struct.pack("<HHH", 1, 2, 1) + counted(os.urandom(16)) + b"".join(map(counted, names)) + counted(os.urandom(96))
    redirected(lab, 4, struct.pack("<HHHH", 1, 1, 1, 1), request, struct.pack("<HHHI", 1, 4, 1, 0x775), "1.2")


@scene("aad-refused", "RDS AAD Auth: the host answers STATUS_LOGON_FAILURE to the client's assertion, TLS 1.3")
def aad_refused(lab):
    nonce = b'{"ts_nonce":"%s"}\0' % base64.urlsafe_b64encode(os.urandom(32))
    token = b".".join(base64.urlsafe_b64encode(os.urandom(size)).rstrip(b"=") for size in (120, 900, 256))
    redirected(lab, 16, nonce, b'{"rdp_assertion":"%s"}\0' % token, b'{"authentication_result":3221225581}\0', "1.3")


@scene("nla-server-killed", "The server's process is killed after CHALLENGE; its host answers AUTHENTICATE by RST")
def nla_server_killed(lab):
    network(lab, keys=True)
    server = shadow(lab, "/sec:nla")
    halted = []

    @lab.wire.rule
    def halt(passing):
        # The CHALLENGE is the server's first record above 170 bytes that no other one accompanies.
        data = passing.packet.payload if passing.direction == "<" and passing.packet.is_tcp else b""
        if not halted and data[:3] == b"\x17\x03\x03" and 180 < len(data) < 240:
            halted.extend([server.pid, *children(server)])
            for pid in halted:
                os.kill(pid, signal.SIGSTOP)

    client = freerdp(lab, lab.server.v4)
    wait(lambda: halted, "no CHALLENGE was seen")
    time.sleep(1)
    for pid in halted:
        os.kill(pid, signal.SIGKILL)
    finished(client)


def first_leg(lab, connection):
    """Send NTLM NEGOTIATE, read CHALLENGE, leave."""
    connection.sendall(credssp.ts_request(6, credssp.negotiate()))
    credssp.read_ts_request(connection)
    time.sleep(0.02)


@scene("nla-client-leaves", "The client leaves after CHALLENGE without a word; both sides speak CredSSP version 6")
def nla_client_leaves(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), selected=HYBRID, tls="1.2")
    tlspeer.client(lab, lab.server.v4, protocols=3, keys=True, talk=first_leg, verify=False)


@scene("credssp-old-server", "A patched client leaves after the CHALLENGE of a server with CredSSP version 2")
def credssp_old_server(lab):
    network(lab, keys=True)
    Front(lab, own_certificate(lab), selected=HYBRID, tls="1.2", version=2)
    tlspeer.client(lab, lab.server.v4, protocols=3, keys=True, talk=first_leg, verify=False)
