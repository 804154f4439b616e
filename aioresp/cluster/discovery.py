"""Discovery of a cluster: several nodes are asked at once how they see it, and the newest view is taken.

Owns the questions, the choice of the nodes to ask, and the error that tells why none has answered. Never keeps a view,
and never decides when to ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from functools import partial
from typing import Any, Final

from aioresp.cluster.nodes import Nodes
from aioresp.cluster.topology import Address, Reading, Topology, Unclear, epoch_of, newest
from aioresp.errors import (
    AuthenticationError,
    ClusterDownError,
    ClusterError,
    ConnectError,
    NoPermissionError,
    RedisError,
    ResponseError,
    TLSError,
    UnknownCommandError,
)
from aioresp.pool.queue import forsake
from aioresp.timers import wait
from aioresp.wire.batch import Batch, joined
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed, pack

#: Nodes that are asked at a time.
ASKED: Final = 3

#: Seconds in which a node must answer, and those that slower nodes have after the first answer, and after news.
PATIENCE: Final = 2.0
FOLLOWING: Final = 0.1
NEWS: Final = 0.01

_SHARDS: Final = pack(("CLUSTER", "SHARDS"))
_SLOTS: Final = pack(("CLUSTER", "SLOTS"))
_INFO: Final = pack(("CLUSTER", "INFO"))


async def discover(nodes: Nodes, candidates: Iterable[Address], several: int = ASKED) -> Topology:
    """Return the newest view of the cluster: of the first `several` candidates, or of the next if none answers.

    Raises an error that tells what each of them said.
    """
    left = list(dict.fromkeys(candidates))
    failures: dict[Address, BaseException] = {}
    while left:
        asked, left = left[:several], left[several:]
        several = ASKED
        views = await _ask_several(nodes, asked, failures)
        known = nodes.topology
        own: list[Topology] = []
        for address, view in views.items():
            if not view.covered:
                # It has been reset, or has not met the others yet. Nothing would be known of by a view of itself alone.
                failures[address] = ClusterDownError("it knows of no node with slots")
            elif known is not None and not known.knows_of(view):
                failures[address] = ClusterError("it belongs to another cluster now")
            else:
                own.append(view)
        if own:
            return newest(own)
        for address in asked:
            failures.setdefault(address, _silent())
    raise _explained(failures)


async def _ask_several(
    nodes: Nodes, asked: Collection[Address], failures: dict[Address, BaseException]
) -> dict[Address, Topology]:
    loop, known = asyncio.get_running_loop(), nodes.topology
    questions = {asyncio.ensure_future(_ask(nodes, address)): address for address in asked}
    views: dict[Address, Topology] = {}
    try:
        waiting = set(questions)
        rest = PATIENCE
        while waiting:
            done = await wait(waiting, rest, asyncio.FIRST_COMPLETED)
            if not done:
                break
            waiting -= done
            for question in done:
                error = question.exception()
                if error is None:
                    views[questions[question]] = view = question.result()
                    if view.covered:
                        is_news = known is not None and view.epoch > known.epoch
                        rest = min(rest, NEWS if is_news else FOLLOWING)
                else:
                    failures[questions[question]] = error
        return views
    finally:
        if not loop.is_closed():
            for question in questions:
                question.cancel()
            await asyncio.wait(questions)  # none of them outlives this call
        for question in questions:
            if question.done() and not question.cancelled():
                question.exception()


async def _ask(nodes: Nodes, address: Address) -> Topology:
    reading = Reading(address, nodes.settings.endpoint.tls is not None, nodes.address_map)
    if nodes.tells_shards:
        said, info = await _send(nodes, address, _SHARDS)
        try:
            if not isinstance(said, RedisError):
                return reading.shards(said, epoch_of(info))
            if not isinstance(said, (UnknownCommandError, NoPermissionError)) and "subcommand" not in str(said):
                raise _refused(said)
            nodes.tells_shards = False
        except Unclear:
            pass  # a failover is under way
    said, info = await _send(nodes, address, _SLOTS)
    if isinstance(said, RedisError):
        raise _refused(said)
    return reading.slots(said, epoch_of(info))


async def _send(nodes: Nodes, address: Address, question: Packed) -> list[Any]:
    batch = Batch(2, False, asyncio.get_running_loop().create_future())
    start = partial(_start, joined([question, _INFO]), batch)
    nodes.at(address).pools.here().place(batch.future, start, PATIENCE)
    try:
        return await batch.future
    finally:
        forsake(batch.future)
        del batch, start  # its error would hold this frame, by its traceback


def _start(packed: Packed, batch: Batch, connection: Connection, rest: float | None) -> None:
    connection.send_batch(packed, batch, rest)


def _refused(error: RedisError) -> RedisError:
    if isinstance(error, NoPermissionError):
        return NoPermissionError(
            f"its user may not ask for the topology: allow `+cluster|shards +cluster|info` ({error})"
        )
    if "cluster support disabled" in str(error):
        return ClusterError(f"it is a single server: connect with aioresp.Client ({error})")
    return error


def _silent() -> ConnectError:
    return ConnectError(f"no answer in {PATIENCE:g} s")


def _explained(failures: dict[Address, BaseException]) -> RedisError:
    """Return the error for a cluster of which no node has answered, with the reason that each had."""
    said = "; ".join(f"{host}:{port}: {error}" for (host, port), error in failures.items())
    message = f"no node of the cluster tells its topology: {said}"
    first = next(iter(failures.values()), None)
    kind: type[RedisError] = ConnectError
    for error in failures.values():
        if isinstance(error, (AuthenticationError, NoPermissionError, TLSError, ClusterError)):
            kind, first = type(error), error
            break
    explained = kind(message)
    if isinstance(explained, ResponseError) and isinstance(first, ResponseError):
        explained.code = first.code
    explained.__cause__ = first
    return explained
