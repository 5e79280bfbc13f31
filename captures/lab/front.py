"""An RDP host of ours in front of a real xrdp: it does X.224, TLS and CredSSP itself and relays the rest.

Every PDU of the session is the real server's, but for those that a scene puts in or takes out:
what Windows servers say and xrdp never does (Set Error Info, licensing errors, authorization results).
"""

import _ssl
import ctypes
import select
import socket
import ssl
import struct
import time

import credssp
from network import family, inside
from peers import SSL, connection_confirm, connection_request, receive
from responder import Responder, abort, read_tpkt
from software import PASSWORD, USER, xrdp
from tlspeer import server_context

HYBRID, HYBRID_EX = 2, 8
CLOSE, RESET = object(), object()


def tpkt(body):
    """`body` in TPKT and X.224 Data."""
    return struct.pack("!BBH", 3, 0, 7 + len(body)) + b"\x02\xf0\x80" + body


def send_data_indication(data, channel=1003):
    """MCS Send Data Indication from the server ([T.125], aligned PER)."""
    size = bytes([len(data)]) if len(data) < 0x80 else struct.pack("!H", 0x8000 | len(data))
    return tpkt(struct.pack("!BHHB", 0x68, 0, channel, 0x70) + size + data)


def set_error_info(code):
    """Set Error Info PDU ([MS-RDPBCGR] 2.2.5.1)."""
    return send_data_indication(struct.pack("<HHH", 22, 0x17, 1002)
                                + struct.pack("<IBBHBBH", 0x103EA, 0, 1, 4, 47, 0, 0) + struct.pack("<I", code))


def license_error(code, transition):
    """Licensing Error Message ([MS-RDPBCGR] 2.2.1.12.1.3)."""
    return send_data_indication(struct.pack("<HHBBHIIHH", 0x80, 0, 0xFF, 3, 16, code, transition, 4, 0))


def disconnect_ultimatum(reason):
    """MCS Disconnect Provider Ultimatum: 1 provider initiated, 3 user requested."""
    return tpkt(bytes([0x20 | reason >> 1, (reason & 1) << 7]))


def is_client_info(pdu):
    """Whether a PDU of the client is Client Info (SEC_INFO_PKT in its security header)."""
    return pdu[:1] == b"\x03" and pdu[7:8] == b"\x64" and pdu[12:13] == b"\x70" and _security_flags(pdu) & 0x40


def is_licensing(pdu):
    """Whether a PDU of the server belongs to licensing (SEC_LICENSE_PKT)."""
    return pdu[:1] == b"\x03" and pdu[7:8] == b"\x68" and _security_flags(pdu) & 0x80


def is_demand_active(pdu):
    """Whether a PDU of the server is Demand Active (share control type 1)."""
    at = 15 if pdu[13:14] and pdu[13] & 0x80 else 14
    return pdu[:1] == b"\x03" and pdu[7:8] == b"\x68" and len(pdu) > at + 4 and pdu[at + 2] & 0x0F == 1


def _security_flags(pdu):
    at = 15 if pdu[13] & 0x80 else 14
    return struct.unpack_from("<H", pdu, at)[0]


