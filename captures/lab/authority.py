"""Certificates of the lab by openssl: an authority, and hosts with any name and any dates."""

import os
import subprocess
import time

CONFIGURATION = """
[ca]
default_ca = lab
[lab]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
[any]
commonName = supplied
organizationName = optional
[host]
basicConstraints = CA:FALSE
keyUsage = digitalSignature, keyEncipherment
extendedKeyUsage = {purpose}
subjectAltName = {names}
"""


class Authority:
    """A certificate authority; `certificate` is the path of its own certificate."""

    def __init__(self, lab, name="Corp Lab Root CA", organization="Corp Lab"):
        self.folder = os.path.join(lab.folder, "ca-" + name.replace(" ", "-"))
        os.makedirs(self.folder)
        self.certificate, self.key = self._file("ca.crt"), self._file("ca.key")
        self.count = 0
        for file, text in (("index", ""), ("serial", "1000\n")):
            with open(self._file(file), "w") as out:
                out.write(text)
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out", self.certificate,
                 "-subj", "/O=%s/CN=%s" % (organization, name), "-days", "3650")

    def _file(self, name):
        return os.path.join(self.folder, name)

    def host(self, name, starts=-30, ends=300, names=None, key="rsa:2048", purpose="serverAuth"):
        """Certificate and key for `name`, valid from `starts` to `ends` (days from now)."""
        self.count += 1
        base = self._file("host%d" % self.count)
        with open(base + ".cnf", "w") as out:
            out.write(CONFIGURATION.format(folder=self.folder, names=names or "DNS:" + name, purpose=purpose))
        kind = ["-newkey", key] if key.startswith("rsa") else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:" + key]
        _openssl("req", "-new", *kind, "-nodes", "-keyout", base + ".key", "-out", base + ".csr",
                 "-subj", "/O=Corp Lab/CN=" + name)
        _openssl("ca", "-batch", "-config", base + ".cnf", "-extensions", "host", "-cert", self.certificate,
                 "-keyfile", self.key, "-in", base + ".csr", "-out", base + ".crt", "-notext",
                 "-startdate", _date(starts), "-enddate", _date(ends))
        os.chmod(base + ".key", 0o644)
        return base + ".crt", base + ".key"


def _date(days):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400))


def _openssl(*words):
    done = subprocess.run(["openssl", *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError("openssl %s: %s" % (words[0], done.stderr.strip()))
