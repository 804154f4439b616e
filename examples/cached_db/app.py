"""Web API of the shop: reads by one of two caches, writes, and what the page needs for its experiments.

Owns what is counted, and what is answered while the cache's server is away. Never caches: that is done in ways.py.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from aioresp import RedisError
from examples.cached_db import db, ways
from examples.cached_db.db import NoSuchProduct, Product
from examples.cached_db.figures import figures
from examples.shared.pages import add_page, serve

#: Addresses of all web processes, this one included. The page talks to each of them.
PEERS = os.environ.get("WEB_URLS", "").split()

Way = Literal["naive", "aioresp"]
Id = Annotated[int, InPath(ge=0, lt=1 << 31)]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with ways.redis:
        paying = asyncio.create_task(ways.pay_debts())
        yield
        paying.cancel()
    await db.engine().dispose()


app = FastAPI(title="cached-db", lifespan=lifespan, docs_url=None, redoc_url=None)  # their pages load from elsewhere
origins = [*PEERS, *(peer.replace("127.0.0.1", "localhost") for peer in PEERS)]
app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])


class Price(BaseModel):
    """Body of a write."""

    price: Annotated[int, Field(ge=0, le=10_000_000, description="in cents")]


# --- The API ----------------------------------------------------------------------------------------------------------


@app.get("/products")
async def index() -> list[Product]:
    """Return all products, out of the database."""
    return await db.names()


@app.get("/products/{id}")
async def show(id: Id, way: Way = "aioresp", hold: bool = False) -> Product:
    """Return a product, out of the cache if it is there. `hold` stops a load behind its read of the database."""
    with figures[way].read():
        return await ways.read(way, id, hold)


@app.put("/products/{id}")
async def change(id: Id, new: Price, way: Way = "aioresp") -> dict[str, bool]:
    """Write a price. `told` says whether the cache knows of it: otherwise it is told when its server is back."""
    try:
        await (ways.write(id, new.price) if way == "aioresp" else ways.naive_write(id, new.price))
        await ways.forget("naive" if way == "aioresp" else "aioresp", id)  # there is one database for both
    except RedisError:  # the database has it
        ways.debts.add(id)
    return {"told": id not in ways.debts}


@app.exception_handler(NoSuchProduct)
async def not_found(request: Request, error: NoSuchProduct) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 404)


@app.exception_handler(RedisError)
async def away(request: Request, error: RedisError) -> JSONResponse:
    return JSONResponse({"detail": f"The cache's server is away: {type(error).__name__}"}, 503)


# --- For the page -----------------------------------------------------------------------------------------------------


@app.get("/products/{id}/stored")
async def stored(id: Id) -> Product:
    """Return a product as the database has it."""
    return await db.read(id)


@app.post("/products/{id}/crowd")
async def crowd(id: Id, way: Way, readers: Annotated[int, Query(ge=1, le=5000)] = 500) -> dict[str, float]:
    """Read a product in many tasks at once."""

    async def read() -> None:
        with figures[way].read(timed=False):
            await ways.read(way, id)

    loads, began = figures[way].loads[id], time.perf_counter()
    outcomes = await asyncio.gather(*(read() for _ in range(readers)), return_exceptions=True)
    failed = sum(isinstance(outcome, BaseException) for outcome in outcomes)
    return {"loads": figures[way].loads[id] - loads, "failed": failed, "seconds": time.perf_counter() - began}


@app.delete("/products/{id}/cached")
async def forget(id: Id, way: Way) -> None:
    """Make a product's entry cold."""
    await ways.forget(way, id)


@app.post("/release")
async def release() -> None:
    """Let go on the loads that `hold` has stopped."""
    ways.gate.release()


@app.get("/figures")
async def show_figures() -> dict[str, Any]:
    return {
        "process": os.getpid(),
        "peers": PEERS,
        "server": await ways.is_server_there(),
        "held": ways.gate.held,
        "debts": len(ways.debts),
        "ways": {way: each.shown() for way, each in figures.items()},
    }


add_page(app, Path(__file__).with_name("page.html"))

if __name__ == "__main__":
    serve(app)
