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
                 leave=None):
        self.lab, self.context, self.refuse, self.upgraded = lab, context, refuse, upgraded
        self.target, self.node, self.leave = target, node, leave
        super().__init__(lab, self.serve_client, port, node)

    def serve_client(self, connection):
        if self.context:
            connection = self.context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
        with connection:
            headers = self.log_on(connection)
            if not headers:
                return
            if self.upgraded == "200":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n"
                                   b"<p>It works</p>")
                return
            accepted = base64.b64encode(hashlib.sha1((headers["sec-websocket-key"] + WEBSOCKET).encode()).digest())
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               b"Sec-WebSocket-Accept: " + accepted + b"\r\nServer: Microsoft-HTTPAPI/2.0\r\n\r\n")
            if self.upgraded == "relay":
                self.tunnel(connection)

    @staticmethod
    def drain(connection):
        connection.settimeout(2)
        try:
            while connection.recv(4096):
                pass
        except OSError:
            pass  # the client's close may be rough

    def log_on(self, connection):
        """NTLM over HTTP; the headers of the request that is authorized, None if it is not."""
        nonce = os.urandom(8)
        while True:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += receive(connection, 1)
            headers = {name.lower(): value for name, value in re.findall(r"(?m)^([^:\r\n]+): ([^\r\n]*)", request.decode())}
            scheme, _, token = headers.get("authorization", "").partition(" ")
            message = base64.b64decode(token)
            if message[8:9] == b"\x03":
                if credssp.session_key(message, nonce, PASSWORD):
                    return headers
                connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: NTLM\r\n"
                                   b"Connection: close\r\n\r\n")
                return None
            offer = scheme or "NTLM"
            if message:
                offer += " " + base64.b64encode(credssp.challenge(nonce, "RDGW")).decode()
            connection.sendall(("HTTP/1.1 401 Unauthorized\r\nContent-Type: text/plain\r\nServer: Microsoft-HTTPAPI/2.0\r\n"
                                "WWW-Authenticate: %s\r\nContent-Length: 0\r\n\r\n" % offer).encode())

    def tunnel(self, connection):
        """Answer gateway packets until the end; relay data once the channel is made."""
        host = None
        while True:
            if host and not connection.pending():
                ready = select.select([connection, host], [], [], 20)[0]
                if host in ready:
                    data = host.recv(8000)
                    if not data:
                        return
                    send_frame(connection, packet(DATA, struct.pack("<H", len(data)) + data))
                if connection not in ready:
                    continue
            opcode, message = read_frame(connection)
            if opcode == 8:
                send_frame(connection, message, 8)
                return
            if opcode != 2:
                continue
            kind = struct.unpack_from("<H", message)[0]
            if self.leave == kind:
                return
            if self.refuse and self.refuse[0] == kind:
                time.sleep(self.refuse[2])
                send_frame(connection, REFUSALS[kind](self.refuse[1]))
                self.drain(connection)
                return
            if kind == CHANNEL:
                with inside(self.lab.net[self.node].ns):
                    host = socket.create_connection(self.target, 10)
            if kind in ANSWERS:
                send_frame(connection, ANSWERS[kind]())
            elif kind == DATA and host:
                host.sendall(message[10 : 10 + struct.unpack_from("<H", message, 8)[0]])
            elif kind == CLOSE:
                send_frame(connection, packet(0x11, struct.pack("<I", 0)))


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
