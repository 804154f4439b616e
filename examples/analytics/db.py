"""Database of the pipeline: SQLite in a file, or PostgreSQL by a URL, with the same statements.

A batch is one transaction, and may be stored any number of times: an event is counted where its row is new. Beside the
rows stand sums by second and by page, written in the same transaction, so that the page never counts rows.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, event, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from examples.analytics.model import Event

SCHEMA: Final = MetaData()
EVENTS: Final = Table(
    "events",
    SCHEMA,
    Column("id", String(64), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("page", String(200), nullable=False),
    Column("user", String(200), nullable=False),
    Column("ms", Integer, nullable=False),
    Index("events_by_time", "at"),
    sqlite_with_rowid=False,
)
SECONDS: Final = Table(
    "seconds",
    SCHEMA,
    Column("second", BigInteger, primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("n", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
PAGES: Final = Table(
    "pages",
    SCHEMA,
    Column("page", String(200), primary_key=True),
    Column("n", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
#: Key of PostgreSQL's advisory lock around the making of the schema: two CREATE TABLE IF NOT EXISTS can collide.
MAKING: Final = 0x616E616C


class DatabaseAwayError(Exception):
    """The database is away, busy or full: the same batch may well succeed later."""


class RefusedError(Exception):
    """The database refuses a value: the batch with that event in it will never succeed."""


class Summary(NamedTuple):
    """Figures of the page."""

    total: int
    pages: Sequence[tuple[str, int]]
    kinds: Sequence[tuple[str, int]]
    latest: Sequence[dict[str, Any]]


def database_url() -> str:
    """Return ANALYTICS_DATABASE_URL, or a file in the current directory."""
    return os.environ.get("ANALYTICS_DATABASE_URL") or "sqlite+aiosqlite:///analytics.db"


class Database:
    """The events, stored by `store` and summed up by `summary`. Raises ValueError for a URL that is none."""

    def __init__(self, url: str | None = None) -> None:
        try:
            self.engine = _engine(url or database_url())
        except SQLAlchemyError as error:
            raise ValueError(_first_line(error)) from error
        self._insert: Any = (sqlite if self.engine.dialect.name == "sqlite" else postgresql).insert

    async def prepare(self) -> None:
        """Make the tables that are missing; any number of processes may do so at a time."""
        async with self._transaction() as connection:
            if self.engine.dialect.name == "postgresql":
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({MAKING})"))
            await connection.run_sync(SCHEMA.create_all)

    async def store(self, events: Iterable[Event]) -> int:
        """Store events in one transaction and return how many of them were new. Returns after COMMIT."""
        rows = {one.id: one for one in events}
        async with self._transaction() as connection:
            insert = self._insert(EVENTS).on_conflict_do_nothing().returning(EVENTS.c.id)
            found = await connection.execute(insert, [msgspec.structs.asdict(rows[key]) for key in sorted(rows)])
            new = [rows[key] for key in found.scalars()]
            if new:
                await self._add(connection, SECONDS, Counter((one.at // 1000, one.kind) for one in new))
                await self._add(connection, PAGES, Counter((one.page,) for one in new))
        return len(new)

    async def summary(self, window: float = 300) -> Summary:
        """Return the sums, those by kind over the last `window` seconds, and the latest events."""
        since = int(time.time() - window)
        async with self._transaction() as connection:
            total = await connection.scalar(select(func.coalesce(func.sum(PAGES.c.n), 0)))
            pages = await connection.execute(select(PAGES.c.page, PAGES.c.n).order_by(PAGES.c.n.desc()).limit(6))
            n = func.sum(SECONDS.c.n).label("n")
            kinds = select(SECONDS.c.kind, n).where(SECONDS.c.second >= since).group_by(SECONDS.c.kind)
            by_kind = await connection.execute(kinds.order_by(n.desc()).limit(6))
            latest = await connection.execute(select(EVENTS).order_by(EVENTS.c.at.desc()).limit(10))
            return Summary(
                int(total or 0),
                [(page, int(n)) for page, n in pages],
                [(kind, int(n)) for kind, n in by_kind],
                [dict(row) for row in latest.mappings()],
            )

    async def history(self, window: float) -> dict[int, int]:
        """Return the number of events by second, over the last `window` seconds."""
        async with self._transaction() as connection:
            n = func.sum(SECONDS.c.n)
            since = int(time.time() - window)
            found = await connection.execute(
                select(SECONDS.c.second, n).where(SECONDS.c.second >= since).group_by(SECONDS.c.second)
            )
            return {int(second): int(count) for second, count in found}

    async def aclose(self) -> None:
        """Close the connections."""
        await self.engine.dispose()

    async def _add(self, connection: AsyncConnection, table: Table, counts: Counter[tuple[Any, ...]]) -> None:
        """Add to sums. In the order of their keys, or two workers would wait for each other's rows forever."""
        names = [column.name for column in table.primary_key]
        insert = self._insert(table)
        upsert = insert.on_conflict_do_update(index_elements=names, set_={"n": table.c.n + insert.excluded.n})
        await connection.execute(
            upsert, [{**dict(zip(names, key, strict=True)), "n": counts[key]} for key in sorted(counts)]
        )

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        """Give a transaction, and say of a failure whether it is worth another try."""
        try:
            async with self.engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            if _refused(error):
                raise RefusedError(_first_line(error)) from error
            raise DatabaseAwayError(_first_line(error)) from error


def _refused(error: BaseException) -> bool:
    """Return whether the values are at fault: SQLSTATE 22 and 23, for which SQLite's driver has classes of errors."""
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None)
    if isinstance(state, str):
        return state[:2] in ("22", "23")
    return type(error.orig).__name__ in ("DataError", "IntegrityError")


def _first_line(error: BaseException) -> str:
    """Return the driver's own words: SQLAlchemy adds the statement and its values behind them."""
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


def _engine(url: str) -> AsyncEngine:
    if not url.startswith("sqlite"):
        # Asked before use, as the server may have been restarted since. Without time limits, a server that has vanished
        # would hold a worker up for hours.
        limits = {"timeout": 5, "command_timeout": 20} if "+asyncpg" in url else {}
        return create_async_engine(url, pool_pre_ping=True, connect_args=limits)
    engine = create_async_engine(url, connect_args={"timeout": 5})

    @event.listens_for(engine.sync_engine, "connect")
    def _tune(connection: Any, _: object) -> None:
        # WAL: the page reads while the worker writes. FULL: what is acknowledged survives a power cut.
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    return engine
