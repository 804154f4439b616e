"""Reads of streams of several slots: one command for each slot, and one reply.

Owns the parts of an XREAD or XREADGROUP. Never drops an entry that a server has handed out: when one server has
answered, the reads at the others are ended there, and their replies are awaited.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from aioresp.cluster.blocking import Block
from aioresp.cluster.routes import all_of
from aioresp.cluster.slots import slot_of
from aioresp.errors import RedisError
from aioresp.facts.traits import Traits, stream_options, traits
from aioresp.options import Terms
from aioresp.pool.loops import running_loop
from aioresp.wire.packing import pack

if TYPE_CHECKING:
    from aioresp.cluster.fleet import Fleet

#: Seconds for which reads of several slots wait on their servers at a time. So long do entries wait at most if a server
#: does not let the client end the reads of the other slots.
ROUND: Final = 5.0


def parts_of(facts: Traits) -> dict[int, Traits]:
    """Return the command for each slot: with its streams, and the ids that belong to them."""
    arguments, keys = list(facts.arguments), facts.keys
    where = stream_options(arguments)["STREAMS"]
    ids = arguments[where + len(keys) :]
    slots: dict[int, list[int]] = {}
    for number, key in enumerate(keys):
        slots.setdefault(slot_of(key), []).append(number)
    return {
        slot: traits((*arguments[:where], *(keys[n] for n in numbers), *(ids[n] for n in numbers)))
        for slot, numbers in slots.items()
    }


async def read_streams(fleet: Fleet, facts: Traits, terms: Terms) -> Any:
    """Read streams of several slots, and return the raw reply as one server would give it."""
    parts = parts_of(facts)
    if facts.timeout is None:
        return await _read_now(fleet, parts, terms)
    now = {slot: _without_block(part) for slot, part in parts.items()}
    found = await _read_now(fleet, now, terms)
    if found is not None:
        return found
    if facts.name == "XREAD":  # all the time at once, as "$" means another id in each round
        return await _read_first(fleet, parts, terms, takes=False)
    until = running_loop().time() + facts.timeout if facts.timeout else math.inf
    while found is None and (left := until - running_loop().time()) > 0:
        short = {slot: part.with_timeout(min(left, ROUND)) for slot, part in parts.items()}
        found = await _read_first(fleet, short, terms, takes=True)
    return found


async def _read_now(fleet: Fleet, parts: dict[int, Traits], terms: Terms) -> Any:
    sending = (fleet.send(pack(tuple(part.arguments)), slot, terms) for slot, part in parts.items())
    return joined(_sound(await all_of(sending)))


async def _read_first(fleet: Fleet, parts: dict[int, Traits], terms: Terms, *, takes: bool) -> Any:
    """Wait at all nodes until one answers: with entries, with an error, or as the time is over for all.

    The other reads are cancelled. If the command `takes` the entries that it brings, they are ended at their servers
    instead, and the entries that they have taken by then come along.
    """
    router = fleet.pools.here()
    blocks = [Block(router, part, slot, terms) for slot, part in parts.items()]
    reads = {asyncio.ensure_future(block.run(_raw)): block for block in blocks}
    try:
        _, waiting = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
        for read in waiting:
            if not (takes and reads[read].finish()):
                read.cancel()
        if waiting:
            await asyncio.wait(waiting)
        return joined(_sound([_outcome(read) for read in reads if not read.cancelled()]))
    finally:
        for read in reads:
            if read.get_loop().is_closed():
                continue
            if not read.cancel() and not read.cancelled():
                read.exception()  # so that asyncio does not log it


def _outcome(read: asyncio.Task[Any]) -> Any:
    return read.exception() or read.result()


def _without_block(facts: Traits) -> Traits:
    where = stream_options(facts.arguments)["BLOCK"]
    return traits((*facts.arguments[: where - 1], *facts.arguments[where + 1 :]))


def _sound(replies: Sequence[Any]) -> list[Any]:
    """Return the replies. Raises an error among them, unless others have brought entries: those must not be lost."""
    found = [reply for reply in replies if not isinstance(reply, BaseException)]
    errors = [reply for reply in replies if isinstance(reply, BaseException)]
    if errors and (joined(found) is None or not isinstance(errors[0], RedisError)):
        raise errors[0]
    return found


def joined(replies: Sequence[Any]) -> Any:
    """Return one raw reply for several; None if none of them has entries."""
    known = [reply for reply in replies if reply]
    if not known:
        return None
    if isinstance(known[0], dict):
        return {stream: entries for reply in known for stream, entries in reply.items()}
    return [item for reply in known for item in reply]


def _raw(value: Any) -> Any:
    return value
