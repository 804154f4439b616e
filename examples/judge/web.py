"""Web server of the judge: takes submissions, and tells each tab of their user how far they are.

Any number of these run side by side. Each has one connection for the subscriptions of all its tabs.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from fastapi import FastAPI, HTTPException, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, field_validator

from aioresp import Gap, RedisError
from aioresp.recipes import JobGone
from examples.judge.problems import PROBLEMS, SAMPLES
from examples.judge.store import State, Store, Submission
from examples.judge.worker import judge, queue, redis
from examples.shared.member import name
from examples.shared.pages import add_page, send, serve

HERE = Path(__file__).parent
HOSTS = ("127.0.0.1", "localhost")
PORTS = [urlsplit(url).port for url in os.environ["WEB_URLS"].split()]
ORIGINS = [f"http://{host}:{port}" for host in HOSTS for port in PORTS]
User = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{1,32}$")]

store = Store(redis)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Close the client at the end."""
    async with redis:
        yield


app = FastAPI(title="judge", lifespan=lifespan, docs_url=None, redoc_url=None)  # their pages load from elsewhere
add_page(app, HERE / "page.html")
# Programs run here: no other site may send one by its visitors' browsers.
app.add_middleware(CORSMiddleware, allow_origins=ORIGINS, allow_methods=["GET", "POST"], allow_headers=["*"])
app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))


@app.exception_handler(RequestValidationError)
async def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
    """Say what is wrong, without the program, which may hold what JSON cannot."""
    return JSONResponse({"detail": "; ".join(each["msg"] for each in error.errors())}, 422)


class Program(BaseModel):
    """Body of a submission."""

    id: str = Field(pattern=r"^[A-Za-z0-9-]{8,64}$", description="chosen by the page; the same id is one submission")
    user: str = Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")
    problem: str
    source: str = Field(min_length=1, max_length=16_000)

    @field_validator("source")
    @classmethod
    def _fits_a_command_line(cls, source: str) -> str:
        if "\0" in source:
            raise ValueError("a program has no zero characters")
        return source


@app.get("/setup")
async def setup() -> dict[str, Any]:
    """Return what the page begins with."""
    problems = [
        {"id": each.id, "title": each.title, "text": each.text, "example": each.cases[0], "solution": each.solution}
        for each in PROBLEMS.values()
    ]
    return {"problems": problems, "samples": SAMPLES, "ports": PORTS}


@app.post("/submissions", status_code=202)
async def submit(program: Program) -> dict[str, str]:
    """Store a program, and put it in the queue. Sent twice, it is one submission, with one verdict."""
    if program.problem not in PROBLEMS:
        raise HTTPException(422, f"there is no problem {program.problem!r}")
    try:
        await store.add(Submission(**program.model_dump()))
        await judge.options(id=job_id(program.user, program.id)).enqueue(program.user, program.id)
    except RedisError:
        raise HTTPException(503, "the store is away", {"Retry-After": "1"}) from None
    return {"id": program.id}


@app.get("/submissions/{id}")
async def program(id: str, user: User) -> str:
    """Return the program of a submission."""
    found = await store.program(user, id)
    if found is None:
        raise HTTPException(404, "it has expired, or never was")
    return found.source


@app.websocket("/tab")
async def tab(socket: WebSocket, user: User) -> None:
    """Tell a tab each new state of its user's submissions, and all of them when it asks.

    The tab asks after each `hello` and each `gap`: what was published before the one, or during the other, it never
    heard of.
    """
    if socket.headers.get("origin", ORIGINS[0]) not in ORIGINS:
        return await socket.close(1008)
    await socket.accept()
    with suppress(WebSocketDisconnect):
        try:
            async with redis.subscribe(store.channel(user), gaps=True, buffer=1000, overflow="close") as words:
                await send(socket, {"type": "hello", "server": name()})
                await first_of(tell(socket, words), answer(socket, user))
        except RedisError:  # the store is away for longer than calls wait; or this tab reads too slowly
            with suppress(RuntimeError):  # it may be gone, too
                await socket.close(1013)


async def tell(socket: WebSocket, words: AsyncIterator[Any]) -> None:
    """Pass on what the workers publish."""
    async for word in words:
        if isinstance(word, Gap):
            await send(socket, {"type": "gap", "seconds": round(word.seconds, 1)})
        else:
            await send(socket, {"type": "state", "state": msgspec.Raw(word.data.encode())})


async def answer(socket: WebSocket, user: str) -> None:
    """Answer the tab until it is gone; without reading, nobody learns that."""
    async for asked in socket.iter_text():
        if asked == "history":
            states = await asyncio.gather(*(settled(user, state) for state in await store.history(user)))
            await send(socket, {"type": "history", "states": states})
        else:
            await send(socket, {"type": "pulse"})


async def first_of(*steps: Any) -> None:
    """Run coroutines until the first of them ends."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def settled(user: str, state: State) -> State:
    """Return the state of a submission; give it an end if its job has none, as when it killed three workers."""
    if state.phase == "done" or time.time() - state.at < 5:
        return state
    with suppress(JobGone):
        if (await queue.job(job_id(user, state.id)).info()).state != "dead":
            return state
    given_up = msgspec.structs.replace(state, phase="done", verdict="not judged", errors="the judge gave it up")
    await store.put(user, given_up)  # a verdict that came meanwhile stays
    return await store.state(user, state.id) or given_up


def job_id(user: str, id: str) -> str:
    """Return the id of a submission's job."""
    return f"{user}.{id}"


if __name__ == "__main__":
    serve(app)
