"""Programs in processes that are forked: to start Python and to import aioresp takes longer than most of them.

Owns the process that forks, and the time that a program may take.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.snippets import ROOT

#: Runs programs, each as the only one of a process that forks here. A line names a program, its arguments, its URL,
#: its folder, whether its end is short, and the files for what it prints; the answer is its status. asyncio's remarks
#: on slow callbacks are about this machine.
BOOT: Final = """
import ast, asyncio, atexit, gc, inspect, json, logging, os, sys, threading
from aioresp import Client
gc.freeze()  # or the end of each process goes through all that is imported here
logging.getLogger("asyncio").addFilter(lambda record: not record.getMessage().startswith("Executing"))
for line in sys.stdin:
    path, arguments, url, folder, short, *files = json.loads(line)
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
os.chdir(folder)
os.environ["AIORESP_URL"] = url
sys.argv = [path, *arguments]
for at, name in enumerate((os.devnull, *files)):
    opened = os.open(name, os.O_CREAT | os.O_RDWR)
    os.dup2(opened, at)
    os.close(opened)
with open(path, encoding="utf-8") as file:
    code = compile(file.read(), path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
names = {"__name__": "__main__", "__file__": path, "Client": Client}
async def as_typed():
    if "+cluster://" in url:
        from aioresp import Cluster as Client
    else:
        from aioresp import Client
    async with Client(url) as names["r"]:
        await eval(code, names)
asyncio.run(as_typed()) if code.co_flags & inspect.CO_COROUTINE else exec(code, names)
if short:
    threading._shutdown()
    atexit._run_exitfuncs()
    names.clear()
    gc.collect()  # what the program left open warns
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
"""

#: A program that is a run of pytest, with its arguments.
PYTEST: Final = """
import os, sys
import pytest
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
if status := pytest.main():
    sys.exit(status)
"""

#: Seconds that a program may take.
PATIENCE: Final = 50


def environment() -> dict[str, str]:
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    # The allocator that "-X dev" chooses is slow, and nothing here is written in C.
    return os.environ | {"PYTHONPATH": search, "PYTHONMALLOC": "pymalloc"}


class Runner:
    """Process with options for Python, which forks for each program, after the statements `first`."""

    def __init__(self, *options: str, first: str = "") -> None:
        words = [sys.executable, *options, "-c", f"{first}\n{BOOT}"]
        self.process = subprocess.Popen(
            words, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self.process:  # which closes its standard input, and waits
            pass

    def run(self, program: Path, url: str, folder: Path, *arguments: str, short: bool = False) -> tuple[int, str, str]:
        """Return the status of a program, what it printed, and what it said on standard error.

        After a `short` end, the process skips the rest of Python's: that takes as long as most programs, for all that
        was imported before the fork. What a program leaves open warns; at Python's own end, it is too late for that.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        printed = folder / "stdout", folder / "stderr"
        for file in printed:
            file.unlink(missing_ok=True)
        line = json.dumps([str(program), arguments, url, str(folder), short, *map(str, printed)])
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        alarm = threading.Timer(PATIENCE, os.killpg, (self.process.pid, signal.SIGKILL))
        alarm.start()
        status = self.process.stdout.readline()
        alarm.cancel()
        output, errors = (file.read_text(encoding="utf-8") for file in printed)
        return int(status or -signal.SIGKILL), output, errors
