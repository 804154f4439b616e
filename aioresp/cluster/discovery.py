"""Discovery of a cluster: several nodes are asked at once how they see it, and the newest view is taken.

Owns the questions, the choice of the nodes to ask, and the error that tells why none has answered. Never keeps a view,
and never decides when to ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from aioresp.cluster.nodes import Nodes
from aioresp.cluster.topology import Address, Reading, Topology, Unclear, epoch_of, host_port, newest
from aioresp.errors import (
    ArgumentError,
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
from aioresp.retry import may_connect_again
from aioresp.timers import wait
from aioresp.wire.batch import Batch, joined
from aioresp.wire.connection import Connection
from aioresp.wire.packing import Packed, pack

#: Nodes that are asked at a time.
ASKED: Final = 3

#: Seconds until other nodes are asked beside those that keep silent.
HEAD_START: Final = 0.4

#: Seconds in which a node must answer, and those that slower nodes have after the first answer, and after news.
PATIENCE: Final = 2.0
FOLLOWING: Final = 0.1
NEWS: Final = 0.01

#: Nodes of which an error tells what they have said; most often all say the same.
TOLD: Final = 6

#: Commands that a user must be allowed to send, in the form of an ACL rule. All servers since 6.2 take it.
NEEDED: Final = "+cluster|shards +cluster|slots +cluster|info"

_NO_SLOTS: Final = "it knows of no node with slots: has nobody made the cluster (redis-cli --cluster create)?"

_SHARDS: Final = pack(("CLUSTER", "SHARDS"))
_SLOTS: Final = pack(("CLUSTER", "SLOTS"))
_INFO: Final = pack(("CLUSTER", "INFO"))


async def discover(nodes: Nodes, candidates: Iterable[Address], several: int = ASKED) -> Topology:
    """Return the newest view of the cluster: of the first `several` candidates, or of the next if none answers.

    The next are asked beside the first, if these keep silent. Raises an error that tells what each of them said.
    """
    left = list(dict.fromkeys(candidates))
    failures: dict[Address, BaseException] = {}
    while left:
        views = await _ask_several(nodes, left, several, failures)
        several = ASKED
        known = nodes.topology
        own: list[Topology] = []
        for address, view in views.items():
            if not view.covered:
                # It has been reset, or has not met the others yet. Nothing would be known of by a view of itself alone.
                failures[address] = ClusterDownError(_NO_SLOTS)
            elif known is not None and not known.knows_of(view):
                failures[address] = ClusterError("it belongs to another cluster now")
            else:
                own.append(view)
        if own:
            return newest(own)
    raise _explained(failures, nodes.settings.endpoint.username)


async def _ask_several(
    nodes: Nodes, left: list[Address], several: int, failures: dict[Address, BaseException]
) -> dict[Address, Topology]:
    """Take nodes from those that are `left`, and return the views of those that answer; note why the others do not."""
    loop, known = asyncio.get_running_loop(), nodes.topology
    questions: dict[asyncio.Future[Topology], Address] = {}
    views: dict[Address, Topology] = {}
    waiting: set[asyncio.Future[Topology]] = set()

    def ask(count: int) -> None:
        for address in left[:count]:
            question = asyncio.ensure_future(_ask(nodes, address))
            questions[question] = address
            waiting.add(question)
        del left[:count]

    try:
        ask(several)
        rest = PATIENCE
        while waiting:
            silent = bool(left) and rest == PATIENCE
            done = await wait(waiting, HEAD_START if silent else rest, asyncio.FIRST_COMPLETED)
            if not done and silent:
                ask(ASKED)
                continue
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
        for address in questions.values():
            if address not in views:
                failures.setdefault(address, _silent())
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
    reading = Reading(address, nodes.settings.endpoint.tls is not None, nodes.settings.address_map)
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
    if "cluster support disabled" in str(error):
        return ClusterError(f"it is a single server: connect with aioresp.Client ({error})")
    if isinstance(error, UnknownCommandError):
        return ClusterError(
            f"it is no node of a cluster: a sentinel (connect by redis+sentinel://), or a proxy or service that hides "
            f"its nodes (connect with aioresp.Client) ({error})"
        )
    return error


def _silent() -> ConnectError:
    return ConnectError(f"no answer in {PATIENCE:g} s")


def _explained(failures: dict[Address, BaseException], username: str | None) -> RedisError:
    """Return the error for a cluster of which no node has answered, with the reason that each had.

    What will not go away by itself comes first, and decides about the class.
    """
    lasting = [address for address, error in failures.items() if _will_last(error)]
    first = next((failures[address] for address in lasting), next(iter(failures.values()), None))
    order = [*lasting, *(address for address in failures if address not in lasting)]
    said = [_told(address, failures[address]) for address in order[:TOLD]]
    if len(order) > TOLD:
        said.append(f"and {len(order) - TOLD} more nodes")
    advice = ""
    if isinstance(first, NoPermissionError):
        name = "default" if username is None else username[:50]
        advice = f"; at each node, `ACL SETUSER {name} {NEEDED}` allows the user to ask"
    kind: type[RedisError] = ClusterDownError if isinstance(first, ClusterDownError) else ConnectError
    kind = next((known for known in _KINDS if lasting and isinstance(first, known)), kind)
    explained = kind(f"no node of the cluster tells its topology: {'; '.join(said)}{advice}")
    if isinstance(explained, ResponseError) and isinstance(first, ResponseError):
        explained.code = first.code
    cause = first.__cause__ if isinstance(first, ConnectError) else None
    explained.__cause__ = cause if isinstance(cause, ResponseError) else first
    return explained


#: Classes of errors that a caller may want to tell apart.
_KINDS: Final[tuple[type[RedisError], ...]] = (
    ArgumentError,
    AuthenticationError,
    ClusterError,
    NoPermissionError,
    TLSError,
)


def _will_last(error: BaseException) -> bool:
    """Return whether a node would say the same again."""
    return isinstance(error, RedisError) and not isinstance(error, TimeoutError) and not may_connect_again(error)


def _told(address: Address, error: BaseException) -> str:
    place, said = host_port(*address), str(error)
    return said if place in said else f"{place}: {said}"
