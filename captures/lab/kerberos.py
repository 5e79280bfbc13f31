"""A real Kerberos realm (MIT krb5-kdc) in the laboratory: CORP.LAB."""

import os
import ssl
import struct
import subprocess

import credssp
from network import family
from peers import receive
from responder import Responder
from scene import stop
from software import HERE, environment, path, write

REALM = "CORP.LAB"


class Realm:
    """A KDC on `node`. With `tcp` the clients use TCP, otherwise UDP; with `proxy` they ask there instead."""

    def __init__(self, lab, node="kdc", tcp=False, passwords=(), services=(), locked=(), types="aes256-cts-hmac-sha1-96",
                 proxy=None):
        self.lab = lab
        folder = os.path.dirname(path(lab, "kdc", "x"))
        address = proxy or lab.net[node].v4
        client = write(lab, "krb5.conf", "[libdefaults]\n default_realm = %s\n dns_lookup_kdc = false\n"
                       " dns_lookup_realm = false\n dns_canonicalize_hostname = false\n rdns = false\n"
                       " kdc_timesync = 0\n udp_preference_limit = %d\n[realms]\n %s = {\n  kdc = %s\n }\n"
                       % (REALM, 1 if tcp else 1465, REALM, address))
        server = write(lab, "kdc.conf", "[kdcdefaults]\n kdc_ports = 88\n kdc_tcp_ports = 88\n[realms]\n %s = {\n"
                       "  database_name = %s/principal\n  key_stash_file = %s/stash\n  acl_file = %s/acl\n"
                       "  default_principal_flags = +preauth\n  supported_enctypes = %s:normal\n }\n"
                       "[logging]\n kdc = FILE:%s/log\n" % (REALM, folder, folder, folder, types, folder))
        self.settings = {"KRB5_CONFIG": client, "KRB5_KDC_PROFILE": server, "KRB5CCNAME": "FILE:%s/tickets" % folder}
        env = environment(lab, **self.settings)
        subprocess.run(["kdb5_util", "create", "-s", "-W", "-r", REALM, "-P", "lab master key"], env=env, check=True,
                       capture_output=True)
        for user, password in passwords:
            self._admin(env, "addprinc -pw %s %s" % (password, user))
        for service in services:
            self._admin(env, "addprinc -randkey %s" % service)
        for user in locked:
            self._admin(env, "modprinc -allow_tix %s" % user)
        self.process = lab.net[node].serve("krb5kdc", "-n", port=88, env=env)

    def stop(self):
        """End the KDC; its host stays."""
        stop(self.process)

    @staticmethod
    def _admin(env, query):
        subprocess.run(["kadmin.local", "-r", REALM, "-q", query], env=env, check=True, capture_output=True)

    def kinit(self, user, password):
        """Ask for a ticket; True if it was granted."""
        done = subprocess.run(["ip", "netns", "exec", self.lab.client.ns, "kinit", user], input=password + "\n",
                              env=environment(self.lab, **self.settings), text=True, capture_output=True, timeout=30)
        return done.returncode == 0

    def ticket(self, service, clock=0):
        """Ask for a service ticket, by a client whose clock is `clock` seconds ahead; True if it was granted."""
        env = environment(self.lab, **self.settings)
        if clock:
            library = path(self.lab, "clock.so")
            subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", library, os.path.join(HERE, "clock.c"),
                            "-ldl"], check=True)
            env.update(LD_PRELOAD=library, CLOCK_OFFSET=str(clock))
        done = subprocess.run(["ip", "netns", "exec", self.lab.client.ns, "kvno", service], env=env,
                              capture_output=True, text=True, timeout=30)
        return done.returncode == 0


class ProxyClient(Responder):
    """The client's side of a KDC proxy ([MS-KKDCP]): Kerberos by TCP at the client's own port 8088, HTTPS to `gateway`."""

    def __init__(self, lab, gateway, name):
        self.lab, self.gateway, self.host_name = lab, gateway, name
        super().__init__(lab, self.forward, 8088, "client")

    def forward(self, connection):
        size = receive(connection, 4)
        message = size + receive(connection, struct.unpack("!I", size)[0])
        body = credssp.tlv(0x30, credssp.tlv(0xA0, credssp.tlv(4, message))
                           + credssp.tlv(0xA1, credssp.tlv(0x1B, REALM.encode())))
        plain = self.lab.client.socket(family(self.gateway))
        plain.settimeout(10)
        plain.connect((self.gateway, 443))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.keylog_filename = self.lab.keylog
        with context.wrap_socket(plain, server_hostname=self.host_name) as secure:
            secure.sendall(b"POST /KdcProxy HTTP/1.1\r\nHost: %s\r\nUser-Agent: kerberos/1.0\r\n"
                           b"Content-Type: application/kerberos\r\nContent-Length: %d\r\n\r\n"
                           % (self.host_name.encode(), len(body)) + body)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += receive(secure, 1)
            if b" 200 " not in head.split(b"\r\n")[0]:
                return
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                          if line.lower().startswith(b"content-length"))
            (_, fields), = credssp.elements(receive(secure, length))
        (_, answer), = credssp.elements(dict(credssp.elements(fields))[0xA0])
        connection.sendall(answer)
