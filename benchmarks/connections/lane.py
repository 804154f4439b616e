"""One way of one client, in a process of its own: `python -m benchmarks.connections.lane CLIENT WAY URL [CA]`.

Says "ready", and then for each line `TASKS SECONDS` on standard input one line of JSON: commands done, seconds and the
processor time of this process with all its threads.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time

from .ways import CLIENTS, Place, Way


async def _measured(way: Way, tasks: int, seconds: float) -> dict[str, float]:
    gc.collect()
    cpu, began = time.process_time(), time.perf_counter()
    done = await way(tasks, began + seconds)
    return {"done": done, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


def main() -> None:
    client, name, url, *ca = sys.argv[1:]
    way = CLIENTS[client][0](Place(url, ca[0] if ca else None))[name]
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            tasks, seconds = line.split()
            try:
                answer = runner.run(_measured(way, int(tasks), float(seconds)))
            except BaseException as error:
                while isinstance(error, BaseExceptionGroup):
                    error = error.exceptions[0]
                print(json.dumps({"error": f"{type(error).__name__}: {error}"[:200]}), flush=True)
                raise SystemExit(0) from None
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
