"""Process of a fleet, seen from inside: its client and its socket, and its end when the starter is gone.

`python -m examples.shared.member MODULE ARGUMENTS` is how the starter runs a module.
"""

from __future__ import annotations

import os
import runpy
import signal
import socket
import sys
import threading
import time

from aioresp import Client, Cluster

#: Seconds from SIGTERM to SIGKILL.
GRACE = 4.0

#: Exit status of a process that no further start will help.
HOPELESS = 78


def client() -> Client[str]:
    """Return a client for AIORESP_URL, or for a server on this machine: one server, a Sentinel set or a cluster."""
    url = os.environ.get("AIORESP_URL", "redis://localhost")
    return Cluster(url) if "+cluster" in url.partition(":")[0] else Client(url)


def name() -> str:
    """Return the name that the starter's lines have."""
    return os.environ.get("FLEET_NAME", "")


def listener() -> socket.socket:
    """Return the socket of this web server. The starter holds it too, so browsers wait while the server restarts."""
    return socket.socket(fileno=int(os.environ["FLEET_LISTENER"]))


def _end_with(alive: int) -> None:
    """End this process when the starter is gone, whatever it died of."""
    os.read(alive, 1)  # nothing is ever written: only the end of the pipe comes
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(int(os.environ["FLEET_ALIVE"]),), daemon=True).start()
    sys.argv = sys.argv[1:]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except ModuleNotFoundError as error:
        from examples.shared.begin import HELP  # its import changes the process, so not at the top: workers import this

        print(f"the package {error.name} is missing: {HELP}")
        sys.exit(HOPELESS)
