"""Books of a queue: its keys, and the scripts that change them.

Owns the names of the keys and what each script takes and returns. Every script may be sent twice: the second run finds
what the first has done. Never knows a task or a function.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from aioresp.client import Client
from aioresp.errors import ResponseError
from aioresp.recipes.lua import Call, text

#: Priorities, from the first that is taken to the last.
PRIORITIES: Final = (2, 1, 0, -1, -2)

#: Files that stand before that of a script, besides those that stand before all.
_PARTS: Final = {"take": ("give",)}

#: Milliseconds that the scripts assume for a job that says nothing else; see books.lua.
KEEP: Final = 600_000
LEASE: Final = 15_000

#: Seconds after which a finished job is forgotten at the earliest: until then an enqueue that is sent twice finds it.
REMEMBERED: Final = 30.0


#: Seconds that a call may take if the client has no limit.
_TIMEOUT: Final = 10.0


#: Why a job is dead whose id, or count of deaths, a stranger has written.
_STRANGE: Final = b'{"type":"DecodeError","message":"its id is not UTF-8, or a field of its hash is no number"}'


class Taken(NamedTuple):
    """A job that was taken, under the token of its take."""

    id: str
    function: str
    payload: bytes
    attempt: int
    deaths: int
    headers: bytes
    token: str


class Standing(NamedTuple):
    """State of a job in the books."""

    state: str
    due: float
    function: str
    data: bytes
    attempts: int
    deaths: int
    enqueued: float
    ended: float
    unique: str | None
    priority: int


class Books:
    """The keys and scripts of one queue."""

    def __init__(self, redis: Client[Any], name: str) -> None:
        timeout = redis.terms.timeout or _TIMEOUT
        self.view: Client[bytes] = redis.with_options(decode_responses=False, idempotent=True, timeout=timeout)
        self.name = name
        self.root = f"{{{name}}}:"
        self.keys: tuple[str, ...] = tuple(
            self.root + key
            for key in (
                *("delayed", "leases", "dead", "unique", "wake", "suspects"),
                *(f"ready:{priority}" for priority in PRIORITIES),
            )
        )
        #: Those of the script `enqueue`, by priority.
        self.keys_of: dict[int, tuple[str, ...]] = {
            priority: (*self.keys[:6], self.keys[8 - priority]) for priority in PRIORITIES
        }
        self.wake = self.root + "wake"
        #: Channels with the ids of jobs that have ended and are waited for, and of those to be cancelled.
        self.done = self.root + "done"
        self.cancelled = self.root + "cancel"
        #: Dangers of the server that a worker of this process has warned of.
        self.warned: set[str] = set()
        self._scripts: dict[str, Call] = {}
        self._enqueue = self._script("enqueue").on

    def _script(self, name: str) -> Call:
        found = self._scripts.get(name)
        if found is None:
            whole = "".join(text(f"queue/scripts/{part}") for part in ("books", "ends", *_PARTS.get(name, ()), name))
            found = self._scripts[name] = Call(self.view, name, whole)
        return found

    async def enqueue(
        self,
        id: str,
        *,
        function: str,
        payload: bytes,
        due: int = 0,
        delay: int = 0,
        priority: int = 0,
        unique: str = "",
        on_duplicate: str = "keep",
        more: Iterable[str | bytes | int] = (),
    ) -> str:
        """Put a job in line; return the id of the job that is in the queue. `due` and `delay` in ms."""
        fields = (id, due, delay, priority, unique, on_duplicate, "fn", function, "args", payload, *more)
        return await self.put(priority, fields)

    async def put(self, priority: int, fields: tuple[str | bytes | int, ...]) -> str:
        """Run the script `enqueue`; return the id of the job that is in the queue."""
        found: bytes = await self._enqueue(self.keys_of[priority], fields)
        return found.decode()

    async def take(self, count: int, token: str, worker: str, lease: int, suspect: bool) -> tuple[int, list[Taken]]:
        """Take up to `count` jobs; return ms to the next due job (-1: none), and the jobs.

        Sent twice with one token, it returns the same jobs.
        """
        keys = (*self.keys, f"{self.root}take:{worker}")
        found: list[Any] = await self._script("take").on(keys, (count, token, lease, int(suspect)))
        try:
            return found[0], [
                Taken(
                    id.decode(), name.decode(errors="replace"), load, attempt, int(deaths or 0), headers or b"", token
                )
                for id, name, load, attempt, deaths, headers in found[1:]
            ]
        except ValueError:  # a stranger has put something else in line; the jobs beside it are taken again
            strange: list[bytes] = [job[0] for job in found[1:] if _is_strange(job)]
            await self.settle((id, token, "dead", _STRANGE, 0) for id in strange)
            return await self.take(count, token, worker, lease, suspect)

    async def settle(self, outcomes: Iterable[tuple[str | bytes, str, str, bytes, int]]) -> list[str]:
        """Settle jobs (id, token, outcome, data, delay in ms); return the ids whose token was not valid any more."""
        arguments = [each for outcome in outcomes for each in outcome]
        refused: list[bytes] = await self._script("settle").on(self.keys, arguments)
        return [id.decode(errors="replace") for id in refused]

    async def renew(self, held: Iterable[tuple[str, str, int]]) -> list[tuple[str, str]]:
        """Renew leases (id, token, lease in ms); return the ids that are "lost", or to be cancelled ("cancel")."""
        arguments = [each for job in held for each in job]
        news: list[list[bytes]] = await self._script("renew").on(self.keys, arguments)
        return [(id.decode(), what.decode()) for id, what in news]

    async def tend(self) -> tuple[int, list[str], list[str]]:
        """Put back jobs whose lease has ended; return ms to the next end (-1: none), those put back, those buried."""
        after, back, buried = await self._script("tend").on(self.keys)
        return after, [id.decode(errors="replace") for id in back], [id.decode(errors="replace") for id in buried]

    async def nudge(self, worker: str = "") -> None:
        """Wake one worker, or that one."""
        await self._script("nudge").on((*self.keys, self.own_wake(worker)) if worker else self.keys)

    def own_wake(self, worker: str) -> str:
        """Return the list at which that worker alone waits for a word."""
        return f"{self.wake}:{worker}"

    async def cancel(self, id: str) -> str:
        """Cancel a job; return its state, "gone" if there is none."""
        state: bytes = await self._script("cancel").on(self.keys, (id,))
        return state.decode()

    async def revive(self, id: str) -> bool:
        """Put a dead job back in line."""
        return bool(await self._script("revive").on(self.keys, (id,)))

    async def look(self, id: str, *, waiting: bool = False) -> Standing | None:
        """Return the state of a job, None if there is none; with `waiting`, its end is told on the channel."""
        found: list[Any] = await self._script("wait").on(self.keys, (id, int(waiting)))
        if not found:
            return None
        state, due, function, data, attempts, deaths, enqueued, ended, unique, priority = found
        return Standing(
            state.decode(),
            float(due) / 1000,
            function.decode(errors="replace"),
            data or b"",
            int(attempts or 0),
            int(deaths or 0),
            float(enqueued or 0) / 1000,
            float(ended or 0) / 1000,
            None if unique is None else unique.decode(),
            int(priority or 0),
        )

    async def counts(self) -> list[int]:
        """Return the numbers of waiting, delayed, running and dead jobs."""
        found: list[int] = await self._script("counts").on(self.keys)
        return found

    async def purge(self, state: str) -> tuple[int, bool]:
        """Drop up to a hundred jobs of one state; return how many, and whether those were all."""
        count, is_all = await self._script("purge").on(self.keys, (state,))
        return count, bool(is_all)

    async def hasten(self) -> int:
        """Make up to a hundred delayed jobs due now; return how many."""
        found: int = await self._script("hasten").on(self.keys)
        return found

    async def dead(self) -> list[str]:
        """Return ids of the dead letters, the oldest first."""
        return [id.decode(errors="replace") for id in await self.view.zrange(self.keys[2], 0, -1)]

    async def dangers(self) -> list[str]:
        """Return what makes the server forget jobs, in words; nothing if it does not say."""
        found = []
        try:
            memory = await self.view.info("memory")
            persistence = await self.view.info("persistence")
        except ResponseError:
            return []
        policy = memory.get("maxmemory_policy", "noeviction")
        if memory.get("maxmemory") and policy != "noeviction":
            found.append(f"the server may evict jobs (maxmemory-policy {policy}); set it to noeviction")
        if persistence.get("aof_enabled") == 0:
            found.append("the server forgets the newest jobs if it ends (no AOF); set appendonly yes")
        return found


def _is_strange(job: list[Any]) -> bool:
    """Return whether a job that was taken cannot be read."""
    try:
        job[0].decode()
        int(job[4] or 0)
    except ValueError:
        return True
    return False
