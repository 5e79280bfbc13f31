"""Real RDP software in the laboratory: xrdp, FreeRDP's shadow server and client, nginx, a KDC.

Each host name, user, password and certificate here is the lab's own. Programs run under a host
name of their own (a UTS namespace), so that nothing of the machine they run on reaches a capture.
"""

import os
import re
import subprocess
import time

from scene import stop

USER, PASSWORD = "anna", "Sommer-2026"
SERVER_NAME, CLIENT_NAME = "srv01.corp.lab", "ws07"
SMALL = ("/w:320", "/h:240", "/bpp:16", "-wallpaper", "-themes", "-fonts", "/log-level:OFF")
HERE = os.path.dirname(os.path.abspath(__file__))


def path(lab, *names):
    """A path in the scene's own folder; its directories are made."""
    full = os.path.join(lab.folder, *names)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    return full


def write(lab, name, text):
    """Write a file of the scene's folder and return its path."""
    full = path(lab, name)
    with open(full, "w") as out:
        out.write(text)
    return full


def shim(lab):
    """The preloaded library that logs TLS secrets, compiled on first use."""
    library = path(lab, "keylog.so")
    if not os.path.exists(library):
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", library,
                        os.path.join(HERE, "keylog.c"), "-ldl"], check=True)
    return library


def environment(lab, keys=False, **more):
    """Environment of a program: its home is the scene's folder; with `keys` it logs TLS secrets."""
    values = dict(os.environ, HOME=lab.folder, LC_ALL="C", **more)
    values.pop("XDG_CONFIG_HOME", None)
    if keys:
        values.update(LD_PRELOAD=shim(lab), SSLKEYLOGFILE=lab.keylog)
    return values


def named(name, *words):
    """The command `words` under the host name `name`."""
    return ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name, *words)


def nt_hash(password):
    """The NT hash (MD4 of the UTF-16 password), by openssl's legacy provider."""
    done = subprocess.run(["openssl", "dgst", "-provider", "legacy", "-provider", "default", "-md4", "-r"],
                          input=password.encode("utf-16le"), capture_output=True, check=True)
    return done.stdout.decode().split()[0]


# --- the ordinary network of these scenes ------------------------------------------------


def network(lab, delay=0.004, record=("client",), servers=("server",), keys=False):
    """client - r1 - wire - r2 - server(s), `delay` seconds each way, recorded at the nodes named.

    With `keys` each capture is written twice: as recorded, and with the logged TLS secrets in it.
    """
    net = lab.net
    net.link("client", "r1").link("r1", "r2", wire="wire")
    for name in servers:
        net.link("r2", name)
    lab.ready()
    lab.wire.delay(delay)
    for name in record:
        lab.record(name, name)
        if keys:
            lab.with_keys(name)
    return net


# --- xrdp ------------------------------------------------------------------------------------


def xrdp(lab, certificate, port=3389, session=None, keys=False, node="server", environ=None, **settings):
    """Start xrdp with the [Globals] `settings`; its login window is the desktop unless `session` is given.

    `session` is the lines of a session section that is entered without a login window.
    """
    with open("/etc/xrdp/xrdp.ini") as shipped:
        text = shipped.read()
    values = dict(certificate=certificate[0], key_file=certificate[1], port=port, **settings)
    values.update(LogFile=path(lab, "xrdp.log"), EnableSyslog="false")
    if session:
        text = text[: text.index("[Xorg]")] + "[desk]\nname=desk\n%s\n" % session
        values["autorun"] = "desk"
    for key, value in values.items():
        text, count = re.subn(r"(?m)^[#;]?%s=.*$" % key, "%s=%s" % (key, value), text, count=1)
        if not count:
            raise ValueError("xrdp.ini knows no " + key)
    ini = write(lab, "xrdp-%d.ini" % port, text)
    return lab.net[node].serve(*named("srv01", "xrdp", "-n", "-c", ini), port=port,
                               env=environment(lab, keys, **(environ or {})))


def xorg_desk(lab, node="server"):
    """Start an X server with the xorgxrdp driver: (process, the lines of an xrdp session on it)."""
    folder = os.path.dirname(path(lab, "desk", "x"))
    process = lab.net[node].start(
        "Xorg", ":94", "-config", "/etc/X11/xrdp/xorg.conf", "-noreset", "-nolisten", "tcp",
        "-logfile", os.path.join(folder, "log"), env=environment(lab, XRDP_SOCKET_PATH=folder))
    socket = os.path.join(folder, "xrdp_display_94")
    wait(lambda: os.path.exists(socket), "Xorg has no socket")
    return process, ("lib=libxup.so\nusername=%s\npassword=%s\nip=127.0.0.1\nport=%s\ncode=20"
                     % (USER, PASSWORD, socket))


