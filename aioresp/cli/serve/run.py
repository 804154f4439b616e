"""Run of `aioresp serve`, from the start of the servers to their end.

Owns the order of the steps: nothing of them is left behind, also after an error and after Ctrl-C. Never prints.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aioresp import Client, RedisError, ResponseError
from aioresp.cli.faults import Fault
from aioresp.cli.serve.log import Log
from aioresp.cli.serve.ports import check
from aioresp.cli.serve.wanted import Wanted
from aioresp.testing import ClusterServers, Server, server
from aioresp.testing.executables import find_executable
from aioresp.testing.sockets import BUS, HOST

#: Seconds between two looks at the servers: one costs a tenth of a millisecond.
LOOK: Final = 0.5

#: Seconds that a server may take to answer: one with a folder reads its keys first.
PATIENCE: Final = 15.0
READING: Final = 3600.0

#: Seconds of silence after which the nodes of a cluster take one of them for dead; a laptop has busy moments.
NODE_TIMEOUT: Final = 5.0

NODES: Final = 6

#: Seconds that a server may take to save its keys after SIGTERM.
LAST: Final = 600.0


@dataclass(frozen=True)
class Ready:
    """Servers that are ready for clients."""

    url: str
    """Address without a password."""
    flavour: str
    version: str
    pids: tuple[int, ...]
    ports: tuple[int, ...]
    keys: int
    """Number of keys that the server has from an earlier run."""


async def run(wanted: Wanted, announce: Callable[[Ready], None], warn: Callable[[str], None]) -> None:
    """Run what is wanted until the task is cancelled, or until the servers were told to SHUTDOWN.

    Raises Fault, ServerNotFound or ServerFailed for what cannot be started, kept, or goes on by itself no longer.
    """
    if wanted.cluster:
        await _run_cluster(wanted, announce, warn)
    else:
        await _run_server(wanted, announce, warn)


async def _run_server(wanted: Wanted, announce: Callable[[Ready], None], warn: Callable[[str], None]) -> None:
    check("0.0.0.0" if wanted.everywhere else wanted.host, [wanted.port])
    patience = PATIENCE if wanted.folder is None else READING
    with wanted.reserved():
        wanted.check_log(find_executable().version)
        running = server(*wanted.arguments(), config=wanted.config(), port=wanted.port or None, timeout=patience)
        async with running:
            keys = await _prepare(running, wanted)
            url = f"redis://{wanted.shown_host}:{running.port}"
            announce(Ready(url, running.flavour, _version(running), (running.pid,), (running.port,), keys))
            try:
                await _watch([running], warn)
            except asyncio.CancelledError:
                if wanted.folder is not None:
                    await _save_and_end(running, wanted)
                raise


async def _run_cluster(wanted: Wanted, announce: Callable[[Ready], None], warn: Callable[[str], None]) -> None:
    if wanted.port:
        ports = range(wanted.port, wanted.port + NODES)
        check("127.0.0.1", [*ports, *(port + BUS for port in ports)])
    async with ClusterServers(
        node_timeout=NODE_TIMEOUT, password=wanted.password or "", config=wanted.config(), port=wanted.port or None
    ) as servers:
        nodes = servers.nodes
        ports_taken = tuple(node.port for node in nodes)
        url = "redis+cluster://" + ",".join(f"{HOST}:{port}" for port in ports_taken)
        pids = tuple(node.pid for node in nodes)
        announce(Ready(url, nodes[0].flavour, _version(nodes[0]), pids, ports_taken, 0))
        await _watch(nodes, warn)


def _version(running: Server) -> str:
    return ".".join(map(str, running.version))


def _client(running: Server, wanted: Wanted) -> Client[str]:
    return Client(
        unix_socket_path=running.unix_socket_path, password=wanted.password, limit=1, timeout=LAST, retry=None
    )


async def _prepare(running: Server, wanted: Wanted) -> int:
    """Return how many keys the server has, and leave it with counts that begin at 0."""
    async with _client(running, wanted) as client:
        if wanted.folder is not None and wanted.logs_later:
            await client.config_set({"appendonly": "yes"})
            await _logging(client)
        keyspace = await client.info("keyspace")
        await client.config_resetstat()
    return sum(each["keys"] for each in keyspace.values() if isinstance(each, dict))


async def _logging(client: Client[str]) -> None:
    """Return when the log has what the server had before it: until then a crash would cost that."""
    while True:
        found = await client.info("persistence")
        if not found.integer("aof_rewrite_in_progress") and not found.integer("aof_rewrite_scheduled"):
            break
        await asyncio.sleep(0.02)
    if found["aof_last_bgrewrite_status"] != "ok":
        raise Fault("the server could not begin its log of all writes: is the disk full?")


async def _watch(running: Sequence[Server], warn: Callable[[str], None]) -> None:
    """Pass on what the servers' logs warn of, and return when all of them have been told to SHUTDOWN.

    Raises Fault when the last one ends in another way.
    """
    up = [(each, Log(each)) for each in running]
    while up:
        await asyncio.sleep(LOOK)
        for each, log in list(up):
            status = await asyncio.to_thread(each.exit_status)
            where = f"port {each.port}: " if len(running) > 1 else ""
            for line in log.warnings():
                warn(where + line)
            if status is not None:
                up.remove((each, log))
                if up:
                    warn(f"{where}the node {_ended(status)}; the others go on")
                elif status != 0:
                    raise Fault(f"{where}the server {_ended(status)}")


def _ended(status: int) -> str:
    if status == 0:
        return "was told to SHUTDOWN"
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"


async def _save_and_end(running: Server, wanted: Wanted) -> None:
    """End the server when it has saved its keys. Raises Fault if it cannot save them."""
    log = Log(running)
    try:
        async with _client(running, wanted) as client:
            await client.shutdown(save=True)
    except ResponseError as error:
        if "trying to SHUTDOWN" in str(error.args[0]):
            said = "; ".join(log.warnings())
            raise Fault(f"--dir {wanted.folder}: the newest keys could not be saved: {said}") from None
    except RedisError:
        pass  # it was stopped meanwhile, or has another password by now: a signal needs none
    await asyncio.to_thread(running.stop, LAST)
