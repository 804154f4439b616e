"""Redis OM: hash models saved, read, changed and deleted, singly and in pipelines; no search, which needs a module."""

from __future__ import annotations

import asyncio
import datetime

from aredis_om import HashModel, NotFoundError, get_redis_connection
from stage import kill_connections, repeated


async def main(url: str) -> None:
    connection = get_redis_connection(url=url)

    class Customer(HashModel, index=True):
        name: str
        age: int
        joined: datetime.date
        bio: str | None = None

        class Meta:
            database = connection
            global_key_prefix = "shop"

    day = datetime.date(2024, 5, 17)
    customers = [Customer(name=f"Ada {number}", age=number, joined=day) for number in range(200)]
    found = []
    # As many at once as the pool of redis-py 8 has connections, and no more.
    for begin in range(0, 200, 50):
        part = customers[begin : begin + 50]
        await asyncio.gather(*(customer.save() for customer in part))
        found += await asyncio.gather(*(Customer.get(customer.pk) for customer in part))
    assert found == customers
    assert found[7].joined == day
    assert found[7].bio is None
    assert {pk async for pk in await Customer.all_pks()} == {customer.pk for customer in customers}

    await kill_connections()
    await repeated(lambda: found[7].update(age=70, bio="seventy"))
    again = await Customer.get(customers[7].pk)
    assert (again.age, again.bio) == (70, "seventy")
    await again.expire(100)
    assert 0 < await connection.ttl(again.key()) <= 100

    async with connection.pipeline(transaction=True) as pipeline:
        more = [Customer(name=f"Grace {number}", age=number, joined=day) for number in range(50)]
        for customer in more:
            await customer.save(pipeline=pipeline)
        await pipeline.execute()
    assert await Customer.get(more[49].pk) == more[49]
    added = await Customer.add([Customer(name=f"Joan {number}", age=1, joined=day) for number in range(300)])
    assert len([pk async for pk in await Customer.all_pks()]) == 550
    assert await Customer.delete_many(added) == 300
    assert await Customer.delete(more[0].pk) == 1
    try:
        await Customer.get(more[0].pk)
    except NotFoundError:
        pass
    else:
        raise AssertionError("a deleted model was found")
    await connection.aclose()