def children(process):
    """Process ids below a process, nearest first (xrdp forks one child for each connection)."""
    found, queue = [], [process.pid]
    while queue:
        listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(queue.pop(0))],
                                 capture_output=True, text=True).stdout.split()
        found += [int(pid) for pid in listing]
        queue += [int(pid) for pid in listing]
    return found


def wait(condition, complaint, limit=15):
    """Poll until `condition()` holds and return its value."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise TimeoutError(complaint)


# --- FreeRDP -----------------------------------------------------------------------------------


def shadow(lab, *options, port=3389, keys=False, accounts=((USER, PASSWORD),), node="server", bind=None, **more):
    """Start FreeRDP's shadow server (NLA against a SAM file of `accounts`) on a small X display.

    It makes its own self-signed certificate, for the host name srv01.
    """
    sam = write(lab, "sam", "".join("%s:::%s:::\n" % (user, nt_hash(word)) for user, word in accounts))
    home = os.path.dirname(path(lab, "shadow-home", "x"))
    return lab.net[node].serve(
        *named("srv01", "freerdp-shadow-cli", "/port:%d" % port, "/sam-file:" + sam,
               *(["/bind-address:" + bind] if bind else []), *options),
        port=port, env=dict(environment(lab, keys, DISPLAY=lab.display("320x240x24"), **more), HOME=home))


def freerdp(lab, target, *options, user=USER, password=PASSWORD, certificate="/cert:ignore", keys=True,
            node="client", answer=None, **more):
    """Start xfreerdp against `target`; `answer` is what the user types when asked (bytes)."""
    known = ["/u:" + user] if user else []
    known += ["/p:" + password] if password else []
    process = lab.net[node].start(
        *named(CLIENT_NAME, "xfreerdp", "/v:" + target, *known, *([certificate] if certificate else []),
               *SMALL, *options),
        env=environment(lab, keys, DISPLAY=lab.display(), **more),
        stdin=subprocess.PIPE if answer is not None else subprocess.DEVNULL)
    if answer:
        process.stdin.write(answer)
        process.stdin.flush()
    return process


def visit(lab, target, *options, stay=3.0, **more):
    """Connect with xfreerdp, stay `stay` seconds, close the window; returns the exit code."""
    process = freerdp(lab, target, *options, **more)
    try:
        return process.wait(stay)
    except subprocess.TimeoutExpired:
        close_windows(lab)
    return finished(process)


def refused(lab, target, *options, limit=20, **more):
    """Run an xfreerdp that is expected to give up by itself; returns the exit code."""
    return finished(freerdp(lab, target, *options, **more), limit)


def finished(process, limit=20):
    """The exit code of a program that ends by itself within `limit` seconds."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        stop(process)
        raise TimeoutError("%s does not end" % process.args[8]) from None


def close_windows(lab):
    """Click every window's close button on the client's display."""
    from window import Display

    display = Display(lab.display())
    display.close_all()


# --- OpenSSL's own configuration -----------------------------------------------------------------


def openssl_conf(lab, name, **values):
    """Environment that limits an OpenSSL program: MinProtocol, MaxProtocol, CipherString, Ciphersuites."""
    lines = "".join("%s = %s\n" % pair for pair in values.items())
    text = ("openssl_conf = top\n[top]\nssl_conf = all\n[all]\nsystem_default = limits\n[limits]\n" + lines)
    return {"OPENSSL_CONF": write(lab, name + ".cnf", text)}


# --- nginx -------------------------------------------------------------------------------------------


def nginx(lab, port, location, certificate=None, protocols="TLSv1.2 TLSv1.3", more="", node="server", keys=False):
    """Start nginx with one server whose `location /` holds the directives `location`."""
    folder = os.path.dirname(path(lab, "nginx", "x"))
    temporary = "".join("%s_temp_path %s/%s;\n" % (kind, folder, kind)
                        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    tls = ("ssl_certificate %s; ssl_certificate_key %s; ssl_protocols %s;" % (*certificate, protocols)
           if certificate else "")
    # One process: a worker of another user could not write the key log of the scene's folder.
    text = ("daemon off; master_process off; pid %s/pid; error_log %s/error.log;\nevents {}\nhttp {\naccess_log off;\n"
            "server_tokens off;\n%s%s\nserver { listen %d%s; listen [::]:%d%s; %s\nlocation / { %s } }\n}\n"
            % (folder, folder, temporary, more, port, " ssl" if tls else "", port, " ssl" if tls else "", tls, location))
    return lab.net[node].serve("nginx", "-c", write(lab, "nginx.conf", text), port=port,
                               env=environment(lab, keys))
