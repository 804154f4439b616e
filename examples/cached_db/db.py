"""Database of the shop: a table of products, in SQLite.

Owns how slow a read is. Never knows of a cache.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Column, Integer, MetaData, String, Table, event, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

#: Seconds that each read keeps a connection busy, as a heavy query does: a report, a join of five tables, a search.
SLOW = 0.05

#: Environment variable with the path of the database.
FILE = "CACHED_DB_FILE"

#: Readers go on while another process writes.
WAL = "PRAGMA journal_mode=WAL"

products = Table(
    "products",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("price", Integer, nullable=False),
)


@cache
def engine() -> AsyncEngine:
    """Return the engine of this process: ten connections, as usual. One that finds the file locked waits for 30 s."""
    made = create_async_engine(
        f"sqlite+aiosqlite:///{os.environ[FILE]}",
        pool_size=10,
        max_overflow=0,
        pool_timeout=60,
        connect_args={"timeout": 30},
    )
    event.listen(made.sync_engine, "connect", lambda connection, record: connection.execute(WAL).close())
    return made


@dataclass
class Product:
    """One row; the price is in cents."""

    id: int
    name: str
    price: int


class NoSuchProduct(Exception):
    """There is no product with this id."""


async def create() -> None:
    """Make the table with its rows; before the web processes start."""
    names = ["Desk lamp", "Oak chair", "Tea pot", "Wool blanket", "Wall clock", "Bread knife", "Door mat", "Radio"]
    async with engine().begin() as connection:
        await connection.run_sync(products.metadata.drop_all)
        await connection.run_sync(products.metadata.create_all)
        rows = [{"id": id, "name": name, "price": 1000 * id + 900} for id, name in enumerate(names, start=1)]
        await connection.execute(products.insert(), rows)
    await engine().dispose()


async def names() -> list[Product]:
    """Return all products."""
    async with engine().connect() as connection:
        return [Product(**row._mapping) for row in await connection.execute(select(products).order_by(products.c.id))]


async def read(id: int) -> Product:
    """Return a product. Raises NoSuchProduct."""
    async with engine().connect() as connection:
        row = (await connection.execute(select(products).where(products.c.id == id))).one_or_none()
        await asyncio.sleep(SLOW)
    if row is None:
        raise NoSuchProduct(f"there is no product {id}")
    return Product(**row._mapping)


async def write(id: int, price: int) -> None:
    """Give a product another price. Raises NoSuchProduct."""
    async with engine().begin() as connection:
        if not (await connection.execute(update(products).where(products.c.id == id).values(price=price))).rowcount:
            raise NoSuchProduct(f"there is no product {id}")
