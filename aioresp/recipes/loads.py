"""Loads of a cache: one at a time for an entry, each in a task of its own that all callers of an event loop share.

Owns which load a caller may join, and the lease of each. Never decides when a value is too old.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, TypeAlias

from aioresp.command import shown
from aioresp.errors import ArgumentTypeError, RedisError
from aioresp.recipes.encoding import Decoder, encode
from aioresp.recipes.entries import TOKEN, Entries
from aioresp.recipes.errors import LoadCancelled
from aioresp.recipes.leases import keep
from aioresp.recipes.outage import AWAY, Outage

log: Final = logging.getLogger("aioresp")

#: Reason of a load: there is no value; the value is about to expire; a caller asks for a new one; the server is away.
How: TypeAlias = Literal["miss", "early", "force", "away"]

#: Seconds for which an old value is not loaded again after its load has failed.
_AFTER_FAILURE: Final = 1.0

#: Seconds that a cancelled load may take to give its lease back.
_LAST_WORDS: Final = 1.0


class Job:
    """Call of a loader for one entry, and what becomes of its value."""

    __slots__ = ("args", "decoder", "function", "key", "kwargs", "stale", "ttl", "unfit", "where")

    def __init__(
        self,
        key: str,
        function: Callable[..., Awaitable[Any]],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        decoder: Decoder[Any],
        where: str,
        ttl: float,
        stale: float,
    ) -> None:
        self.key = key
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.decoder = decoder
        self.where = where  # name of the value in messages
        self.ttl = ttl
        self.stale = stale
        self.unfit = b""  # token of a value that cannot be decoded, and is to be replaced

    async def run(self) -> bytes:
        """Call the loader and return its value as JSON."""
        found: Any = self.function(*self.args, **self.kwargs)
        if not inspect.isawaitable(found):
            raise ArgumentTypeError(
                f"load returned {type(found).__name__}, which is not awaitable: pass an `async def` function"
            )
        payload = encode(await found, self.where)
        self.decoder.decode(payload, self.where)  # what no caller could read is not stored
        return payload


class Load:
    """A load that is under way. Its outcome is the JSON, None if another load has come first, or the error."""

    __slots__ = (
        "__weakref__",
        "callers",
        "has_begun",
        "how",
        "is_obsolete",
        "key",
        "loop",
        "outcome",
        "task",
        "token",
        "traceback",
    )

    def __init__(self, key: str, how: How) -> None:
        self.loop = asyncio.get_running_loop()
        self.key = key
        self.how = how
        self.outcome: asyncio.Future[bytes | BaseException | None] = self.loop.create_future()
        self.task: asyncio.Task[None] | None = None
        self.token = b""
        self.traceback: TracebackType | None = None  # that of the error, which grows where it is raised
        self.callers = 0
        self.has_begun = False  # set just before the loader is called, never cleared
        self.is_obsolete = False  # set when its entry was deleted meanwhile, never cleared

    def may_be_joined(self, token: bytes) -> bool:
        """Return whether a caller that has read `token` in the entry may have this load's value.

        A load that has not begun will see all that the caller knows. One that has begun must still be the entry's. An
        early one that has not begun may be too late, and then tells nobody at once.
        """
        if not self.has_begun:
            return self.how != "early"
        return self.token == token != b"" and not self.is_obsolete


class Loads:
    """Loads that are under way in this process, the newest of each entry."""

    def __init__(
        self, entries: Entries, outage: Outage, lease: float, *, is_strict: bool, cancels_abandoned: bool
    ) -> None:
        self._entries = entries
        self._outage = outage
        self._lease = lease
        self._is_strict = is_strict  # whether the error of a server that is away is raised
        self._cancels_abandoned = cancels_abandoned
        #: By key first: thousands of loads may be under way when a value is deleted.
        self._newest: dict[str, dict[asyncio.AbstractEventLoop, Load]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, key: str) -> Load | None:
        """Return the newest load of an entry in this event loop."""
        of_key = self._newest.get(key)
        return of_key.get(asyncio.get_running_loop()) if of_key else None

    def begin(self, job: Job, how: How) -> Load:
        """Begin a load, in a copy of the caller's context."""
        load = Load(job.key, how)
        self._newest.setdefault(job.key, {})[load.loop] = load
        task = load.task = load.loop.create_task(self._run(load, job))
        self._tasks.add(task)  # a task that nothing refers to may be collected
        task.add_done_callback(partial(self._ended, load))
        return load

    def forget(self, key: str) -> None:
        """Note that an entry was deleted: no load of it that has begun is joined any more."""
        for load in list(self._newest.get(key, {}).values()):
            if load.has_begun:
                load.is_obsolete = True

    async def join(self, load: Load) -> bytes | None:
        """Return the JSON that a load brings, or None if it brings none and the entry must be looked at again.

        Raises the loader's error, a copy for each caller. A cancelled caller leaves the load to the others.
        """
        load.callers += 1
        try:
            outcome = await asyncio.shield(load.outcome)
        finally:
            load.callers -= 1
            if self._cancels_abandoned and not load.callers and not load.outcome.done():
                self._cancel(load)
        if outcome is None or isinstance(outcome, bytes):
            return outcome
        error = _own(outcome, load.traceback)
        del outcome
        try:
            raise error
        finally:
            del error  # it holds this frame by its traceback

    def _cancel(self, load: Load) -> None:
        if load.task is not None and load.how != "early":
            load.task.cancel()
            self._remove(load)  # nobody joins it any more

    def _remove(self, load: Load) -> None:
        of_key = self._newest.get(load.key)
        if of_key is not None and of_key.get(load.loop) is load:
            del of_key[load.loop]
            if not of_key:
                self._newest.pop(load.key, None)

    def _ended(self, load: Load, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._remove(load)
        load.task = None
        if not load.outcome.done():  # the task was cancelled
            load.outcome.set_result(LoadCancelled(f"the load of {shown(load.key)} was cancelled"))

    async def _run(self, load: Load, job: Job) -> None:
        try:
            outcome: bytes | BaseException | None = await self._load(load, job)
        except Exception as error:
            if load.how == "early":
                log.warning(
                    "%s could not be loaded again, the old value is served: %s", shown(job.key), type(error).__name__
                )
            load.traceback = _of_loader(error.__traceback__)
            outcome = error.with_traceback(None)
        load.outcome.set_result(outcome)

    async def _load(self, load: Load, job: Job) -> bytes | None:
        token, since = os.urandom(TOKEN), time.monotonic()
        is_ours = await self._take(load, job, token)
        if is_ours is None:  # nobody can have the lease: the server is away
            load.has_begun = True
            return None if load.how == "early" else await job.run()
        if not is_ours:
            if load.how == "early":
                await asyncio.sleep(self._lease / 10)  # so that not each read tries again
            return None
        load.token = token
        load.has_begun = True
        lease = keep(
            lambda: self._entries.renew(job.key, token, self._lease),
            self._lease,
            since=since,
            on_lost=partial(_lost, job.key),
        )
        try:
            begun = time.monotonic()
            payload = await job.run()
            took = time.monotonic() - begun
        except BaseException:
            lease.release()
            await self._give_back(job, token)
            raise
        try:
            if not await self._entries.store(job.key, token, payload, job.ttl, job.stale, took):
                log.debug("%s was loaded and not stored: it was deleted meanwhile", shown(job.key))
        except asyncio.CancelledError:
            await self._give_back(job, token)
            raise
        except RedisError as error:
            log.warning("%s was loaded and could not be stored: %s", shown(job.key), type(error).__name__)
        finally:
            lease.release()
        return payload

    async def _take(self, load: Load, job: Job, token: bytes) -> bool | None:
        """Return whether the load has the lease of its entry, or None if the server is away."""
        if load.how == "away":
            return None
        try:
            return await self._entries.take(job.key, token, self._lease, load.how, job.unfit)
        except AWAY as error:
            if self._is_strict:
                raise
            self._outage.begin(error, 1.0)
            return None
        except asyncio.CancelledError:
            await self._give_back(job, token)
            raise

    async def _give_back(self, job: Job, token: bytes) -> None:
        """Give the lease back. If that fails, it ends by itself."""
        try:
            async with asyncio.timeout(_LAST_WORDS):
                await self._entries.abandon(job.key, token, _AFTER_FAILURE)
        except (RedisError, TimeoutError):
            log.debug("the lease of %s could not be given back", shown(job.key))


def _lost(key: str, reason: str) -> None:
    log.debug("the load of %s has lost its lease: %s", shown(key), reason)


def _of_loader(traceback: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that lies in the loader; the frames before it hold the outcome."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    return traceback


def _own(error: BaseException, traceback: TracebackType | None) -> BaseException:
    """Return a copy of an error for one caller, or the error itself if it cannot be copied."""
    try:
        own = copy.copy(error)
    except Exception:
        own = error
    if type(own) is not type(error):
        own = error
    if own is not error:
        own.__cause__, own.__context__ = error.__cause__, error.__context__
        own.__suppress_context__ = error.__suppress_context__
        if hasattr(error, "__notes__"):
            own.__notes__ = list(error.__notes__)
    return own.with_traceback(traceback)
