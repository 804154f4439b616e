"""Run libraries over redis-py with and without the layer: `python -m tests.libraries saq 'arq-redis-5.2'`.

Prints what the server saw of each run. Exit status 1 if one failed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from fnmatch import fnmatch

from tests.libraries.environments import NoIndex, NotInstalled, python_of
from tests.libraries.play import play
from tests.libraries.test_libraries import COMBINATIONS


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.libraries", description="Run libraries over redis-py.")
    parser.add_argument("--only", choices=("plain", "layer"), help="one of the two ways (default: both)")
    parser.add_argument("--list", action="store_true", help="only tell the names")
    parser.add_argument("--output", action="store_true", help="show the output of runs that pass as well")
    parser.add_argument("name", nargs="*", help="the first letters of a name, or a pattern (default: all)")
    asked = parser.parse_args()
    failed = 0
    for combination in COMBINATIONS:
        if asked.name and not any(fnmatch(combination.name, f"{pattern}*") for pattern in asked.name):
            continue
        if asked.list:
            print(f"{combination.name:<32} {combination.mark:<5} {' '.join(combination.packages)}")
            continue
        try:
            python = await asyncio.to_thread(python_of, combination)
        except (NoIndex, NotInstalled) as error:
            print(f"{combination.name:<32} no environment: {error}")
            failed += 1
            continue
        for way in ("plain", "layer") if asked.only is None else (asked.only,):
            begin = time.monotonic()
            run = await play(combination, python, layer=way == "layer")
            took = time.monotonic() - begin
            names = ", ".join(sorted(run.libraries)) or "unnamed"
            word = "passed" if run.status == 0 else f"FAILED ({run.status})"
            notes = "".join(f"; {text}" for text in sorted(run.complaints))
            notes += f"; {run.repeated} calls failed and were repeated" if run.repeated else ""
            print(
                f"{combination.name:<32} {way}: {word}, {took:.1f} s, {run.connections} connections: {names}{notes}",
                flush=True,
            )
            if run.status != 0 or asked.output:
                print(run.output)
            failed += run.status != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
