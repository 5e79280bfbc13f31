"""CredSSP with NTLM ([MS-CSSP], [MS-NLMP]): both sides whole.

The lab's servers cannot answer an error code, an early authorization result or an old version, and
its client cannot take PROTOCOL_HYBRID_EX; these sides can. TLS is the caller's.
"""

import hashlib
import hmac
import os
import struct
import subprocess
import time

from peers import receive
from software import PASSWORD, USER, nt_hash

# NTLM flags: Unicode, OEM, request target, sign, seal, NTLM, always sign, extended session security,
# target info, version, 128 bits, key exchange, 56 bits.
FLAGS = 0xE28A8235
NEGOTIATE_FLAGS = 0xE2088237
CLIENT_BINDING = b"CredSSP Client-To-Server Binding Hash\0"
SERVER_BINDING = b"CredSSP Server-To-Client Binding Hash\0"


# --- DER of TSRequest ----------------------------------------------------------------------------


def tlv(tag, content):
    """One DER element."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def elements(data):
    """(tag, content) of each DER element in `data`."""
    at = 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[at : at + count], "big")
            at += count
        yield tag, data[at : at + size]
        at += size


def ts_request(version, token=None, public_key=None, error=None, auth_info=None, nonce=None):
    """An encoded TSRequest ([MS-CSSP] 2.2.1)."""
    body = tlv(0xA0, tlv(2, bytes([version])))
    if token is not None:
        body += tlv(0xA1, tlv(0x30, tlv(0x30, tlv(0xA0, tlv(4, token)))))
    if auth_info is not None:
        body += tlv(0xA2, tlv(4, auth_info))
    if public_key is not None:
        body += tlv(0xA3, tlv(4, public_key))
    if error is not None:
        body += tlv(0xA4, tlv(2, struct.pack("!I", error)))
    if nonce is not None:
        body += tlv(0xA5, tlv(4, nonce))
    return tlv(0x30, body)


def read_ts_request(connection):
    """The fields of the next TSRequest, by tag: version, token, auth info, public key, error, nonce."""
    head = receive(connection, 2)
    size = head[1]
    if size & 0x80:
        size = int.from_bytes(receive(connection, size & 0x7F), "big")
    fields = {}
    for tag, content in elements(receive(connection, size)):
        if tag == 0xA1:  # SEQUENCE OF SEQUENCE { [0] OCTET STRING }
            for _ in range(4):
                (_, content), = elements(content)
        elif tag in (0xA2, 0xA3, 0xA5, 0xA0, 0xA4):
            (_, content), = elements(content)
        fields[tag & 0x0F] = content
    return fields


# --- NTLM ------------------------------------------------------------------------------------------


def negotiate():
    """NTLM NEGOTIATE as Windows sends it: flags, no names, version."""
    return (b"NTLMSSP\0" + struct.pack("<II", 1, NEGOTIATE_FLAGS) + bytes(16)
            + struct.pack("<BBHxxxB", 10, 0, 22621, 15))


def challenge(nonce, name="SRV01", domain="CORP"):
    """NTLM CHALLENGE with target information."""
    def pair(kind, value):
        return struct.pack("<HH", kind, len(value)) + value

    def text(value):
        return value.encode("utf-16le")

    stamp = struct.pack("<Q", int((time.time() + 11644473600) * 10**7))
    target = text(domain)
    info = (pair(2, text(domain)) + pair(1, text(name)) + pair(4, text("corp.lab"))
            + pair(3, text(name.lower() + ".corp.lab")) + pair(7, stamp) + pair(0, b""))
    return (b"NTLMSSP\0" + struct.pack("<IHHII", 2, len(target), len(target), 56, FLAGS) + nonce + bytes(8)
            + struct.pack("<HHI", len(info), len(info), 56 + len(target))
            + struct.pack("<BBHxxxB", 10, 0, 20348, 15) + target + info)


def rc4(key):
    """An RC4 stream: a function that en- or decrypts the next bytes."""
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) & 255
        state[i], state[j] = state[j], state[i]
    at = [0, 0]

    def more(data):
        out = bytearray()
        for byte in data:
            at[0] = (at[0] + 1) & 255
            at[1] = (at[1] + state[at[0]]) & 255
            state[at[0]], state[at[1]] = state[at[1]], state[at[0]]
            out.append(byte ^ state[(state[at[0]] + state[at[1]]) & 255])
        return bytes(out)

    return more


def session_key(message, nonce, password):
    """Verify an NTLM AUTHENTICATE (NTLMv2) and return its exported session key; None if it is wrong."""
    def field(at):
        size, _, offset = struct.unpack_from("<HHI", message, at)
        return message[offset : offset + size]

    response, domain, user, sealed = field(20), field(28), field(36), field(52)
    key = hmac.new(bytes.fromhex(nt_hash(password)),
                   user.decode("utf-16le").upper().encode("utf-16le") + domain, "md5").digest()
    if hmac.new(key, nonce + response[16:], "md5").digest() != response[:16]:
        return None
    return rc4(hmac.new(key, response[:16], "md5").digest())(sealed)


class Sealer:
    """One direction of NTLM sealing: `way` is server-to-client or client-to-server."""

    def __init__(self, key, way):
        def magic(purpose):
            return hashlib.md5(key + b"session key to %s %s key magic constant\0" % (way, purpose)).digest()

        self.stream, self.signing, self.number = rc4(magic(b"sealing")), magic(b"signing"), 0

    def seal(self, content):
        """Signature and sealed content of the next message."""
        number = struct.pack("<I", self.number)
        self.number += 1
        hidden = self.stream(content)
        check = self.stream(hmac.new(self.signing, number + content, "md5").digest()[:8])
        return struct.pack("<I", 1) + check + number + hidden


def authenticate(first, second, user=USER, password=PASSWORD, domain="CORP", workstation="WS07"):
    """NTLM AUTHENTICATE (NTLMv2 with MIC) that answers the CHALLENGE `second`: (message, exported session key)."""
    def text(value):
        return value.encode("utf-16le")

    size, _, offset = struct.unpack_from("<HHI", second, 40)
    info = second[offset : offset + size - 4] + struct.pack("<HHI", 6, 4, 2) + bytes(4)  # a MIC is present
    stamp = info[info.index(struct.pack("<HH", 7, 8)) + 4 :][:8]
    blob = b"\x01\x01" + bytes(6) + stamp + os.urandom(8) + bytes(4) + info + bytes(4)
    key = hmac.new(bytes.fromhex(nt_hash(password)), text(user.upper() + domain), "md5").digest()
    proof = hmac.new(key, second[24:32] + blob, "md5").digest()
    exported = os.urandom(16)
    fields = [bytes(24), proof + blob, text(domain), text(user), text(workstation),
              rc4(hmac.new(key, proof, "md5").digest())(exported)]
    order, at, places = (2, 3, 4, 0, 1, 5), 88, {}
    for index in order:
        places[index] = at
        at += len(fields[index])
    head = b"NTLMSSP\0" + struct.pack("<I", 3) + b"".join(
        struct.pack("<HHI", len(field), len(field), places[index]) for index, field in enumerate(fields))
    head += struct.pack("<I", FLAGS) + struct.pack("<BBHxxxB", 10, 0, 22621, 15)
    tail = b"".join(fields[index] for index in order)
    check = hmac.new(exported, first + second + head + bytes(16) + tail, "md5").digest()
    return head + check + tail, exported


def public_key(certificate):
    """The subjectPublicKey of a PEM certificate, without the algorithm around it."""
    pem = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"], capture_output=True, check=True)
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem.stdout, capture_output=True,
                         check=True).stdout
    (_, info), = elements(der)
    return [content for _, content in elements(info)][1][1:]  # BIT STRING without its count of unused bits


# --- the exchange -------------------------------------------------------------------------------------


class Refused(Exception):
    """The server said no; the connection is to be closed."""


def accept(connection, certificate, version=6, error=None, passwords=((USER, PASSWORD),), think=0.002):
    """The server's side up to authInfo. With `error` every logon is refused with that code."""
    read_ts_request(connection)
    nonce = os.urandom(8)
    connection.sendall(ts_request(version, challenge(nonce)))
    third = read_ts_request(connection)
    time.sleep(think)
    key = session_key(third[1], nonce, dict(passwords)[USER])
    if error is not None or key is None:
        connection.sendall(ts_request(version, error=0xC000006D if error is None else error))
        raise Refused
    answer = hashlib.sha256(SERVER_BINDING + third[5] + public_key(certificate)).digest()
    connection.sendall(ts_request(version, public_key=Sealer(key, b"server-to-client").seal(answer)))
    read_ts_request(connection)


def log_on(connection, key, version=6, user=USER, password=PASSWORD):
    """The client's side, as Windows speaks it, with the server's public key `key`; the fields of the last answer."""
    first = negotiate()
    connection.sendall(ts_request(version, first))
    third, session = authenticate(first, read_ts_request(connection)[1], user, password)
    nonce, out = os.urandom(32), Sealer(session, b"client-to-server")
    binding = hashlib.sha256(CLIENT_BINDING + nonce + key).digest()
    connection.sendall(ts_request(version, third, public_key=out.seal(binding), nonce=nonce))
    answer = read_ts_request(connection)
    if 4 in answer:
        return answer
    words = b"".join(tlv(0xA0 + index, tlv(4, text.encode("utf-16le"))) for index, text in
                     enumerate(("CORP", user, password)))
    credentials = tlv(0x30, tlv(0xA0, tlv(2, b"\x01")) + tlv(0xA1, tlv(4, tlv(0x30, words))))
    connection.sendall(ts_request(version, auth_info=out.seal(credentials)))
    return answer
