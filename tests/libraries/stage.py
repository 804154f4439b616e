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
from collections.abc import Callable
from pathlib import Path

#: The line that asks for the connections' end, and the line that answers it.
KILL, KILLED = "@kill", "@killed"


async def kill_connections() -> None:
    """Have the server end each connection of this process by CLIENT KILL; return after that."""
    print(KILL, flush=True)
    answer = await asyncio.to_thread(sys.stdin.readline)
    if answer.strip() != KILLED:
        raise RuntimeError(f"the connections were not ended: {answer!r}")


async def until(happened: Callable[[], object], what: str, seconds: float = 30) -> None:
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
