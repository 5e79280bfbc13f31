"""Record what passes an interface, and change recorded files where a scene says so."""

import os
import re
import signal
import struct
import subprocess
import time

from network import sh


class Recorder:
    """tcpdump on one interface of one node. It is listening when the constructor returns."""

    # Multicast listener reports of namespaces that were just set up say nothing about a scene.
    QUIET = "not (ip6 and ip6[6] = 0)"

    def __init__(self, node, interface, path, only=""):
        self.path = path  # a nanosecond pcap; the scene converts it to pcapng
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", node.ns, "tcpdump", "-i", interface, "-n", "-U", "-s", "0",
             "--immediate-mode", "--time-stamp-precision=nano", "-B", "8192", "-Z", "root",
             "-w", path, only or self.QUIET],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        seen = ""
        for line in self.process.stderr:
            seen += line
            if "listening on" in line:
                return
        raise RuntimeError("tcpdump did not start: " + seen)

    def stop(self):
        """Stop at once (see `drain`); an error if the capture itself lost packets."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        words = self.process.communicate(timeout=10)[1]
        lost = re.search(r"(\d+) packets? dropped by kernel", words)
        if not lost or int(lost.group(1)):
            raise RuntimeError("the capture itself lost packets: " + words.strip())

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def drain(recorders, quiet=0.6, limit=3.0):
    """Return once no recorder has written for `quiet` seconds, after `limit` seconds at the latest.

    tcpdump gets its packets in blocks; one that is interrupted early loses the last of them.
    """
    sizes, since, end = None, time.monotonic(), time.monotonic() + limit
    while time.monotonic() < min(since + quiet, end):
        now = [os.path.getsize(recorder.path) for recorder in recorders]
        if now != sizes:
            sizes, since = now, time.monotonic()
        time.sleep(0.05)


def read_pcap(path):
    """(header, [(seconds, nanoseconds, original length, bytes)]) of a little-endian nanosecond pcap."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:4] != b"\x4d\x3c\xb2\xa1":
        raise ValueError(path + ": not a little-endian nanosecond pcap")
    records, at = [], 24
    while at + 16 <= len(data):
        seconds, nanos, kept, length = struct.unpack_from("<IIII", data, at)
        records.append((seconds, nanos, length, data[at + 16 : at + 16 + kept]))
        at += 16 + kept
    return data[:24], records


def write_pcap(path, header, records):
    with open(path, "wb") as file:
        file.write(header)
        for seconds, nanos, length, data in records:
            file.write(struct.pack("<IIII", seconds, nanos, len(data), length) + data)


def move_later(path, moves):
    """Move packets later in time: for every (moment, seconds), those at or after the moment (Unix time)."""
    header, records = read_pcap(path)
    moved = []
    for seconds, nanos, length, data in records:
        when = seconds + nanos / 1e9
        shift = sum(by for moment, by in moves if when >= moment)
        total = seconds * 10**9 + nanos + round(shift * 1e9)
        moved.append((total // 10**9, total % 10**9, length, data))
    write_pcap(path, header, moved)


def keep(path, condition):
    """Keep only the packets for which condition(number, bytes) holds (number from 1): a recorder's own losses."""
    header, records = read_pcap(path)
    write_pcap(path, header, [r for n, r in enumerate(records, 1) if condition(n, r[3])])


def to_pcapng(source, target, snaplen=None):
    """Convert a pcap to pcapng (Wireshark's editcap), optionally cutting packets."""
    sh("editcap", "-F", "pcapng", *(["-s", str(snaplen)] if snaplen else []), source, target)


def add_keys(source, keylog, target):
    """Copy a pcapng with the TLS secrets of a key log in it (a Decryption Secrets Block)."""
    if not os.path.exists(keylog):
        raise FileNotFoundError("no TLS secrets were logged")
    sh("editcap", "-F", "pcapng", "--inject-secrets", "tls," + keylog, source, target)


def merge(target, *sources):
    """Merge captures in the order of time into one pcap."""
    sh("mergecap", "-F", "nsecpcap", "-w", target, *sources)
