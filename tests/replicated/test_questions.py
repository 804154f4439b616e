"""One question to several servers at once: nothing of it is left, however its caller ends."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest

from aioresp import ClientClosed
from aioresp.node import Node
from aioresp.replicated.asking import ask_all
from aioresp.replicated.places import Address


@pytest.mark.parametrize("turns", range(4))
async def test_servers_that_fail_while_the_caller_is_cancelled_leave_no_error(turns: int) -> None:
    """As when a client is closed while its sentinels are asked: its connections fail, and its tasks are cancelled."""
    loop, said = asyncio.get_running_loop(), list[dict[str, Any]]()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: said.append(context))
    answers = [loop.create_future() for _ in range(3)]

    async def ask(node: Node) -> int:
        return cast("int", await answers[cast("int", node)])

    try:
        nodes = {Address("127.0.0.1", port): cast("Node", port) for port in range(3)}
        caller = asyncio.create_task(ask_all(nodes, ask, bool, 10))
        await asyncio.sleep(0.01)
        for answer in answers:
            answer.set_exception(ClientClosed("the client is closed"))
        for _ in range(turns):
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait([caller])
        del caller
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(0)
        assert said == []
    finally:
        loop.set_exception_handler(before)
