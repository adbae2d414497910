"""Ports for servers that keep them over restarts, beside clients that connect all the time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import tempfile
from pathlib import Path

PORTS = range(10_000, 30_000)  # below NodePorts, and below what Linux gives to outgoing connections


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens on, nor is given for a long time.

    They are none of those that the kernel gives to outgoing connections, so that a server which is away for
    a while finds its own free when it comes back. Whoever runs tests on this machine takes turns.
    """
    with Path(tempfile.gettempdir(), f"kafleet-test-ports-{os.getuid()}").open("a+") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        taken.seek(0)
        port, found = int(taken.read() or PORTS.start), list[int]()
        while len(found) < count:
            port = port + 1 if port + 1 in PORTS else PORTS.start
            if _is_free(port):
                found.append(port)
        taken.truncate(0)
        taken.write(str(port))
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as tried, contextlib.suppress(OSError):
        tried.bind(("127.0.0.1", port))
        return True
    return False
