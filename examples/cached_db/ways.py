"""Two ways to put a cache in front of the database: the naive one, and that of aioresp.

Owns the order in which cache and database are asked. Never knows of HTTP.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from aioresp import RedisError
from aioresp.recipes import Cache
from examples.cached_db import db
from examples.cached_db.db import Product
from examples.cached_db.figures import Gate, figures
from examples.shared.member import client

TTL: Final = 30

redis = client()
gate = Gate()


async def load(way: str, id: int, hold: bool) -> Product:
    """Read the database. With `hold`, stop right behind it, so that others are surely faster."""
    found = await db.read(id)
    figures[way].loads[id] += 1
    if hold:
        await gate.wait()
    return found


# --- The naive way ----------------------------------------------------------------------------------------------------


def naive_key(id: int) -> str:
    return f"naive:product:{id}"


async def naive_read(id: int, hold: bool = False) -> Product:
    if found := await redis.get(naive_key(id)):
        return msgspec.json.decode(found, type=Product)
    product = await load("naive", id, hold)  # by all who find nothing
    await redis.set(naive_key(id), msgspec.json.encode(product), ex=TTL)  # whatever was written meanwhile
    return product


async def naive_write(id: int, price: int) -> None:
    await db.write(id, price)
    await redis.delete(naive_key(id))


# --- The way of aioresp -----------------------------------------------------------------------------------------------

cache = Cache(redis, prefix="shop:", ttl=TTL, timeout=0.25)


@cache(key=lambda id, hold=False: f"product:{id}")
async def product(id: int, hold: bool = False) -> Product:
    return await load("aioresp", id, hold)  # by one of all who find nothing, in all processes


async def write(id: int, price: int) -> None:
    await db.write(id, price)
    await product.invalidate(id)  # refuses what a load under way would store


async def read(way: str, id: int, hold: bool = False) -> Product:
    """Return a product, out of the cache if it is there."""
    return await (product(id, hold) if way == "aioresp" else naive_read(id, hold))


# --- While the server is away -----------------------------------------------------------------------------------------

debts: set[int] = set()  # products that were written while the caches could not be told


async def pay_debts() -> None:
    """Tell the caches, as soon as their server is back, what was written meanwhile."""
    while True:
        await asyncio.sleep(0.2)
        for id in list(debts):
            try:
                for way in figures:
                    await forget(way, id)
                debts.discard(id)
            except RedisError:
                break


async def forget(way: str, id: int) -> None:
    """Delete what a way has stored of a product."""
    await (product.invalidate(id) if way == "aioresp" else redis.delete(naive_key(id)))


async def is_server_there() -> bool:
    """Return whether the cache's server answers at once."""
    try:
        return await redis.with_options(timeout=0.3).ping()
    except RedisError:
        return False
