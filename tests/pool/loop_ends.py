"""A program whose event loop ends in one of many ways while workers pop elements: `python loop_ends.py URL WAY LOOP`.

It prints what it popped ("P element"), what was reported with its element ("L element"; "B element" if it may be
back), and each report without one ("U"). Run by tests/pool/test_loops.py.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from aioresp import Client, ConnectionLost, Lost

WORKERS = 40
ENOUGH = 100

url, way, kind = sys.argv[1:] if __name__ == "__main__" else ("", "", "")
popped = 0
tasks: list[asyncio.Task[Any]] = []


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def report(lost: Lost) -> None:
    letter = "B" if isinstance(lost.error, ConnectionLost) else "L"
    for element in lost.elements:
        say(f"{letter} {element.decode()}")
    if not lost.elements:
        say("U")


def client() -> Client[str]:
    return Client(url, on_lost=report, timeout=30, limit=int(os.environ.get("LIMIT", "100")))


async def work(r: Client[str]) -> None:
    global popped
    while True:
        found = await r.blpop("q", 0)
        assert found is not None
        say(f"P {found[1]}")
        popped += 1


async def busy(r: Client[str]) -> None:
    """Start the workers and return in the middle of it."""
    await r.ping()
    tasks.extend(asyncio.create_task(work(r)) for _ in range(WORKERS))
    while popped < ENOUGH:
        await asyncio.sleep(0.001)


async def local() -> None:
    """Leave with a client that nobody else knows."""
    await busy(client())


async def cancels() -> None:
    await local()
    for task in tasks:
        task.cancel()


async def settles() -> None:
    await cancels()
    await asyncio.sleep(0.004)


async def raises() -> None:
    await local()
    raise LookupError


async def interrupted() -> None:
    await local()
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(10)


async def interrupted_twice() -> None:
    await local()
    os.kill(os.getpid(), signal.SIGINT)
    try:
        await asyncio.sleep(10)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(10)


async def exits() -> None:
    await local()
    asyncio.get_running_loop().call_soon(sys.exit)
    await asyncio.sleep(10)


async def stops() -> None:
    await local()
    asyncio.get_running_loop().stop()
    await asyncio.sleep(10)


async def collected() -> None:
    """Go on in the same loop after the client has gone."""
    await cancels()
    await asyncio.wait(tasks)
    tasks.clear()
    await asyncio.sleep(3)


def new_loop() -> asyncio.AbstractEventLoop:
    if kind == "uvloop":
        import uvloop  # noqa: PLC0415 (it need not be there)

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def run(main: Callable[[], object]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())  # type: ignore[arg-type]


def bare(main: Callable[[], object], *, shutdown: bool = False, close: bool = True) -> None:
    loop = new_loop()
    try:
        loop.run_until_complete(main())  # type: ignore[arg-type]
    except (KeyboardInterrupt, RuntimeError):
        pass
    if shutdown:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(loop.shutdown_asyncgens())
    if close:
        tasks.clear()
        loop.close()
        say("closed")


def several() -> None:
    r = client()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(busy(r))
        runner.run(asyncio.sleep(0.01))
        runner.run(r.ping())


def in_thread(function: Callable[[], None], daemon: bool = False) -> None:
    thread = threading.Thread(target=function, daemon=daemon)
    thread.start()
    if not daemon:
        thread.join()


def daemon() -> None:
    loop = new_loop()
    in_thread(loop.run_forever, daemon=True)
    asyncio.run_coroutine_threadsafe(local(), loop).result()


def stopped_thread() -> None:
    loop = new_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(local(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def closed_elsewhere() -> None:
    """Close the client in one loop while the other, in which it pops, ends."""
    r = client()

    async def main() -> None:
        await busy(r)

    thread = threading.Thread(target=run, args=(main,))
    thread.start()
    while popped < ENOUGH:
        pass
    asyncio.run(r.aclose())
    thread.join()


def dropped() -> None:
    """Let the loop and all in it go without a word."""
    bare(local, close=False)
    tasks.clear()
    gc.collect()
    say("collected")


def begun() -> None:
    """End with commands that were never sent."""

    async def main() -> None:
        r = client()
        await asyncio.gather(*(r.blpop("none", 0.1) for _ in range(5)))
        for _ in range(5):
            tasks.append(asyncio.create_task(work(r)))
        await asyncio.sleep(0)

    bare(main)


WAYS: dict[str, Callable[[], None]] = {
    "run": lambda: run(local),
    "run, cancelled": lambda: run(cancels),
    "run, settling": lambda: run(settles),
    "run, exception": lambda: run(raises),
    "run, interrupted": lambda: run(interrupted),
    "run, exit": lambda: run(exits),
    "run, stop": lambda: run(stops),
    "runner": several,
    "thread": lambda: in_thread(lambda: run(local)),
    "daemon": daemon,
    "closed elsewhere": closed_elsewhere,
    "collected": lambda: run(collected),
    "shutdown": lambda: bare(local, shutdown=True),
    # From here on, the loop has no time to put anything back.
    "run, interrupted twice": lambda: run(interrupted_twice),
    "close": lambda: bare(local),
    "close, cancelled": lambda: bare(cancels),
    "close, settling": lambda: bare(settles),
    "close, interrupted": lambda: bare(interrupted),
    "close, stop": lambda: bare(stops),
    "close, thread": stopped_thread,
    "close, never sent": begun,
    "never closed": lambda: bare(local, close=False),
    "dropped": dropped,
}

if __name__ == "__main__":
    WAYS[way]()
