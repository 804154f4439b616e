"""taskiq-redis: two hundred tasks through each broker, their results, a broadcast, and a schedule in Redis."""

from __future__ import annotations

import asyncio
import datetime
from collections import Counter
from functools import partial

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from stage import kill_connections, repeated, until
from taskiq import AsyncBroker
from taskiq.api import run_receiver_task
from taskiq.scheduler.scheduled_task import ScheduledTask
from taskiq_redis import (
    ListQueueBroker,
    ListRedisScheduleSource,
    PubSubBroker,
    RedisAsyncResultBackend,
    RedisStreamBroker,
)


async def main(url: str) -> None:
    # Without retries, redis-py 8 loses the result that it writes first after a connection has died in its pool.
    retry = Retry(NoBackoff(), 3)
    results = RedisAsyncResultBackend(url, result_ex_time=100, retry=retry)
    for broker in (
        # redis-py 8 gives up a BRPOP after 5 s by default, and the worker ends with it.
        ListQueueBroker(url, queue_name="list", socket_timeout=None, retry=retry).with_result_backend(results),
        RedisStreamBroker(url, queue_name="stream", xread_block=500, consumer_id="0", retry=retry).with_result_backend(
            results
        ),
    ):
        await tasks_run(broker)
    await broadcast(url)
    await schedule(url)
    await results.shutdown()


async def tasks_run(broker: AsyncBroker) -> None:
    done: Counter[int] = Counter()

    @broker.task(f"double:{type(broker).__name__}")
    async def double(number: int) -> int:
        done[number] += 1
        await asyncio.sleep(0.001)
        return 2 * number

    @broker.task(f"broken:{type(broker).__name__}")
    async def broken() -> None:
        raise ValueError("broken")

    await broker.startup()
    workers = [asyncio.create_task(run_receiver_task(broker, max_async_tasks=20)) for _ in range(2)]
    tasks = await asyncio.gather(*(double.kiq(number) for number in range(200)))
    await until(lambda: done.total() >= 200, "all have run")  # two hundred that poll would take the processor
    ended = [await task.wait_result(check_interval=0.05, timeout=100) for task in tasks]
    assert [result.return_value for result in ended] == [2 * number for number in range(200)]
    assert done == Counter(range(200)), "each task runs once"
    failed = await (await broken.kiq()).wait_result(check_interval=0.05, timeout=100)
    assert failed.is_err
    assert "broken" in str(failed.error)

    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)

    # On plain redis-py a task or its result may be lost now, and is sent again: the tests count that.
    await kill_connections()

    async def late(number: int) -> int:
        task = await double.kiq(number)
        return (await task.wait_result(check_interval=0.05, timeout=30)).return_value

    worker = asyncio.create_task(run_receiver_task(broker))
    for number in range(300, 320):
        assert await repeated(partial(late, number)) == 2 * number
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    await broker.shutdown()


async def broadcast(url: str) -> None:
    broker = PubSubBroker(url, queue_name="broadcast", socket_timeout=None)
    heard: list[int] = []

    @broker.task("hear")
    async def hear(number: int) -> None:
        heard.append(number)

    await broker.startup()
    workers = [asyncio.create_task(run_receiver_task(broker)) for _ in range(3)]
    # Nothing says that a worker has subscribed: what is sent before is lost.
    for number in range(100):
        await hear.kiq(number)
        await asyncio.sleep(0.1)
        if heard.count(number) == 3:
            break
    assert heard.count(number) == 3
    for later in range(1000, 1050):
        await hear.kiq(later)
    await until(lambda: len([one for one in heard if one >= 1000]) == 150, "each worker has heard of each task")
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    await broker.shutdown()


async def schedule(url: str) -> None:
    source = ListRedisScheduleSource(url, prefix="schedule")
    await source.startup()
    now = datetime.datetime.now(datetime.UTC)
    for number in range(20):
        await source.add_schedule(
            ScheduledTask(
                task_name="double",
                labels={},
                args=[number],
                kwargs={},
                schedule_id=f"id-{number}",
                time=now - datetime.timedelta(minutes=number % 2),
            )
        )
    await kill_connections()
    found = await repeated(source.get_schedules)
    assert sorted(task.args[0] for task in found) == list(range(20))
    await source.delete_schedule("id-3")
    await source.shutdown()
