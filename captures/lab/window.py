"""The few X11 requests that close windows the way a user does (WM_DELETE_WINDOW)."""

import socket
import struct


class Display:
    """A connection to a local X server, by its DISPLAY (":7")."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect("/tmp/.X11-unix/X" + name.lstrip(":"))
        self.socket.sendall(struct.pack("<BxHHHHxx", 0x6C, 11, 0, 0, 0))
        head = self._receive(8)
        if head[0] != 1:
            raise ConnectionError("the X server refuses")
        body = self._receive(struct.unpack("<H", head[6:8])[0] * 4)
        vendor = struct.unpack("<H", body[16:18])[0]
        screens = 32 + (vendor + 3) // 4 * 4 + body[21] * 8
        self.root = struct.unpack_from("<I", body, screens)[0]

    def _receive(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("the X server is gone")
            data += part
        return data

    def _request(self, code, detail, body, reply=True):
        self.socket.sendall(struct.pack("<BBH", code, detail, 1 + len(body) // 4) + body)
        while reply:
            head = self._receive(32)
            if head[0] == 1:
                return head + self._receive(struct.unpack("<I", head[4:8])[0] * 4)
        return None

    def _atom(self, name):
        text = name.encode()
        body = struct.pack("<Hxx", len(text)) + text + bytes(-len(text) % 4)
        return struct.unpack_from("<I", self._request(16, 0, body), 8)[0]  # InternAtom

    def _top_windows(self):
        answer = self._request(15, 0, struct.pack("<I", self.root))  # QueryTree
        count = struct.unpack_from("<H", answer, 16)[0]
        return struct.unpack_from("<%dI" % count, answer, 32)

    def close_all(self):
        """Ask each top-level window to close, as a window manager's close button does."""
        protocols, delete = self._atom("WM_PROTOCOLS"), self._atom("WM_DELETE_WINDOW")
        for window in self._top_windows():
            event = struct.pack("<BBHII5I", 33, 32, 0, window, protocols, delete, 0, 0, 0, 0)
            self._request(25, 0, struct.pack("<II", window, 0) + event, reply=False)  # SendEvent
        self._request(43, 0, b"")  # GetInputFocus: the events before it have been taken
        self.socket.close()
