"""Names of other queues, which say what they are here."""

from __future__ import annotations

from typing import Any

import pytest

from aioresp import Client
from aioresp.recipes import Job, Queue, Task
from aioresp.recipes.queue import elsewhere


@pytest.mark.parametrize("kind", [Task, Job, Queue])
def test_no_advice_hides_what_exists(kind: type) -> None:
    advice = getattr(elsewhere, kind.__name__.upper())
    assert [name for name in advice if hasattr(kind, name)] == []


async def test_advice() -> None:
    client = Client("redis://localhost")
    queue = Queue(client, "q")

    @queue.task
    async def add(a: int, b: int) -> int:
        return a + b

    task, job, own, redis = (x for x in (add, queue.job("1"), queue, client))
    anything: list[Any] = [task, job, own, redis]
    for each, name, said in zip(
        anything,
        ("delay", "get", "enqueue", "enqueue_job"),
        ("await task.enqueue", "await job.result", "await task.enqueue", "from aioresp.recipes import Queue"),
        strict=True,
    ):
        with pytest.raises(AttributeError, match=said):
            getattr(each, name)
    assert await add(1, 2) == 3
