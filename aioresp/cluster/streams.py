"""Reads of streams of several slots: one command for each slot, and one reply.

Owns the parts of an XREAD or XREADGROUP. Never drops an entry that a server has handed out: a read of a group is not
cancelled while its server may answer.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from aioresp.cluster.routes import all_of
from aioresp.cluster.slots import slot_of
from aioresp.errors import RedisError
from aioresp.facts.traits import Traits, stream_options, traits
from aioresp.options import Terms
from aioresp.pool.loops import running_loop
from aioresp.wire.packing import pack

if TYPE_CHECKING:
    from aioresp.cluster.fleet import Fleet

#: Seconds for which a group's reads of several slots wait on their servers at a time: all of them end by then, and the
#: entries that they bring are returned together.
ROUND: Final = 0.25


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
    until = running_loop().time() + facts.timeout if facts.timeout else math.inf
    if facts.name == "XREAD":
        return await _read_first(fleet, parts, terms)
    while found is None and (left := until - running_loop().time()) > 0:
        short = {slot: part.with_timeout(min(left, ROUND)) for slot, part in parts.items()}
        found = joined(_sound(await all_of(fleet.block(part, slot, _raw, terms) for slot, part in short.items())))
    return found


async def _read_now(fleet: Fleet, parts: dict[int, Traits], terms: Terms) -> Any:
    sending = (fleet.send(pack(tuple(part.arguments)), slot, terms) for slot, part in parts.items())
    return joined(_sound(await all_of(sending)))


async def _read_first(fleet: Fleet, parts: dict[int, Traits], terms: Terms) -> Any:
    """Wait at all nodes until one has entries. The others are cancelled: an XREAD takes nothing away."""
    reads = [asyncio.ensure_future(fleet.block(part, slot, _raw, terms)) for slot, part in parts.items()]
    try:
        waiting = set(reads)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            found = joined([read.result() for read in done])
            if found is not None:
                return found
        return None
    finally:
        for read in reads:
            if not read.get_loop().is_closed():
                read.cancel()


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
