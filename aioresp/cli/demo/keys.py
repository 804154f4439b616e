"""Keys of one demo run: random names under one random prefix, and their deletion.

Owns the set of keys that the demo may touch. Never searches the server for keys: deletes the keys that it named, and no
others.
"""

from __future__ import annotations

import secrets

from aioresp import Client

#: Seconds after which a key goes by itself, should the demo be killed.
TTL = 600

#: Value that is stored: 32 bytes.
VALUE = "v" * 32

_BATCH = 1000
_PASSES = 3


class Keys:
    """The names handed out so far."""

    def __init__(self) -> None:
        self.prefix = f"aioresp:demo:{secrets.token_hex(6)}:"
        self.names: list[str] = []

    def fresh(self, count: int) -> list[str]:
        """Return `count` names that no one has used."""
        names = [f"{self.prefix}{secrets.token_hex(8)}" for _ in range(count)]
        self.names += names
        return names

    async def delete(self, client: Client[str]) -> int:
        """Delete them all and return how many there were.

        Again, until none is found: after an interruption a SET may still have been in flight on another connection.
        """
        deleted = 0
        for _ in range(_PASSES):
            found = 0
            for start in range(0, len(self.names), _BATCH):
                found += await client.unlink(*self.names[start : start + _BATCH])
            deleted += found
            if not found:
                break
        return deleted
