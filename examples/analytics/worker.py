"""Worker of the pipeline: takes events from the stream and stores them by the batch.

    python -m examples.analytics.worker --name worker-1

It acknowledges a batch after COMMIT, never before. If it dies between the two, the batch comes again, and the database
has the rows already. Events that nobody can store go to a list, with the reason.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, NamedTuple, TypeVar

import msgspec

from aioresp import Client, Delivery, GroupReader, RedisError
from examples.analytics.db import Database, DatabaseAwayError, RefusedError
from examples.analytics.model import DEAD, FIELD, GROUP, PAUSE, STREAM, Buried, Event, connect
from examples.shared.member import name

logger = logging.getLogger("analytics")
T = TypeVar("T")

#: Milliseconds after which the events of a dead worker go to others.
LEASE: Final = 10_000
#: The list of dead letters keeps this many.
LETTERS: Final = 10_000
#: Seconds for the batch in hand after SIGTERM; what is left then comes again at the next start.
GRACE: Final = 3.0


class Item(NamedTuple):
    """An event in hand, and the entry to acknowledge once it is stored."""

    event: Event
    entry: Delivery[bytes]


class Worker:
    """Moves events from the stream to the database: `size` of them at most, or what came within `wait` seconds."""

    def __init__(self, redis: Client[bytes], database: Database, name: str, size: int, wait: float) -> None:
        self.redis = redis
        self.database = database
        self.name = name
        self.size = size
        self.wait = wait
        #: Bounded, so a worker whose database is away takes no more than two batches from the others.
        self.items: asyncio.Queue[Item] = asyncio.Queue(size)
        self.decode = msgspec.json.Decoder(Event).decode
        self.stored = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then store the batch in hand."""
        async with asyncio.TaskGroup() as tasks:
            reader = self.redis.group_reader(
                GROUP, self.name, STREAM, count=self.size, block=1000, min_idle=LEASE, auto_ack=False
            )
            pump = tasks.create_task(self.patiently(lambda: self.pump(reader)))
            work = tasks.create_task(self.work())
            await stop.wait()
            pump.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await self.items.join()
            work.cancel()

    async def pump(self, reader: GroupReader[bytes]) -> None:
        """Take entries off the stream; one that is no event goes to the dead letters."""
        async with reader:
            async for entry in reader:
                try:
                    event = self.decode(entry.fields[FIELD.encode()])
                except KeyError:
                    await self.bury(entry, f"no field {FIELD!r}")
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    await self.bury(entry, str(error))
                else:
                    await self.items.put(Item(event, entry))

    async def work(self) -> None:
        """Store batch after batch."""
        await self.patiently(self.database.prepare)
        while True:
            batch = [await self.items.get()]
            if self.items.qsize() + 1 < self.size:
                await asyncio.sleep(self.wait)  # let a batch gather
            while len(batch) < self.size and not self.items.empty():
                batch.append(self.items.get_nowait())
            while await self.patiently(lambda: self.redis.exists(PAUSE)):
                await asyncio.sleep(0.2)
            await self.settle(batch)
            for _ in batch:
                self.items.task_done()

    async def settle(self, batch: list[Item]) -> None:
        """Store a batch and acknowledge it; a batch that the database refuses is halved until the event is found."""
        try:
            self.stored += await self.patiently(lambda: self.database.store(item.event for item in batch))
        except RefusedError as error:
            if len(batch) == 1:
                await self.bury(batch[0].entry, str(error))
                return
            middle = len(batch) // 2
            await self.settle(batch[:middle])
            await self.settle(batch[middle:])
            return
        await self.acknowledge([item.entry for item in batch])

    async def acknowledge(self, entries: list[Delivery[bytes]]) -> None:
        """Acknowledge entries, and delete what is done."""
        await self.patiently(lambda: asyncio.gather(*(entry.ack() for entry in entries)))
        await self.patiently(self.tidy)

    async def tidy(self) -> None:
        """Delete all entries before the oldest that is pending: also what a dead worker has left."""
        for group in await self.redis.xinfo_groups(STREAM):
            if group.name != GROUP.encode():
                continue
            if group.pending:
                first = (await self.redis.xpending(STREAM, GROUP)).min
            else:
                moment, _, number = group.last_delivered_id.partition(b"-")
                first = b"%s-%d" % (moment, int(number) + 1)
            if first is not None:
                await self.redis.xtrim(STREAM, minid=first, approximate=False)

    async def bury(self, entry: Delivery[bytes], reason: str) -> None:
        """Put an entry among the dead letters and acknowledge it."""
        logger.warning("%s goes to the dead letters: %s", entry.id.decode(), reason)
        fields = {_text(key): _text(value) for key, value in entry.fields.items()}
        letter = msgspec.json.encode(Buried(reason=reason, entry=entry.id.decode(), fields=fields))

        async def send() -> None:
            async with self.redis.pipeline(transaction=True) as p:
                p.rpush(DEAD, letter)
                p.ltrim(DEAD, -LETTERS, -1)

        await self.patiently(send)
        await self.acknowledge([entry])

    async def patiently(self, act: Callable[[], Awaitable[T]]) -> T:
        """Await `act()`, again and again while the database or the server is away."""
        for pause in _pauses():
            try:
                return await act()
            except RedisError as error:
                logger.warning("waits for the server of the stream, and tries again in %.1f s: %s", pause, error)
            except DatabaseAwayError as error:
                logger.warning("waits for the database, and tries again in %.1f s: %s", pause, error)
                with contextlib.suppress(DatabaseAwayError):
                    await self.database.prepare()  # perhaps it is a new one
            await asyncio.sleep(pause)
        raise AssertionError("the pauses have no end")


def _pauses() -> Iterator[float]:
    pause = 0.1
    while True:
        yield pause
        pause = min(2 * pause, 2.0)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")[:1000]


async def main(consumer: str, size: int, wait: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    database = Database()
    async with connect(consumer) as redis:
        worker = Worker(redis, database, consumer, size, wait)
        print(f"stores batches of up to {size} events", flush=True)
        try:
            await worker.run(stop)
        finally:
            await database.aclose()
        print(f"ends: {worker.stored} events stored", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = argparse.ArgumentParser(description="Store events by the batch.")
    parser.add_argument(
        "--name", default=name() or "worker-1", help="its own among all workers, and the same after a restart"
    )
    parser.add_argument("--size", type=int, default=1000, help="most events of a batch")
    parser.add_argument("--wait", type=float, default=0.1, help="seconds that a batch gathers for")
    given = parser.parse_args()
    asyncio.run(main(given.name, given.size, given.wait))
