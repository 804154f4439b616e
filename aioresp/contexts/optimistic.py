"""Optimistic locking: a transaction that is tried again if a watched key was changed, or the server refused it for now.

Owns the attempts, their number and the pauses between them. Never sends anything itself.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aioresp.arguments import numeral
from aioresp.command import Key
from aioresp.contexts.pipeline import Pipeline, Queued
from aioresp.contexts.suspicion import abort_cause
from aioresp.errors import ArgumentError, ArgumentTypeError, ConnectionLost, ExecAbortError, WatchError
from aioresp.options import Terms
from aioresp.retry import Retry, not_now

#: Upper bounds in seconds of the first pause between two attempts, and of the longest one.
PAUSES: Final = (0.001, 0.1)


async def attempt(
    pipeline: Pipeline[Any], func: Callable[[Any], Any], names: tuple[Key, ...], most: int, terms: Terms
) -> tuple[Any, list[Any]]:
    """Call `func` with the pipeline and execute the queued commands, until no watched key was changed meanwhile.

    Returns the result of `func` and the values. Raises WatchError after `most` attempts. If the server refuses all of
    it for now, such as a replica, or is left before EXEC is sent, it is tried again by the rules of `terms.retry`, and
    for as long as one call may take.
    """
    if not callable(func):
        raise ArgumentTypeError(f"transaction(): func is {type(func).__name__}, not a function of the pipeline")
    if most.__class__ is not int or most < 1:
        raise ArgumentError(f"attempts is {numeral(most)}, not an int of 1 or more")
    pauses = Retry(most, base=PAUSES[0], cap=PAUSES[1])
    failures = refusals = 0
    until = math.inf
    while True:
        watching = bool(names)
        try:
            if names:
                await pipeline.watch(*names)
            watching = False
            found = func(pipeline)
            if isinstance(found, Awaitable) and not isinstance(found, Queued):
                found = await found
            values = await pipeline.execute()
        except WatchError as error:
            failures += 1
            pause = pauses.pause(failures)
            if pause is None:
                raise WatchError(f"{error.args[0]}, in each of {most} attempts") from None
        except (ExecAbortError, ConnectionLost) as error:
            if isinstance(error, ConnectionLost):
                nothing_ran = watching or error.outcome == "not sent"  # a lease does not move to another server
            else:
                nothing_ran = not_now(error.__cause__ or abort_cause(error))
            refusals += 1
            now = asyncio.get_running_loop().time()
            if refusals == 1 and terms.timeout is not None:
                until = now + terms.timeout
            # Without names the pipeline itself has tried again.
            pause = terms.retry.pause(refusals) if names and nothing_ran else None
            if pause is None or now + pause > until:
                raise
        else:
            return found.result() if isinstance(found, Queued) else found, values
        await asyncio.sleep(pause)
