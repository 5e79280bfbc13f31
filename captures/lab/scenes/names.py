"""The lookup of the host's name: not found, refused, failing, unanswered, and what merely looks so."""

import socket
import struct
import threading
import time

from scene import scene

NXDOMAIN, SERVFAIL, REFUSED = 3, 2, 5
TRUNCATED = 0x200  # a flag beside the response code NOERROR


class Responder:
    """A small DNS server: `zone` maps a name to a list of addresses, a response code (or TRUNCATED) or None (silence).

    Names that are not in the zone do not exist. `first_lost` queries are ignored.
    """

    def __init__(self, lab, node, zone, first_lost=0):
        self.zone, self.lost = zone, first_lost
        self.socket = lab.net[node].socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((lab.net[node].v4, 53))
        lab.stack.callback(self.socket.close)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                query, client = self.socket.recvfrom(4096)
            except OSError:
                return
            if self.lost:
                self.lost -= 1
                continue
            name, at = [], 12
            while query[at]:
                name.append(query[at + 1 : at + 1 + query[at]].decode())
                at += 1 + query[at]
            question = query[12 : at + 5]
            (kind,) = struct.unpack_from("!H", query, at + 1)
            entry = self.zone.get(".".join(name).lower(), NXDOMAIN)
            if entry is None:
                continue
            code, answers = (entry, []) if isinstance(entry, int) else (0, entry)
            records = b""
            for address in answers:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                if kind == (28 if family == socket.AF_INET6 else 1):
                    data = socket.inet_pton(family, address)
                    records += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 300, len(data)) + data
            count = records.count(b"\xc0\x0c\x00")
            head = query[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, count, 0, 0)
            self.socket.sendto(head + question + records, client)


def office(lab, zone, first_lost=0, resolvers=("dns",)):
    """client - r1 - ~wire - r2 - server, with a DNS server beside r1; 5 ms on the wire."""
    lab.net.chain("client", "r1", "~wire", "r2", "server")
    for name in resolvers:
        lab.net.link("r1", name)
    lab.ready()
    lab.wire.delay(0.005)
    lab.client.resolver(*(lab.net[name].v4 for name in resolvers))
    if zone is not None:
        zone = {name: [lab.server.v4] if entry == "server" else entry for name, entry in zone.items()}
        Responder(lab, resolvers[-1], zone, first_lost)
    lab.record("client", "client")
    return zone


def lookup(lab, name):
    """Ask for a name with the C library's resolver, as every client does."""
    return lab.client.run("getent", "ahosts", name, check=False).strip()


def session(lab, name):
    """Look the name up and have a healthy session with its host."""
    assert lookup(lab, name), "no address for " + name
    pair = lab.pair(name=name)
    assert pair.until("session") and pair.traffic()
    pair.goodbye()
    pair.listener.close()


@scene("dns-nxdomain", "The name does not exist; another name of that domain worked before")
def nxdomain(lab):
    office(lab, {"rds01.corp.lab": "server"})
    session(lab, "rds01.corp.lab")
    time.sleep(1)
    lab.xfreerdp("rds02.corp.lab")


@scene("dns-nxdomain-host-option", "The name does not exist (dnsmasq); nothing but the lookup in the capture")
def nxdomain_alone(lab):
    office(lab, None)
    lab.net["dns"].serve("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--local=/corp.lab/",
                         "--pid-file=", "--user=root", port=53, kind="udp")
    lab.xfreerdp("rds02.corp.lab")


@scene("dns-nxdomain-then-works", "The name did not exist until somebody added it; the next try worked")
def nxdomain_then(lab):
    zone = office(lab, {})
    lab.xfreerdp("rds01.corp.lab")
    lab.idle(1, shown=75)
    zone["rds01.corp.lab"] = [lab.server.v4]
    session(lab, "rds01.corp.lab")


@scene("dns-no-address", "The name exists but has no address (NOERROR, empty answer)")
def no_address(lab):
    office(lab, {"rds01.corp.lab": "server", "rds02.corp.lab": []})
    session(lab, "rds01.corp.lab")
    lab.xfreerdp("rds02.corp.lab")


@scene("dns-servfail", "The resolver answers SERVFAIL for the host's name")
def servfail(lab):
    office(lab, {"rds01.corp.lab": "server", "rds02.corp.lab": SERVFAIL})
    session(lab, "rds01.corp.lab")
    time.sleep(0.5)
    lab.xfreerdp("rds02.corp.lab")


