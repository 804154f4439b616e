"""Runner of one scenario, inside the environment of its library: `python stage.py FILE URL [--layer]`.

Owns the installation of the layer, and the request to the tests that the server end all connections. Standard output
and input belong to that request. Imports nothing but the standard library, and aioresp only with `--layer`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

#: The line that asks for the connections' end, and the line that answers it.
KILL, KILLED = "@kill", "@killed"

#: How a line begins that tells of a call that failed and is repeated.
REPEATED = "@repeated"

T = TypeVar("T")


async def kill_connections() -> None:
    """Have the server end each connection of this process by CLIENT KILL; return when all have seen that."""
    print(KILL, flush=True)
    answer = await asyncio.to_thread(sys.stdin.readline)
    if answer.strip() != KILLED:
        raise RuntimeError(f"the connections were not ended: {answer!r}")
    # A redis-py without retries raises for a connection whose end has not been read.
    await asyncio.sleep(0.2)


async def repeated(call: Callable[[], Awaitable[T]], times: int = 30) -> T:
    """Return what `call()` does, again after each error: the pool of redis-py 8 hands out connections that are dead.

    The tests count the errors, and allow none with the layer.
    """
    for _ in range(times):
        try:
            return await call()
        except Exception as error:
            print(f"{REPEATED} {error!r}", flush=True)
    return await call()


async def until(happened: Callable[[], object], what: str, seconds: float = 100) -> None:
    """Wait until `happened()` is true; raise AssertionError with `what` if that takes too long."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s until {what}")
        await asyncio.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("url")
    parser.add_argument("--layer", action="store_true")
    asked = parser.parse_args()
    if asked.layer:
        import aioresp.redis  # noqa: PLC0415 (without --layer nothing of aioresp may be there)

        aioresp.redis.install()
    # Libraries look functions and models up by the name of their module.
    name = "scenario"
    spec = importlib.util.spec_from_file_location(name, asked.file)
    assert spec is not None
    assert spec.loader is not None
    # Some libraries take the server from the environment while they are imported.
    os.environ["SCENARIO_URL"] = asked.url
    scenario = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scenario)
    asyncio.run(scenario.main(asked.url))
    if not asked.layer:
        loaded = sorted(module for module in sys.modules if module.partition(".")[0] == "aioresp")
        assert not loaded, f"without the layer, aioresp was imported: {loaded}"


if __name__ == "__main__":
    main()
