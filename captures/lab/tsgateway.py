"""An RD Gateway of ours: HTTP with NTLM, WebSocket, and the packets of [MS-TSGU] 2.2.10 over it.

It can be served behind nginx (plain HTTP) or with its own TLS, and it relays to a real RDP server.
"""

import base64
import hashlib
import os
import re
import select
import socket
import struct
import threading
import time

import credssp
from network import inside
from peers import receive
from responder import Responder
from software import PASSWORD

HANDSHAKE, TUNNEL, AUTHORIZATION, CHANNEL, DATA, KEEPALIVE, CLOSE = 1, 4, 6, 8, 10, 13, 16
WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def packet(kind, body):
    """A gateway packet: type, reserved, length, body."""
    return struct.pack("<HHI", kind, 0, 8 + len(body)) + body


ANSWERS = {
    HANDSHAKE: lambda: packet(2, struct.pack("<IBBHH", 0, 1, 0, 0, 0)),
    TUNNEL: lambda: packet(5, struct.pack("<HIHHII", 0, 0, 3, 0, 10, 0x3F)),
    AUTHORIZATION: lambda: packet(7, struct.pack("<IHHII", 0, 3, 0, 0x80000000, 0)),
    CHANNEL: lambda: packet(9, struct.pack("<IHHI", 0, 1, 0, 1)),
}
REFUSALS = {
    HANDSHAKE: lambda code: packet(2, struct.pack("<IBBHH", code, 1, 0, 0, 0)),
    TUNNEL: lambda code: packet(5, struct.pack("<HIHH", 0, code, 0, 0)),
    AUTHORIZATION: lambda code: packet(7, struct.pack("<IHH", code, 0, 0)),
    CHANNEL: lambda code: packet(9, struct.pack("<IHH", code, 0, 0)),
}


