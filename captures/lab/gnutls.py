"""TLS by GnuTLS, for the suites that OpenSSL has left out: RC4 and 3DES, as Windows 7 and Server 2008 agree on.

`Context.wrap_socket` stands in for that of Python's ssl module, as far as the lab's peers use it. With
SSLKEYLOGFILE in the environment GnuTLS logs the secrets itself.
"""

import ctypes
import os

LIBRARY = ctypes.CDLL("libgnutls.so.30")
SERVER, CLIENT, CERTIFICATE, PEM = 1, 2, 1, 1
AGAIN, INTERRUPTED, PREMATURE_END, TIMED_OUT = -28, -52, -110, -319
LIBRARY.gnutls_record_recv.restype = LIBRARY.gnutls_record_send.restype = ctypes.c_ssize_t
LIBRARY.gnutls_record_check_pending.restype = ctypes.c_size_t
LIBRARY.gnutls_strerror.restype = ctypes.c_char_p
for name in ("record_recv", "record_send"):
    getattr(LIBRARY, "gnutls_" + name).argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
for name in ("deinit", "handshake", "record_check_pending", "certificate_free_credentials"):
    getattr(LIBRARY, "gnutls_" + name).argtypes = [ctypes.c_void_p]


def checked(code):
    """A result of GnuTLS, or an OSError in its words."""
    if code < 0:
        raise OSError(LIBRARY.gnutls_strerror(code).decode())
    return code


class Context:
    """`priorities` in GnuTLS's language; a server's `certificate` is (certificate, key), a client has none and trusts everybody."""

    def __init__(self, priorities, certificate=None):
        self.priorities = priorities.encode()
        self.credentials = ctypes.c_void_p()
        checked(LIBRARY.gnutls_certificate_allocate_credentials(ctypes.byref(self.credentials)))
        if certificate:
            checked(LIBRARY.gnutls_certificate_set_x509_key_file(
                self.credentials, certificate[0].encode(), certificate[1].encode(), PEM))

    def wrap_socket(self, connection, server_side=False, **_):
        return Secure(self, connection, server_side)


class Secure:
    """One TLS connection over a connected socket."""

    def __init__(self, context, connection, server_side):
        self.context, self.connection = context, connection
        connection.settimeout(None)  # GnuTLS reads the descriptor itself
        self.session = ctypes.c_void_p()
        checked(LIBRARY.gnutls_init(ctypes.byref(self.session), SERVER if server_side else CLIENT))
        checked(LIBRARY.gnutls_priority_set_direct(self.session, context.priorities, None))
        checked(LIBRARY.gnutls_credentials_set(self.session, CERTIFICATE, context.credentials))
        LIBRARY.gnutls_transport_set_int2(self.session, connection.fileno(), connection.fileno())
        checked(LIBRARY.gnutls_handshake(self.session))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def fileno(self):
        return self.connection.fileno()

    def settimeout(self, seconds):
        LIBRARY.gnutls_record_set_timeout(self.session, int(seconds * 1000))

    def pending(self):
        return LIBRARY.gnutls_record_check_pending(self.session)

    def recv(self, size):
        buffer = ctypes.create_string_buffer(size)
        while True:
            count = LIBRARY.gnutls_record_recv(self.session, buffer, size)
            if count not in (AGAIN, INTERRUPTED):
                break
        if count == PREMATURE_END:
            return b""
        return buffer.raw[: checked(count)]

    def sendall(self, data):
        while data:
            data = data[checked(LIBRARY.gnutls_record_send(self.session, data, len(data))) :]

    def unwrap(self):
        LIBRARY.gnutls_bye(self.session, 1)
        return self.connection

    def close(self):
        if self.session:
            LIBRARY.gnutls_bye(self.session, 1)  # close_notify, without waiting for the other side's
            LIBRARY.gnutls_deinit(self.session)
            self.session = None
            self.connection.close()
