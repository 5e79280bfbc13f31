"""TLS clients and hosts of ours (OpenSSL through Python's ssl) behind a spoken X.224 negotiation."""

import socket
import ssl
import time

from network import family
from peers import SSL, connection_confirm, connection_request
from responder import Responder, abort, read_tpkt
from software import SERVER_NAME

VERSIONS = {"1.0": ssl.TLSVersion.TLSv1, "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def server_context(certificate, version=None, ciphers=None, keylog=None):
    """A server's TLS context, limited to one version if one is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if ciphers:
        context.set_ciphers(ciphers)
    context.load_cert_chain(*certificate)
    if version:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    if keylog:
        context.keylog_filename = keylog
    return context


def host(lab, context, port=3389, node="server", selected=SSL, stay=5.0):
    """A host that confirms X.224, does the TLS handshake, and reads until the client leaves."""

    def serve(connection):
        read_tpkt(connection)
        connection.sendall(connection_confirm(selected))
        try:
            with context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as secure:
                secure.settimeout(stay)
                while secure.recv(4096):
                    pass
        except ssl.SSLError:
            pass  # the refusal that the scene is about

    return Responder(lab, serve, port, node)


def client(lab, address, authority=None, version=None, name=SERVER_NAME, port=3389, node="client",
           protocols=SSL, ciphers=None, keys=False, verify=True, talk=None):
    """Negotiate X.224 (not if `protocols` is None), do TLS with verification against `authority`, `talk`, leave.

    Returns the error of the verification, or None where TLS came to its end.
    """
    connection = _connected(lab, address, port, node)
    if protocols is not None:
        _negotiate(connection, protocols)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ciphers:
        context.set_ciphers(ciphers)
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if authority:
        context.load_verify_locations(authority.certificate)
    if version:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    if keys:
        context.keylog_filename = lab.keylog
    try:
        with context.wrap_socket(connection, server_hostname=name) as secure:
            if talk:
                talk(lab, secure)
            secure.settimeout(1)
            secure.unwrap()
        return None
    except OSError as error:
        return error
    finally:
        connection.close()


def silent_client(lab, address, reset=False, version=None, name=SERVER_NAME, port=3389, think=0.05):
    """Negotiate X.224, send ClientHello, read the server's flight and leave without a TLS alert."""
    connection = _connected(lab, address, port, "client")
    _negotiate(connection, SSL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass  # the ClientHello is ready to be sent
    connection.sendall(outgoing.read())
    connection.recv(65536)
    time.sleep(think)
    if reset:
        abort(connection)
    else:
        connection.close()


def _connected(lab, address, port, node):
    connection = lab.net[node].socket(family(address))
    connection.settimeout(20)
    connection.connect((address, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _negotiate(connection, protocols):
    connection.sendall(connection_request(protocols, "anna"))
    read_tpkt(connection)
