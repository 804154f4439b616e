"""Race between the addresses of a name: beside one that keeps silent, the next one is tried (happy eyeballs).

Owns the order, the head starts and the end of the losers. It remembers for a minute which addresses failed. Never knows
what an attempt does.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from itertools import takewhile
from time import monotonic
from typing import Any, Final, TypeVar

from aioresp.errors import ConnectionLost, RedisError
from aioresp.wire.resolver import Place

T = TypeVar("T")

#: Seconds for which an address that failed, or lost a race, is tried after the others.
MEMORY: Final = 60.0

#: Most addresses that are remembered; the oldest ones are forgotten.
REMEMBERED: Final = 1000

#: Times (monotonic) of the last failures, oldest first. All clients, loops and threads of the process share them.
_failed: Final[dict[Place, float]] = {}


def ordered(addresses: Iterable[str], port: int) -> list[str]:
    """Return the addresses in their order, but those that failed a short time ago behind the others."""
    since = monotonic() - MEMORY
    return sorted(addresses, key=lambda address: _failed.get((address, port), since) > since)


def avoid(address: str, port: int) -> None:
    """Try this address after the others of its name, for a minute."""
    _failed.pop((address, port), None)
    _failed[address, port] = monotonic()
    while len(_failed) > REMEMBERED:
        _failed.pop(next(iter(list(_failed)), (address, port)), None)


def _may_differ(error: BaseException | None) -> bool:
    """Return whether another address may do better: not after a refusal by the server, or of a certificate."""
    if isinstance(error, (RedisError, ssl.SSLError)):
        return isinstance(error, (ConnectionLost, ssl.SSLEOFError))
    return isinstance(error, OSError)


async def race(
    addresses: list[str],
    port: int,
    attempt: Callable[[str], Coroutine[Any, Any, T]],
    head_start: Callable[[str], float],
    lose: Callable[[T], None],
) -> T:
    """Return the result of the first attempt that succeeds, of those at `addresses`, which begin one after the other.

    The next one begins when the newest has failed, or when `head_start` of its address (a time of the loop) has come,
    which may be later each time it is asked. `lose` gets each further result. An error that would be the same at each
    address is raised at once, else that of all attempts.
    """
    if len(addresses) == 1:
        return await attempt(addresses[0])
    loop = asyncio.get_running_loop()
    ahead, failures = deque(addresses), list[tuple[str, BaseException]]()
    running: dict[asyncio.Task[T], str] = {}
    newest: asyncio.Task[T] | None = None
    try:
        while ahead or running:
            if ahead and (newest not in running or head_start(running[newest]) <= loop.time()):
                address = ahead.popleft()
                newest = loop.create_task(attempt(address), name=f"aioresp: try {address}")
                running[newest] = address
            assert newest is not None
            rest = max(head_start(running[newest]) - loop.time(), 0.0) if ahead else None
            await asyncio.wait(list(running), timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in running if task.done()]:  # in the order of the addresses
                failure = None if task.cancelled() else task.exception()
                if failure is None or not _may_differ(failure):
                    earlier = takewhile(lambda other, task=task: other is not task, running)  # type: ignore[misc]
                    if failure is None:
                        _note([running[other] for other in earlier], running[task], port)
                    del running[task]
                    return task.result()
                failures.append((running[task], failure))
                avoid(running.pop(task), port)
        raise _of_all(failures)
    finally:
        for task in running:
            if task.done():
                _end(lose, task)
            elif not loop.is_closed():
                task.add_done_callback(partial(_end, lose))
                task.cancel()
        failures.clear()  # an error holds this frame by its traceback, as a task does by its error
        running.clear()
        task = newest = failure = None  # type: ignore[assignment]


def _note(slower: Iterable[str], address: str, port: int) -> None:
    """Note that an attempt at `address` has come through before those at the `slower` ones, which began earlier."""
    _failed.pop((address, port), None)
    for other in slower:
        avoid(other, port)


def _end(lose: Callable[[T], None], task: asyncio.Task[T]) -> None:
    """Pass the result of an attempt that is not needed to `lose`."""
    if not task.cancelled() and task.exception() is None:
        lose(task.result())


def _of_all(failures: list[tuple[str, BaseException]]) -> BaseException:
    """Return the error of the address that came furthest, or one for all that could not be reached."""
    errors = [error for _, error in failures]
    for error in errors:
        if len(errors) == 1 or isinstance(error, RedisError):
            return error
    kinds = {type(error) for error in errors}
    kind = kinds.pop() if len(kinds) == 1 else OSError
    return kind("; ".join(f"{address}: {reason(error)}" for address, error in failures))


def reason(error: BaseException) -> str:
    """Return why a system call failed, in the system's words: asyncio's own leave that out."""
    if isinstance(error, socket.gaierror) and error.strerror:
        return error.strerror
    if not isinstance(error, OSError) or isinstance(error, ssl.SSLError) or error.errno is None or error.errno <= 0:
        return str(error)
    return os.strerror(error.errno)