class Gateway(Responder):
    """`refuse` is (packet type, code, seconds before the answer); `upgraded` says what follows the 101.

    `context` is a server's TLS context, or None behind nginx. `target` is (address, port) of the RDP server.
    """

    def __init__(self, lab, context=None, port=443, refuse=None, upgraded="relay", target=None, node="gateway",
                 leave=None, kdc=None, ends=None):
        self.lab, self.context, self.refuse, self.upgraded = lab, context, refuse, upgraded
        self.target, self.node, self.leave = target, node, leave
        self.kdc = kdc  # address of a KDC for /KdcProxy; without it the proxy answers 503
        self.ends = ends  # (seconds, code): CLOSE_CHANNEL with that code so long after the channel was made
        self.out_channels = {}  # RDG-Connection-Id -> the connection of RDG_OUT_DATA
        super().__init__(lab, self.serve_client, port, node)

    def serve_client(self, connection):
        """Serve in a thread of its own: the old way of two connections needs both at once."""
        threading.Thread(target=self.guard, args=(connection.dup(),), daemon=True).start()

    def guard(self, connection):
        try:
            connection.settimeout(20)
            self.conversation(connection)
        except OSError as error:
            self.error = error
        finally:
            connection.close()

    def conversation(self, connection):
        if self.context:
            connection = self.context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
        with connection:
            request = read_head(connection)
            if request.startswith(b"POST /KdcProxy"):
                self.kdc_proxy(connection, request)
                return
            method, headers = self.log_on(connection, request)
            if not headers:
                return
            if self.upgraded == "200":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n"
                                   b"<p>It works</p>")
                return
            if "sec-websocket-key" not in headers:
                self.two_channels(method, headers["rdg-connection-id"], connection)
                return
            accepted = base64.b64encode(hashlib.sha1((headers["sec-websocket-key"] + WEBSOCKET).encode()).digest())
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               b"Sec-WebSocket-Accept: " + accepted + b"\r\nServer: Microsoft-HTTPAPI/2.0\r\n\r\n")
            if self.upgraded == "relay":
                self.tunnel(WebSocket(connection))

    def two_channels(self, method, name, connection):
        """[MS-TSGU] 3.3.5.1 without WebSocket: the OUT channel is an endless answer, the IN channel a chunked request."""
        if method == "RDG_OUT_DATA":
            connection.sendall(b"HTTP/1.1 200 OK\r\nServer: Microsoft-HTTPAPI/2.0\r\nContent-Length: 1073741824\r\n\r\n"
                               + os.urandom(10))
            over = threading.Event()
            self.out_channels[name] = (connection, over)
            over.wait(30)
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nServer: Microsoft-HTTPAPI/2.0\r\nContent-Length: 0\r\n\r\n")
            read_head(connection)  # the request that carries the chunks; the one before was the logon
            out, over = self.out_channels[name]
            try:
                self.tunnel(Pair(connection, out))
            finally:
                over.set()

    @staticmethod
    def drain(connection):
        connection.settimeout(2)
        try:
            while connection.recv(4096):
                pass
        except OSError:
            pass  # the client's close may be rough

    def kdc_proxy(self, connection, request):
        """[MS-KKDCP]: hand the Kerberos message in the body to the KDC, by TCP, and its answer back."""
        body = receive(connection, int(re.search(rb"(?i)content-length: (\d+)", request).group(1)))
        if not self.kdc:
            connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            return
        (_, fields), = credssp.elements(body)
        (_, message), = credssp.elements(dict(credssp.elements(fields))[0xA0])
        with inside(self.lab.net[self.node].ns):
            host = socket.create_connection((self.kdc, 88), 10)
        with host:
            host.sendall(message)
            size = receive(host, 4)
            answer = size + receive(host, struct.unpack("!I", size)[0])
        answer = credssp.tlv(0x30, credssp.tlv(0xA0, credssp.tlv(4, answer)))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/kerberos\r\nContent-Length: %d\r\n\r\n"
                           % len(answer) + answer)

    def log_on(self, connection, request):
        """NTLM over HTTP; method and headers of the request that is authorized, None for both if it is not."""
        nonce = os.urandom(8)
        while True:
            headers = {name.lower(): value for name, value in re.findall(r"(?m)^([^:\r\n]+): ([^\r\n]*)", request.decode())}
            scheme, _, token = headers.get("authorization", "").partition(" ")
            message = base64.b64decode(token)
            if message[8:9] == b"\x03":
                if credssp.session_key(message, nonce, PASSWORD):
                    return request.split(b" ")[0].decode(), headers
                connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: NTLM\r\n"
                                   b"Connection: close\r\n\r\n")
                return None, None
            offer = scheme or "NTLM"
            if message:
                offer += " " + base64.b64encode(credssp.challenge(nonce, "RDGW")).decode()
            connection.sendall(("HTTP/1.1 401 Unauthorized\r\nContent-Type: text/plain\r\nServer: Microsoft-HTTPAPI/2.0\r\n"
                                "WWW-Authenticate: %s\r\nContent-Length: 0\r\n\r\n" % offer).encode())
            request = read_head(connection)

    def tunnel(self, channel):
        """Answer gateway packets until the end; relay data once the channel is made."""
        host, due = None, None
        while True:
            if host and not channel.incoming.pending():
                wait = max(0.0, due - time.monotonic()) if due else 20
                ready = select.select([channel.incoming, host], [], [], wait)[0]
                if due and time.monotonic() >= due:
                    channel.send(packet(CLOSE, struct.pack("<I", self.ends[1])))
                    self.drain(channel.incoming)
                    return
                if host in ready:
                    data = host.recv(8000)
                    if not data:
                        return
                    channel.send(packet(DATA, struct.pack("<H", len(data)) + data))
                if channel.incoming not in ready:
                    continue
            message = channel.read()
            if message is None:
                return
            kind = struct.unpack_from("<H", message)[0]
            if self.leave == kind:
                return
            if self.refuse and self.refuse[0] == kind:
                time.sleep(self.refuse[2])
                channel.send(REFUSALS[kind](self.refuse[1]))
                self.drain(channel.incoming)
                return
            if kind == CHANNEL:
                with inside(self.lab.net[self.node].ns):
                    host = socket.create_connection(self.target, 10)
                due = time.monotonic() + self.ends[0] if self.ends else None
            if kind in ANSWERS:
                channel.send(ANSWERS[kind]())
            elif kind == DATA and host:
                host.sendall(message[10 : 10 + struct.unpack_from("<H", message, 8)[0]])
            elif kind == CLOSE:
                channel.send(packet(0x11, struct.pack("<I", 0)))


class WebSocket:
    """Gateway packets as binary WebSocket frames, both ways on one connection."""

    def __init__(self, connection):
        self.incoming = connection

    def read(self):
        while True:
            opcode, message = read_frame(self.incoming)
            if opcode == 8:
                send_frame(self.incoming, message, 8)
                return None
            if opcode == 2:
                return message

    def send(self, message):
        send_frame(self.incoming, message)


class Pair:
    """Gateway packets as chunks of a request that never ends, answers on the other connection."""

    def __init__(self, incoming, outgoing):
        self.incoming, self.outgoing = incoming, outgoing

    def read(self):
        line = b""
        while not line.endswith(b"\r\n"):
            line += receive(self.incoming, 1)
        return receive(self.incoming, int(line, 16) + 2)[:-2] or None

    def send(self, message):
        self.outgoing.sendall(message)


def read_head(connection):
    """Request line and headers of an HTTP request."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += receive(connection, 1)
    return head


def read_frame(connection):
    """(opcode, payload) of the next WebSocket frame ([RFC 6455] 5.2), unmasked."""
    first, second = receive(connection, 2)
    size = second & 0x7F
    if size == 126:
        size = struct.unpack("!H", receive(connection, 2))[0]
    elif size == 127:
        size = struct.unpack("!Q", receive(connection, 8))[0]
    mask = receive(connection, 4) if second & 0x80 else bytes(4)
    data = receive(connection, size)
    return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))


def send_frame(connection, payload, opcode=2):
    """Send one unmasked WebSocket frame."""
    size = len(payload)
    head = bytes([0x80 | opcode]) + (bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size))
    connection.sendall(head + payload)
