"""A planned failover (SENTINEL FAILOVER): nothing that was acknowledged is lost, and nothing runs twice (S3, S4, S12).

The old primary stays a primary that takes writes for ten seconds more. One failover serves all tests of this file: many
clients go through it, and each test looks at what one of them was told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter as Counts
from collections.abc import Callable
from typing import Any

import pytest

from aioresp import Client, ConnectionLost, Gap
from aioresp.events import ConnectionMade, Event, MasterChanged
from aioresp.testing import SentinelServers
from tests.conftest import LOOP
from tests.rest import until
from tests.sentinel.passengers import Counter, Ears, Holder, Queue, Reads, Stream, Writers, cancelled

#: Seconds by which the loop may be late: on a busy machine the failover is made once more.
LATE = 0.03


class Notes(logging.Handler):
    """Records of aioresp's logger."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelno, record.getMessage()))

    def changes(self, addresses: list[str]) -> list[str]:
        """Return what clients with these sentinels, in this order, said of the new primary."""
        start = f"redis+sentinel://{','.join(addresses)}/"
        return [line for _, line in self.lines if line.startswith(start) and "the primary is" in line]


class Journey:
    """What each passenger was told in the failover, and what the servers had afterwards."""

    def __init__(self, s: SentinelServers) -> None:
        self.servers = s
        self.writers: dict[str, Writers] = {}
        self.found: dict[str, list[str]] = {}
        self.events: list[Event] = []
        self.log = Notes()
        self.loads: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.late = 0.0

    async def go(self) -> None:
        s = self.servers
        async with (
            Client(s.url, events=self.events.append) as r,
            Client(s.url, limit=4, concurrency=1, protocol=2) as classic,
            Client(s.url) as hasty,
            Client(s.url) as deaf,
            Client(s.url, read_from="replica") as reading,
        ):
            await r.set("constant", "1")
            await hasty.ping()
            hasty.node.outlooks.here().hold = lambda why: None  # type: ignore[attr-defined]
            deaf.node.source.watch = lambda outlook: None  # type: ignore[attr-defined]
            await deaf.set("deaf", "0")
            for name, client in (("shared", r), ("classic", classic), ("hasty", hasty)):
                self.writers[name] = Writers(client, name, moving=name != "hasty")
            counter, reads, reading_too = Counter(r), Reads(r), Reads(reading)
            queue, ears, stream, holder = Queue(r), Ears(r), Stream(r), Holder(r)
            moved = asyncio.Event()
            self.loads = {
                "counter": counter,
                "reads": reads,
                "reading": reading_too,
                "queue": queue,
                "ears": ears,
                "stream": stream,
                "holder": holder,
            }
            consumers = [queue.consume(move=False), queue.consume(move=False), queue.consume(move=True)]
            work = [reads.run(), reading_too.run(), *consumers, ears.listen(), stream.follow(), holder.run(moved)]
            tasks = [asyncio.create_task(each) for each in work]
            await asyncio.sleep(0.1)
            work = [counter.run(), queue.produce(), ears.publish(), stream.add()]
            changing = [asyncio.create_task(each) for each in work]
            changing += [task for each in self.writers.values() for task in each.tasks()]
            await asyncio.sleep(0.3)
            logger = logging.getLogger("aioresp")
            logger.addHandler(self.log)
            level = logger.level
            logger.setLevel(logging.INFO)
            old = s.primary()
            coming = asyncio.create_task(come_late(s, told_of(s)))
            watch = asyncio.create_task(self._watch_loop())
            new = await asyncio.to_thread(s.failover)
            await cancelled([watch])
            moved.set()
            self.values["old, new"] = old, new
            self.values["old role"] = old.info("replication")["role"]
            await asyncio.sleep(0.4)  # for what is said too often
            await until(lambda: len(self.log.changes(s.addresses)) >= 4)
            logger.removeHandler(self.log)
            logger.setLevel(level)
            steady = self.writers["shared"], self.writers["classic"]
            await until(lambda: all(len(each.acknowledged) > 40 for each in steady))  # a busy machine takes longer
            for each in (*self.writers.values(), counter, queue, ears, stream):
                each.stopped = True
            await asyncio.gather(*changing)
            heard = [number for number, _ in ears.published[-1:]]
            await until(lambda: len(queue.popped) == len(queue.pushed) and stream.read[-1:] == stream.added[-1:])
            await until(lambda: ears.heard[-1:] == heard)
            await cancelled(tasks)
            self.values["late"] = await coming
            await asyncio.to_thread(s.restore)
            self.values["late, found"] = await r.lrange("late", 0, -1)
            for name, load in self.writers.items():
                self.found[name] = await load.found()
            self.values["deaf"] = [await deaf.incr("deaf") for _ in range(10)]
            self.values["deaf primary"] = deaf.node.outlooks.here().primary.port  # type: ignore[attr-defined]
            for name in ("counter", "lease"):
                self.values[name] = await r.get(name)
            for name in ("jobs", "done"):
                self.values[name] = await r.lrange(name, 0, -1)
            self.values["stream"] = [entry.fields["n"] for entry in await r.xrange("stream")]

    async def _watch_loop(self) -> None:
        """Note the most seconds by which the loop is late: for so long a client does not hear the sentinels."""
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            self.late = max(self.late, time.monotonic() - due)


def told_of(s: SentinelServers) -> list[int]:
    """Return how often each sentinel has chosen a replica to be promoted."""
    return [len(each.events("+selected-slave")) for each in s.sentinels]


