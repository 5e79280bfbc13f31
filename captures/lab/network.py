"""Network namespaces joined by veth pairs: the hosts, routers and wires of a scene.

Addresses are deterministic: link number k is 10.1.k.0/24 and fd00:1:k::/64, the host part is
the number of the node (client 10, server 20, others from 1 upwards).
"""

import ctypes
import fcntl
import ipaddress
import os
import shutil
import signal
import socket
import struct
import subprocess
import time

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class inside:
    """Context manager: the calling thread works in the network namespace `ns`."""

    def __init__(self, ns):
        self.ns = ns

    def __enter__(self):
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        target = os.open("/run/netns/" + self.ns, os.O_RDONLY)
        try:
            self._enter(target)
        finally:
            os.close(target)

    def __exit__(self, *_):
        self._enter(self.home)
        os.close(self.home)

    @staticmethod
    def _enter(fd):
        if _libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def sh(*words, check=True, text=None):
    """Run a command, raise with its error output if it fails, return its standard output."""
    done = subprocess.run(words, input=text, capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError("%s: %s" % (" ".join(words), done.stderr.strip()))
    return done.stdout


def offloads_off(interface):
    """Switch off checksum and segmentation offload, so that captures show what a wire would carry."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        # ETHTOOL_SRXCSUM, STXCSUM, SSG, STSO, SGSO, SGRO of linux/ethtool.h
        for command in (0x15, 0x17, 0x19, 0x1F, 0x24, 0x2C):
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
            try:
                fcntl.ioctl(control, 0x8946, request)  # SIOCETHTOOL
            except OSError:
                pass  # a driver that has no such offload has nothing to switch off


class Node:
    """A host, router or wire: one network namespace."""

    def __init__(self, network, name, number):
        self.network, self.name, self.number = network, name, number
        self.ns = "rdplab%d-%s" % (os.getpid(), name)
        self.ports = {}  # neighbour's name -> interface name
        self.addresses = {}  # link number -> (v4, v6)
        self.processes = []
        sh("ip", "netns", "add", self.ns)
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *words, check=True, text=None):
        """Run a command in the namespace and return its standard output."""
        return sh("ip", "netns", "exec", self.ns, *words, check=check, text=text)

    def start(self, *words, **options):
        """Start a long-running command in the namespace; the network stops it at the end."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.DEVNULL)
        options.setdefault("stderr", subprocess.DEVNULL)
        process = subprocess.Popen(["ip", "netns", "exec", self.ns, *words],
                                   start_new_session=True, **options)
        self.processes.append(process)
        return process

    def serve(self, *words, port, kind="tcp", timeout=20, **options):
        """`start` a server and return once it listens on `port`."""
        process = self.start(*words, **options)
        self.wait_listening(port, kind, timeout, process)
        return process

    def wait_listening(self, port, kind="tcp", timeout=20, process=None):
        """Poll until something in the namespace listens on `port`."""
        flag = {"tcp": "-Htln", "udp": "-Huln"}[kind]
        limit = time.monotonic() + timeout
        while time.monotonic() < limit:
            if self.run("ss", flag, "sport", "= :%d" % port).strip():
                return
            if process and process.poll() is not None:
                raise RuntimeError("%s: server ended with code %d" % (process.args, process.returncode))
            time.sleep(0.05)
        raise TimeoutError("%s: nothing listens on %s %d" % (self.name, kind, port))

    def sysctl(self, **values):
        """Set sysctls of this namespace; in names, `__` stands for the dot: net__ipv4__ip_default_ttl."""
        for key, value in values.items():
            self.run("sysctl", "-qw", "%s=%s" % (key.replace("__", "."), value))

    def nft(self, rules):
        """Load an nftables ruleset."""
        self.run("nft", "-f", "-", text=rules)

    def firewall(self, hook, *rules):
        """Add rules to a filter chain at `hook` (input, output, forward); `no_firewall` takes all away."""
        self.nft("table inet lab { chain %s { type filter hook %s priority 0; policy accept; }; }\n%s"
                 % (hook, hook, "".join("add rule inet lab %s %s\n" % (hook, rule) for rule in rules)))

    def no_firewall(self):
        self.run("nft", "flush", "ruleset")

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
        """A socket of this namespace, usable from any thread of this process."""
        with inside(self.ns):
            return socket.socket(family, kind, protocol)

    def resolver(self, *servers, options="timeout:1 attempts:3"):
        """Give the namespace its own /etc/resolv.conf (`ip netns exec` mounts it)."""
        folder = "/etc/netns/" + self.ns
        os.makedirs(folder, exist_ok=True)
        with open(folder + "/resolv.conf", "w") as out:
            out.write("".join("nameserver %s\n" % s for s in servers) + "options %s\n" % options)

    @property
    def v4(self):
        return next(iter(self.addresses.values()))[0]

    @property
    def v6(self):
        return next(iter(self.addresses.values()))[1]

    def address(self, version):
        return self.v4 if version == 4 else self.v6


class Network:
    """All nodes of a scene. Use as a context manager: everything is removed at the end."""

    def __init__(self):
        self.nodes, self.links, self.wires = {}, [], {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def __getitem__(self, name):
        return self.nodes[name]

    def node(self, name):
        if name not in self.nodes:
            number = {"client": 10, "server": 20}.get(name)
            self.nodes[name] = Node(self, name, number or len(self.nodes) + 1)
        return self.nodes[name]

    def chain(self, *names):
        """Join nodes one after the other; a name with `~` in front is a wire inside the link."""
        names = list(names)
        while len(names) > 1:
            if names[1].startswith("~"):
                self.link(names[0], names[2], wire=names[1][1:] or "wire")
                del names[1]
            else:
                self.link(names[0], names[1])
            del names[0]
        return self

    def link(self, left, right, wire=None):
        """A link between two nodes, with a wire inside it if one is named."""
        a, b = self.node(left), self.node(right)
        number = len(self.links) + 1
        self.links.append((number, a, b))
        if wire:
            w = self.node(wire)
            self.wires[wire] = w
            w.sysctl(net__ipv6__conf__all__disable_ipv6=1, net__ipv6__conf__default__disable_ipv6=1)
            self._veth(a, "to-" + right, w, "left", number, 1)
            self._veth(b, "to-" + left, w, "right", number, 2)
            w.ports.update(left="left", right="right")
        else:
            self._veth(a, "to-" + right, b, "to-" + left, number, 1)
        a.ports[right], b.ports[left] = "to-" + right, "to-" + left
        for node, port in ((a, "to-" + right), (b, "to-" + left)):
            v4, v6 = "10.1.%d.%d" % (number, node.number), "fd00:1:%d::%d" % (number, node.number)
            node.addresses[number] = (v4, v6)
            node.run("ip", "addr", "add", v4 + "/24", "dev", port)
            node.run("ip", "-6", "addr", "add", v6 + "/64", "dev", port, "nodad")
        return self

    def _veth(self, a, port_a, b, port_b, number, side):
        sh("ip", "link", "add", port_a, "netns", a.ns, "type", "veth",
           "peer", "name", port_b, "netns", b.ns)
        for index, (node, port) in enumerate(((a, port_a), (b, port_b))):
            mac = "02:00:00:%02x:%02x:%02x" % (number, side * 2 + index, node.number)
            node.sysctl(**{"net__ipv6__conf__%s__router_solicitations" % port: 0,
                           "net__ipv6__conf__%s__accept_dad" % port: 0})
            node.run("ip", "link", "set", port, "address", mac, "up")
            with inside(node.ns):
                offloads_off(port)

    def up(self):
        """Give every node its routes (shortest path) and switch forwarding on in the routers."""
        for node in self.nodes.values():
            if node in self.wires.values():
                continue
            near = [(l, x, y) for l, x, y in self.links if node in (x, y)]
            if len(near) > 1:
                node.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
            hops = self._first_hops(node)
            if len(near) == 1:
                (number, x, y), = near
                other = y if x is node else x
                v4, v6 = other.addresses[number]
                node.run("ip", "route", "add", "default", "via", v4)
                node.run("ip", "-6", "route", "add", "default", "via", v6)
                continue
            for number, (link, hop) in hops.items():
                v4, v6 = hop.addresses[link]
                node.run("ip", "route", "add", "10.1.%d.0/24" % number, "via", v4)
                node.run("ip", "-6", "route", "add", "fd00:1:%d::/64" % number, "via", v6)
        return self

    def _first_hops(self, start):
        """Link number -> (own link, neighbour) for every link that is not the node's own."""
        first, seen, queue, found = {start: None}, {start}, [start], {}
        while queue:
            node = queue.pop(0)
            for number, x, y in self.links:
                if node not in (x, y):
                    continue
                other = y if x is node else x
                if number not in found and node is not start:
                    found[number] = first[node]
                if other not in seen:
                    seen.add(other)
                    first[other] = (number, other) if node is start else first[node]
                    queue.append(other)
        own = {number for number, x, y in self.links if start in (x, y)}
        return {number: hop for number, hop in found.items() if number not in own}

    def remove(self):
        """Stop every process and delete every namespace; safe to call twice."""
        for node in self.nodes.values():
            for process in node.processes:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)
        for node in self.nodes.values():
            for process in node.processes:
                try:
                    process.wait(3)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        for node in self.nodes.values():
            for pid in sh("ip", "netns", "pids", node.ns, check=False).split():
                try:
                    os.kill(int(pid), signal.SIGKILL)  # left its process group, as xrdp's children do
                except ProcessLookupError:
                    pass
            sh("ip", "netns", "del", node.ns, check=False)
            shutil.rmtree("/etc/netns/" + node.ns, ignore_errors=True)
        self.nodes.clear()


def family(address):
    """AF_INET or AF_INET6 for a textual address."""
    return socket.AF_INET if ipaddress.ip_address(address).version == 4 else socket.AF_INET6
