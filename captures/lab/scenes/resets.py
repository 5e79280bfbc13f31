"""Who made the RST: genuine resets of both ends, resets by devices on the path."""

from scene import scene


def played(lab, version=4, phase="session", **options):
    """The standard path (client, router, wire, router, server; 10 ms each way), played up to a phase."""
    lab.chain("client", "r1", "~wire", "r2", "server")
    lab.wire.delay(0.010, 0.0005)
    lab.record_ends(between=("r1", "r2"))
    pair = lab.pair(version, **options)
    if phase:
        assert pair.until(phase), (pair.client.error, pair.server.error)
    return pair


@scene("peer-reset-linger", "The server's process aborts the session with SO_LINGER 0")
def peer_reset_linger(lab):
    pair = played(lab)
    pair.traffic()
    pair.server.abort()