async def come_late(s: SentinelServers, told: list[int]) -> list[str]:
    """Write with a client that is made when the sentinels have told of the failover already; return what was pushed."""
    async with asyncio.timeout(20):
        while told_of(s) == told:
            await asyncio.sleep(0.01)
    # The log tells it from the others by the order of the sentinels.
    async with Client(s.url.replace(",".join(s.addresses), ",".join(s.addresses[::-1]))) as r:
        pushed = [str(number) for number in range(20)]
        for number in pushed:
            await r.rpush("late", number)
    return pushed


@pytest.fixture(scope="module")
def journey(shared: SentinelServers) -> Journey:
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if LOOP == "uvloop":
        import uvloop  # noqa: PLC0415 (no run on asyncio needs it)

        factory = uvloop.new_event_loop
    journeys: list[Journey] = []
    for _ in range(5):  # between the choice of a replica and its promotion there may be less than a tenth of a second
        shared.restore()
        shared.flush()
        journeys.append(journey := Journey(shared))
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(journey.go())
        if journey.late < LATE:
            break
    return min(journeys, key=lambda each: each.late)


@pytest.mark.parametrize("name", ["shared", "classic"])
def test_no_acknowledged_write_is_lost_and_none_runs_twice(journey: Journey, name: str) -> None:
    """S3, S4: pushes, scripts, pipelines, transactions, leases and LMOVE, of a shared and of a classic pool."""
    load, found = journey.writers[name], Counts(journey.found[name])
    assert journey.values["old role"] == "master", "it would have lost writes"
    assert len(load.acknowledged) > 40
    assert load.astray == []
    assert set(load.acknowledged) - set(found) == set()
    assert max(found.values()) == 1
    assert set(load.errors) <= {"lease"}, f"a lease alone does not move: {load.errors}"
    for error in load.errors.get("lease", []):
        assert isinstance(error, ConnectionLost)
        assert error.outcome == "not sent"
    assert load.longest > 0.2, "writes were held"


def test_a_client_that_comes_while_a_failover_is_under_way_loses_nothing(journey: Journey) -> None:
    """It hears no `+selected-slave`: the sentinel that leads the failover says so when it is asked."""
    assert journey.values["late, found"] == journey.values["late"]


def test_without_the_hold_writes_are_lost(journey: Journey) -> None:
    """The mutation that shows what S4 is for: what the old primary took after the promotion is gone."""
    load = journey.writers["hasty"]
    lost = set(load.acknowledged) - set(journey.found["hasty"])
    assert lost
    assert len(lost) < len(load.acknowledged), "but no more than until +switch-master"


def test_a_counter_counts_once(journey: Journey) -> None:
    """C3 holds here."""
    counter = journey.loads["counter"]
    assert counter.acknowledged <= int(journey.values["counter"]) <= counter.acknowledged + counter.unknown


def test_reads_go_on(journey: Journey) -> None:
    held = journey.writers["shared"].longest
    for name in ("reads", "reading"):
        assert journey.loads[name].errors == []
    assert journey.loads["reads"].longest < held


def test_a_job_is_popped_once(journey: Journey) -> None:
    queue = journey.loads["queue"]
    assert queue.errors == []
    assert Counts(queue.popped) + Counts(journey.values["jobs"]) == Counts(queue.pushed)


def test_a_subscription_moves_with_a_gap(journey: Journey) -> None:
    ears = journey.loads["ears"]
    assert ears.errors == []
    gaps = [item for item in ears.heard if isinstance(item, Gap)]
    assert len(gaps) == 1
    heard = [item for item in ears.heard if not isinstance(item, Gap)]
    assert heard == sorted(set(heard)), "each once, in order"
    assert heard[-1] == ears.published[-1][0], "at the new primary"
    (gap,) = gaps
    for number, when in ears.published:
        assert number in set(heard) or gap.at <= when <= gap.at + gap.seconds + 1


def test_a_stream_is_read_to_its_end(journey: Journey) -> None:
    stream = journey.loads["stream"]
    assert stream.errors == []
    assert journey.values["stream"] == stream.added
    assert stream.read == stream.added


def test_a_lease_of_the_old_primary_writes_no_more(journey: Journey) -> None:
    error = journey.loads["holder"].error
    assert isinstance(error, ConnectionLost)
    assert error.outcome == "not sent"
    assert journey.values["lease"] is None


def test_a_primary_that_says_readonly_is_left_and_the_write_runs_once(journey: Journey) -> None:
    """S5: even if no news is heard at all."""
    first, *_ = values = journey.values["deaf"]
    assert values == list(range(first, first + 10))
    assert journey.values["deaf primary"] == journey.values["old, new"][1].port


def test_the_change_is_told_once(journey: Journey) -> None:
    old, new = journey.values["old, new"]
    changes = [event for event in journey.events if isinstance(event, MasterChanged)]
    (told,) = changes
    assert told.before == f"127.0.0.1:{old.port}"
    assert told.primary == f"127.0.0.1:{new.port}"
    assert told.server.startswith("redis+sentinel://127.0.0.1:")
    assert "agreed" in told.reason
    assert sum(isinstance(event, ConnectionMade) for event in journey.events) < 30


def test_the_log_tells_each_thing_once(journey: Journey) -> None:
    warnings = [line for level, line in journey.log.lines if level >= logging.WARNING]
    addresses = journey.servers.addresses
    changed = journey.log.changes(addresses)
    assert set(changed) <= set(warnings)
    assert len(changed) == 4, "once for each client that hears of it"
    assert len(journey.log.changes(addresses[::-1])) <= 1, "the client that comes late may come too late"
    assert len(warnings) <= 12
