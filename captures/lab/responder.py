"""Small servers of ours on real sockets, for answers that no server here can be made to give."""

import socket
import struct
import threading
import time

from network import family
from peers import _tpkt, receive


class Responder(threading.Thread):
    """Listens at a node and runs `serve(connection)` for each client, one after the other."""

    def __init__(self, lab, serve, port=3389, node="server", version=4):
        super().__init__(daemon=True)
        address = lab.net[node].address(version)
        self.listener = lab.net[node].socket(family(address))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(8)
        self.serve = serve
        self.error = None
        lab.stack.callback(self.listener.close)
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return  # closed by the end of the scene
            connection.settimeout(20)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self.serve(connection)
            except OSError as error:
                self.error = error
            finally:
                connection.close()


def read_tpkt(connection):
    """One whole TPKT."""
    head = receive(connection, 4)
    return head + receive(connection, struct.unpack("!H", head[2:])[0] - 4)


def negotiation_failure(code):
    """X.224 Connection Confirm with RDP_NEG_FAILURE ([MS-RDPBCGR] 2.2.1.2.2)."""
    return _tpkt(0xD0, 0x1234, struct.pack("<BBHI", 3, 0, 8, code))


def refuse(code):
    """A server that answers each Connection Request with a failure code and lets the client close."""

    def serve(connection):
        read_tpkt(connection)
        connection.sendall(negotiation_failure(code))
        while connection.recv(4096):
            pass

    return serve


def abort(connection):
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def close_after_request(reset=False, after=0.0):
    """A server that takes the Connection Request and closes, by FIN or by RST."""

    def serve(connection):
        read_tpkt(connection)
        time.sleep(after)
        if reset:
            abort(connection)

    return serve