@scene("dns-refused", "The resolver (dnsmasq without upstream) answers REFUSED")
def refused(lab):
    office(lab, None)
    lab.net["dns"].serve("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts",
                         "--address=/rds01.corp.lab/" + lab.server.v4, "--pid-file=", "--user=root",
                         port=53, kind="udp")
    session(lab, "rds01.corp.lab")
    time.sleep(0.5)
    lab.xfreerdp("rds02.corp.lab")


@scene("dns-no-answer", "Lookups of the host's name vanish; the host had been used under that name before")
def no_answer(lab):
    office(lab, {"rds01.corp.lab": "server"})
    session(lab, "rds01.corp.lab")
    lab.net["dns"].firewall("input", "udp dport 53 drop")
    time.sleep(0.5)
    lab.xfreerdp("rds01.corp.lab")


@scene("dns-no-answer-host-option", "Lookups vanish; nothing but the queries in the capture")
def no_answer_alone(lab):
    office(lab, None)
    lab.net["r1"].firewall("forward", "udp dport 53 drop")
    lab.xfreerdp("rds01.corp.lab")


@scene("dns-resolver-port-closed", "The host of the resolver answers lookups with ICMP port unreachable; the RDP host had been used by name before")
def resolver_port_closed(lab):
    office(lab, {"rds01.corp.lab": "server"})
    session(lab, "rds01.corp.lab")
    lab.net["dns"].firewall("input", "udp dport 53 reject")
    time.sleep(0.5)
    lab.xfreerdp("rds01.corp.lab")


@scene("dns-prohibited", "A router prohibits lookups by ICMP; the host had been used by name before")
def prohibited(lab):
    office(lab, {"rds01.corp.lab": "server"})
    session(lab, "rds01.corp.lab")
    lab.net["r1"].firewall("forward", "udp dport 53 reject with icmpx admin-prohibited")
    time.sleep(0.5)
    lab.xfreerdp("rds01.corp.lab")


@scene("dns-truncated-tcp-closed", "The resolver's answers are truncated and its TCP port is closed; the host had been used by name before")
def truncated(lab):
    zone = office(lab, {"rds01.corp.lab": "server"})
    session(lab, "rds01.corp.lab")
    zone["rds01.corp.lab"] = TRUNCATED
    time.sleep(0.5)
    lab.xfreerdp("rds01.corp.lab")


@scene("two-families-v6-dropped", "A name with both addresses: SYNs over IPv6 are dropped, after 3.5 s the client takes IPv4 and works")
def v6_dropped(lab):
    zone = office(lab, {})
    zone["rds01.corp.lab"] = [lab.server.v6, lab.server.v4]
    lab.net["r2"].firewall("forward", "meta nfproto ipv6 tcp dport 3389 drop")
    lookup(lab, "rds01.corp.lab")
    with lab.client.socket(socket.AF_INET6) as first:
        first.settimeout(3.5)
        try:
            first.connect((lab.server.v6, 3389))
        except TimeoutError:
            pass
    pair = lab.pair(name="rds01.corp.lab")
    assert pair.until("session") and pair.traffic()
    pair.goodbye()


@scene("dns-noise-healthy", "Failed lookups of wpad and of a search suffix beside a healthy session")
def noise(lab):
    office(lab, {"rds01.corp.lab": "server"})
    lookup(lab, "wpad.corp.lab")
    lookup(lab, "isatap.corp.lab")
    lookup(lab, "rds01.corp.lab.corp.lab")
    session(lab, "rds01.corp.lab")
    lookup(lab, "wpad.corp.lab")


@scene("dns-second-resolver-healthy", "The first resolver refuses, the second answers; the session works")
def second_resolver(lab):
    office(lab, {"rds01.corp.lab": "server"}, resolvers=("dns1", "dns2"))
    lab.net["dns1"].serve("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--pid-file=",
                          "--user=root", port=53, kind="udp")
    session(lab, "rds01.corp.lab")


@scene("dns-query-lost-healthy", "The first queries are lost, the repeated ones are answered; the session works")
def query_lost(lab):
    office(lab, {"rds01.corp.lab": "server"}, first_lost=2)
    session(lab, "rds01.corp.lab")
