"""One question to several servers at once, answered as soon as enough of them have spoken.

Owns the tasks that ask, and the time that slow servers have. Never reads an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, TypeVar

from aioresp.node import Node
from aioresp.pool.loops import running_loop
from aioresp.replicated.places import Address

T = TypeVar("T")


async def ask_all(
    nodes: Mapping[Address, Node],
    ask: Callable[[Node], Coroutine[Any, Any, T]],
    enough: Callable[[dict[Address, T]], bool],
    grace: float,
    silent: Collection[Address] = (),
) -> tuple[dict[Address, T], dict[Address, BaseException]]:
    """Call `ask` with all servers at once; return the answers and the errors. A slow server is in neither.

    Once the answers are `enough`, the others have `grace` seconds more, or none if only `silent` ones are left.
    """
    loop = running_loop()
    tasks = {loop.create_task(ask(node), name=f"aioresp: ask {at}"): at for at, node in nodes.items()}
    pending = set(tasks)
    answers: dict[Address, T] = {}
    errors: dict[Address, BaseException] = {}
    until: float | None = None
    try:
        while pending and (until is None or loop.time() < until):
            if until is not None and all(tasks[task] in silent for task in pending):
                break
            rest = None if until is None else until - loop.time()
            done, pending = await asyncio.wait(pending, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if error is None:
                    answers[tasks[task]] = task.result()
                else:
                    errors[tasks[task]] = error
            if until is None and enough(answers):
                until = loop.time() + grace
        return answers, errors
    finally:
        for task in tasks:
            if task.done():
                _ignore(task)  # it has failed in the moment in which the caller was cancelled
            elif not loop.is_closed():
                task.cancel()
                task.add_done_callback(_ignore)
        tasks.clear()
        pending = set()
        error = None  # its traceback holds this frame


def _ignore(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
