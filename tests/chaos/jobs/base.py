"""What all jobs have in common: a client, the ledger, chance, and little patience.

Owns how a call is made and given up. Never knows what is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from aioresp import AskError, Client, MovedError
from aioresp.cluster import Cluster
from tests.chaos.channels import Channel, Ear
from tests.chaos.ledger import Answer, GivenUpError, Ledger, LeftBehindError, Outcome
from tests.chaos.lines import Line, Register, Shared
from tests.chaos.queues import Queue
from tests.chaos.streams import Log

if TYPE_CHECKING:
    from aioresp.contexts.lease import Lease

T = TypeVar("T")

Call = Callable[[Client[str]], Awaitable[T]]

#: How many calls in a hundred are given up early, and after how many seconds.
IMPATIENT: Final = 8
PATIENCE: Final = (0.0, 0.0005, 0.002, 0.01, 0.03, 0.1)

#: Seconds of the longest pause between two steps.
LONGEST_PAUSE: Final = 5.0

#: Keys that never change: `who:7` has "who:7=...", in database 1 with a remark in front.
STATIC: Final = 100


@dataclass
class Common:
    """What the jobs of a run share."""

    client: Client[str]
    visitor: Callable[[], Client[str]]  # makes another one
    seed: str
    pause: float  # seconds between two steps of a job, on the average
    ledger: Ledger = field(default_factory=Ledger)
    calm: bool = False  # no faults any more, and nobody gives up: what is left is worked off
    over: bool = False
    lines: list[Line] = field(default_factory=list)
    registers: list[Register] = field(default_factory=list)
    counters: list[Shared] = field(default_factory=list)
    pairs: list[Shared] = field(default_factory=list)
    popped: list[Queue] = field(default_factory=list)
    moved: list[Queue] = field(default_factory=list)
    scored: list[Queue] = field(default_factory=list)
    several: bool = False  # the server knows BZMPOP
    relayed: bool = False  # ordinary messages pass from node to node
    channels: list[Channel] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    streamed: list[Queue] = field(default_factory=list)
    ears: list[Ear] = field(default_factory=list)

    def line(self, name: str) -> Line:
        """Make a line of counters of one writer."""
        self.lines.append(line := Line(self.ledger, f"line:{name}"))
        return line

    def register(self, name: str) -> Register:
        """Make a line of registers of one writer."""
        self.registers.append(register := Register(self.ledger, f"register:{name}"))
        return register


class Job:
    """A task that does one kind of thing over and over."""

    kind: ClassVar[str]
    #: Seconds that a call may take: the client's timeout, that of a lease, and what a slow machine adds.
    most: ClassVar[float] = 12.0
    #: Whether it has entered what it stays in to the end. Nothing breaks before all have: who enters is told of errors.
    entered = True

    def __init__(self, common: Common, number: int) -> None:
        self.common = common
        self.ledger = common.ledger
        self.name = f"{self.kind}-{number}"
        self.number = number
        self.chance = Random(f"{common.seed}:{self.name}")
        self.prepare()

    def prepare(self) -> None:
        """Make what the job needs."""

    async def step(self) -> None:
        """Do it once."""
        raise NotImplementedError

    async def go(self) -> None:
        """Do it until the run is over."""
        while not self.common.over:
            await self.step()
            await asyncio.sleep(min(self.chance.expovariate(1 / self.common.pause) * self.slowness(), LONGEST_PAUSE))

    def slowness(self) -> float:
        """Return by how much the pauses are longer: in peace, for all but those who work off what is left."""
        return 5.0 if self.common.calm else 1.0

    def filler(self) -> int:
        """Return a length: most are short, and some take several packets."""
        return self.chance.choice((0, 1, 10, 10, 100, 100, 1000, 10_000 if self.chance.random() < 0.2 else 100))

    # --- Calls -------------------------------------------------------------------------------------------------------

    async def ask(self, call: Call[T], commands: int = 1, *, view: Client[str] | None = None) -> Answer[T]:
        """Make a call, perhaps give it up early, and return how it ended."""
        started = time.monotonic() - self.ledger.stood_still
        try:
            value = await self._impatiently(call, view or self.common.client)
        except Exception as error:
            return Answer(self.ledger.failed(self.kind, error, commands), error=error)
        finally:
            self.ledger.took(self.kind, time.monotonic() - self.ledger.stood_still - started, self.most)
        self.ledger.answered(self.kind, commands)
        return Answer(Outcome.DONE, value)

    async def insist(self, call: Call[T]) -> T:
        """Make a call that only reads, or may run twice, until it is answered."""
        view = self.common.client.with_options(idempotent=True)
        while not (answer := await self.ask(call, view=view)).done:
            await asyncio.sleep(0.05)
        return answer.value

    async def _impatiently(self, call: Call[T], r: Client[str]) -> T:
        how = self.chance.uniform(0, 100)
        patience = self.chance.choice(PATIENCE)
        if self.common.calm or how >= IMPATIENT:
            return await call(r)
        self.ledger.given_up += 1
        match int(how) % 4:
            case 0:
                async with asyncio.timeout(patience):
                    return await call(r)
            case 1:
                return await asyncio.wait_for(call(r), patience)
            case 2:
                return await call(r.with_options(timeout=max(patience, 0.0005)))
            case _:
                return await self._cancel_after(call, r, patience)

    async def _cancel_after(self, call: Call[T], r: Client[str], patience: float) -> T:
        task = asyncio.ensure_future(call(r))
        try:
            await asyncio.wait([task], timeout=patience)
        finally:
            task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            raise GivenUpError("cancelled by its job")
        return task.result()


@asynccontextmanager
async def lease(r: Client[str], key: str) -> AsyncIterator[Lease[str]]:
    """Lend a connection to the server of a key. Raises LeftBehindError if the key has left that server meanwhile."""
    async with r.connection(key=key) if isinstance(r, Cluster) else r.connection() as c:
        try:
            yield c
        except (MovedError, AskError) as error:
            raise LeftBehindError(str(error)) from None