class Front(Responder):
    """`change(pdu, from_client)` returns what is sent instead of a PDU: a list of PDUs, CLOSE, RESET, pauses.

    `session` is xrdp's (see `software.xrdp`). `later` is a pair (seconds, list): sent to the client
    that long after the session began to flow. Options of the logon (`version`, `error`) go to `credssp.accept`; `authorization` is the early
    user authorization result, sent where HYBRID_EX is selected. With `rekey` a TLS 1.3 KeyUpdate goes
    out once session data flow. With `preconnection` a preconnection PDU comes before X.224. With `direct`
    X.224 follows TLS and CredSSP, if the client speaks it at all ([MS-RDPBCGR] 5.4.2.2). `ciphers` and
    `options` are OpenSSL's; a `context` takes the place of OpenSSL's.
    """

    def __init__(self, lab, certificate, change=None, later=None, selected=SSL, tls=None, authorization=0,
                 node="server", session=None, ciphers=None, options=0, rekey=False, port=3389,
                 preconnection=False, direct=False, context=None, **logon):
        self.lab, self.node, self.certificate, self.logon = lab, node, certificate, logon
        self.change, self.later, self.selected, self.authorization = change, later, selected, authorization
        self.context = context or server_context(certificate, tls, ciphers)
        if options:
            self.context.options |= options
        self.rekey, self.preconnection, self.direct = rekey, preconnection, direct
        xrdp(lab, certificate, port=3390, node=node, session=session)
        super().__init__(lab, self.serve_client, port, node)

    def serve_client(self, connection):
        if self.preconnection:  # [MS-RDPEPS] 2.2.1: its size comes first and counts itself
            size = receive(connection, 4)
            receive(connection, struct.unpack("<I", size)[0] - 4)
        if not self.direct:
            read_tpkt(connection)
            connection.sendall(connection_confirm(self.selected))
        client = self.context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
        with client:
            if self.selected != SSL:
                try:
                    credssp.accept(client, self.certificate[0], **self.logon)
                except credssp.Refused:
                    client.settimeout(3)
                    client.recv(4096)  # the client closes, as with a Windows host
                    return
            if self.selected == HYBRID_EX:
                client.sendall(struct.pack("<I", self.authorization))
                if self.authorization:
                    client.settimeout(3)
                    client.recv(4096)
                    return
            first = read_tpkt(client) if self.direct else b""
            if first[5:6] == b"\xe0":
                client.sendall(connection_confirm(self.selected))
                first = b""
            with self.backend() as server:
                server.sendall(first)
                self.relay(client, server)

    def backend(self):
        """A TLS connection to the xrdp behind."""
        with inside(self.lab.net[self.node].ns):
            plain = socket.create_connection(("127.0.0.1", 3390), 10)
        plain.sendall(connection_request(SSL, USER))
        read_tpkt(plain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        # TLS 1.3 tickets would make the socket readable without a PDU in it.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context.wrap_socket(plain)

    def relay(self, client, server):
        due = None
        while True:
            wait = max(0, due - time.monotonic()) if due else 10
            ready = [s for s in (client, server) if s.pending()] or select.select([client, server], [], [], wait)[0]
            if due and time.monotonic() >= due:
                due = None
                if not self.send(client, client, self.later[1]):
                    return
            for source in ready:
                try:
                    pdu = read_pdu(source)
                except (ConnectionError, ssl.SSLError):
                    return
                if self.later and due is None and source is server and pdu[0] != 3:
                    due = time.monotonic() + self.later[0]  # the first fast-path update
                if self.rekey and source is server and pdu[0] != 3:
                    self.rekey = False
                    request_key_update(client)
                out = [pdu]
                if self.change:
                    out = self.change(pdu, source is client)
                    if out is None:
                        out = [pdu]
                target = server if source is client and out == [pdu] else client
                if not self.send(target, client, out):
                    return

    @staticmethod
    def send(target, client, items):
        """Send what a scene asks for; False when the connection is to end."""
        for item in items:
            if item is CLOSE:
                client.settimeout(1)
                try:
                    client.unwrap().close()
                except OSError:
                    pass
                return False
            if item is RESET:
                abort(client)
                return False
            if isinstance(item, float):
                time.sleep(item)
            else:
                target.sendall(item)
        return True


class StandIn(Responder):
    """A client of ours that begins the connection in its own way and then relays what an xfreerdp says, which it takes
    on a port of its own node.

    With `key`, the server's public key, it goes the direct way of a virtual machine's console, as Hyper-V's
    client does: preconnection PDU, TLS, CredSSP, X.224 inside. Without, X.224 and TLS alone. `context` is
    that of its TLS.
    """

    def __init__(self, lab, address, certificate, key=None, port=3389, way_in=3400, password=PASSWORD, context=None):
        self.lab, self.address, self.key, self.port, self.password = lab, address, key, port, password
        self.context, self.outer = server_context(certificate), context
        if not context:
            self.outer = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.outer.check_hostname, self.outer.verify_mode = False, ssl.CERT_NONE
            self.outer.keylog_filename = lab.keylog
        super().__init__(lab, self.serve_client, way_in, "client")

    def serve_client(self, connection):
        read_tpkt(connection)
        connection.sendall(connection_confirm(SSL))
        with self.context.wrap_socket(connection, server_side=True) as desk:
            plain = self.lab.client.socket(family(self.address))
            plain.connect((self.address, self.port))
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.key:
                machine = "C824F53E-95D2-46C6-9A18-23A5BB403532".encode("utf-16le") + bytes(2)
                plain.sendall(struct.pack("<IIIIH", 18 + len(machine), 0, 2, 0, len(machine) // 2) + machine)
            else:
                plain.sendall(connection_request(SSL, USER))
                read_tpkt(plain)
            with self.outer.wrap_socket(plain) as host:
                if not self.key or self.log_on(host):
                    self.relay(desk, host)

    def log_on(self, host):
        """CredSSP, then X.224; whether the host lets the user in."""
        if 4 in credssp.log_on(host, self.key, password=self.password):
            abort(host)  # as Windows does
            return False
        host.sendall(connection_request(SSL | HYBRID | HYBRID_EX, USER))
        read_tpkt(host)
        return True

    @staticmethod
    def relay(desk, host):
        while True:
            for source in [s for s in (desk, host) if s.pending()] or select.select([desk, host], [], [], 10)[0]:
                data = source.recv(16000)
                if not data:
                    return
                (host if source is desk else desk).sendall(data)


def request_key_update(secure):
    """Let OpenSSL send a TLS 1.3 KeyUpdate ahead of the next data."""
    library = ctypes.CDLL(_ssl.__file__)
    library.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
    # CPython's SSL object: object header (two words), the socket, then the SSL pointer.
    pointer = ctypes.c_void_p.from_address(id(secure._sslobj) + 3 * ctypes.sizeof(ctypes.c_void_p))
    if library.SSL_key_update(pointer, 1) != 1:
        raise RuntimeError("OpenSSL refuses a key update")


def read_pdu(connection):
    """One slow-path (TPKT) or fast-path PDU."""
    head = receive(connection, 2)
    if head[0] == 3:
        head += receive(connection, 2)
        return head + receive(connection, struct.unpack("!H", head[2:])[0] - 4)
    size = head[1]
    if size & 0x80:
        head += receive(connection, 1)
        size = struct.unpack("!H", head[1:])[0] & 0x7FFF
    return head + receive(connection, size - len(head))
