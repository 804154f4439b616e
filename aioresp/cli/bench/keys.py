"""Keys of a benchmark: their data, their time to live and their deletion.

Owns the random prefix. Never searches the server for keys: deletes by name what the templates can have made.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from aioresp import Client
from aioresp.arguments import word
from aioresp.cli.bench.template import TTL, Maker, Template
from aioresp.cli.faults import Fault
from aioresp.errors import ConnectionLost, NoPermissionError, RedisError
from aioresp.replies import as_is

T = TypeVar("T")

_BEGINNING = "aioresp:bench:"

_BATCH = 500
_PASSES = 3

#: Seconds between two batches of EXPIRE for keys whose commands set no time to live.
_PERIOD = 0.5

#: Seconds that a step of deleting may take, with the return of a server that starts again.
FAREWELL = 30.0


class Keys:
    """The keys of one run."""

    def __init__(self) -> None:
        self.prefix = f"{_BEGINNING}{secrets.token_hex(6)}:"
        #: Makers of commands that write keys under the prefix.
        self._makers: list[Maker] = []
        self.deleted = 0
        #: Whether anything has been sent that may write; set before it is sent.
        self.written = False

    def maker(self, template: Template, keys: int, size: int) -> Maker:
        """Return a maker of commands, and remember the keys that it can make."""
        maker = Maker(template, self.prefix, keys, size, seed=len(self._makers))
        self._makers.append(maker)
        return maker

    async def check(self, client: Client[Any]) -> None:
        """Raise Fault, before anything is written, if the user may not delete keys under the prefix."""
        try:
            await client.unlink(self.prefix)
        except NoPermissionError:
            raise Fault(
                "this user may not delete the keys that a run writes: it needs the rights "
                f"~{_BEGINNING}* +unlink, or a command that only reads"
            ) from None

    async def fill(self, client: Client[Any], maker: Maker, tell: Callable[[int], None]) -> None:
        """Write the data that a command reads, with a time to live. `tell` is called with the number of keys so far."""
        self.written = self.written or bool(maker.template.fill)
        count = 0
        for commands in _batches(maker.filling(), _BATCH):
            await self._send(client, commands)
            tell(count := count + len(commands))
            if word(commands[0][0]) != "SET":
                await self._send(client, [("EXPIRE", command[1], TTL) for command in commands])

    async def keep_mortal(self, client: Client[Any], maker: Maker) -> None:
        """Give keys a time to live again and again, until cancelled: the commands that are measured set none."""
        if not maker.template.own_keys or not maker.template.writes or sets_ttl(maker.template.words):
            return
        while True:
            for names in _batches(maker.names(), _BATCH):
                await asyncio.sleep(_PERIOD)
                try:
                    await self._send(client, [("EXPIRE", name, TTL) for name in names])
                except (RedisError, OSError):
                    continue  # the calls that are measured tell of it
            await asyncio.sleep(_PERIOD)

    async def delete(
        self, client: Client[Any], *, settled: bool, going_on: Callable[[], None], away: Callable[[], None]
    ) -> None:
        """Delete all keys. Unless all is `settled`, again until none is found: a write may still be on its way.

        `going_on` is called after each step, and `away` each time that the server cannot be reached.
        """
        for _ in range(0 if not self.written else 1 if settled else _PASSES):
            found = 0
            for names in _batches(self._names(), _BATCH):
                found += await self._unlink(client, names, away)
                going_on()
            self.deleted += found
            if not found:
                break

    def _names(self) -> Iterator[str]:
        """Return each name once: of a key that several templates have, the maker with the most numbers knows them."""
        makers: dict[str, Maker] = {}
        for maker in sorted(self._makers, key=lambda each: each.issued):
            if maker.template.writes or maker.template.fill:
                makers.update(dict.fromkeys(maker.template.own_keys, maker))
        for key, maker in makers.items():
            yield from maker.names_of(key)

    async def _unlink(self, client: Client[Any], names: list[str], away: Callable[[], None]) -> int:
        while True:
            try:
                return await client.unlink(*names)
            except (ConnectionLost, OSError):
                away()
                await asyncio.sleep(0.1)  # a server that starts again; the caller has a time limit

    async def _send(self, client: Client[Any], commands: list[tuple[Any, ...]]) -> None:
        queue = client.pipeline(transaction=False)
        for command in commands:
            queue.execute(command, as_is)
        await queue.execute()


def sets_ttl(words: tuple[str, ...]) -> bool:
    """Return whether a command gives its key a time to live itself."""
    name = word(words[0])
    options = {word(each) for each in words[3:]}
    return name in ("SETEX", "PSETEX") or (name == "SET" and bool(options & {"EX", "PX", "EXAT", "PXAT"}))


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
