"""Where things are: this folder, the scratch folder, and free ports."""

import os
import socket

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REPOSITORY = os.path.dirname(HERE)


def scratch():
    """The folder for everything that is fetched, installed or written during a run."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    home = os.environ.get("COMPAT_HOME") or os.path.join(cache, "rockpool", "compat")
    os.makedirs(home, exist_ok=True)
    return home


def free_ports(count):
    """`count` different loopback ports that nothing listens on. All are held open until
    the last is found, so that none is handed out twice."""
    sockets = []
    try:
        for _ in range(count):
            s = socket.socket()
            s.bind(("127.0.0.1", 0))
            sockets.append(s)
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()
