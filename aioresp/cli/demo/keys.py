"""Keys of one demo run: random names under one random prefix, and their deletion.

Owns the set of keys that the demo may touch. Never searches the server for keys: deletes the keys that it named, and no
others.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable, Mapping

from aioresp import Client

#: Seconds after which a key goes by itself, should the demo be killed.
TTL = 600

#: Value that is stored: 32 bytes.
VALUE = "v" * 32

_BATCH = 1000
_PASSES = 3


def new_prefix() -> str:
    """Return a prefix that no one has used."""
    return f"aioresp:demo:{secrets.token_hex(6)}:"


def names(prefix: str, lane: int, count: int) -> list[str]:
    """Return the keys of a lane: the process that sets them and the one that deletes them name the same."""
    known = random.Random(f"{prefix}{lane}")
    return [f"{prefix}{known.getrandbits(64):016x}" for _ in range(count)]


async def delete(client: Client[str], keys: Iterable[str]) -> int:
    """Delete the keys and return how many there were.

    Again, until none is found: after an interruption a SET may still have been in flight on another connection.
    """
    known = list(keys)
    deleted = 0
    for _ in range(_PASSES):
        found = 0
        for start in range(0, len(known), _BATCH):
            found += await client.unlink(*known[start : start + _BATCH])
        deleted += found
        if not found:
            break
    return deleted


def all_names(prefix: str, counts: Mapping[int, int]) -> list[str]:
    """Return the keys of all lanes, by the number of each and how many it sets."""
    return [name for lane, count in counts.items() for name in names(prefix, lane, count)]
