"""Starter of an application: a server at hand, and named processes that live and end together.

Owns the addresses, the restarts and the end of the processes, and prints their lines. Never knows what they do.
Each of them has AIORESP_URL, and WEB_URLS with the addresses of the web servers that were added as "web".
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from aioresp.errors import RedisError
from aioresp.testing import ServerFailed, ServerNotFound
from examples.shared.ground import server_at_hand
from examples.shared.member import GRACE, HOPELESS

LIVELY = 3.0  # seconds after which a process has started well
ATTEMPTS = 5  # starts in a row that fail before all is given up
COLOURS = (36, 35, 33, 32, 34, 31)


def arguments(name: str, about: str, **counts: int) -> argparse.ArgumentParser:
    """Return a parser with `--port`, and an option for each kind of process: `workers=2` makes `--workers`."""
    parser = argparse.ArgumentParser(prog=f"python -m examples.{name}", description=about)
    parser.add_argument(
        "--port", type=_number, default=8000, help="first port of the pages; 0 takes any (default: 8000)"
    )
    for kind, count in counts.items():
        parser.add_argument(
            f"--{kind}", type=_number, default=count, metavar="N", help=f"processes of this kind (default: {count})"
        )
    return parser


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return int(text)


@dataclass
class Member:
    """One process: its name, its module with arguments, and the socket that it serves if it is a web server."""

    name: str
    command: tuple[str, ...]
    listener: socket.socket | None
    process: asyncio.subprocess.Process | None = None

    async def start(self, environment: dict[str, str], alive: int) -> asyncio.StreamReader:
        """Start the process, and return its output."""
        own, fds = {"FLEET_NAME": self.name, "FLEET_ALIVE": str(alive)}, [alive]
        if self.listener is not None:
            fds.append(self.listener.fileno())
            own["FLEET_LISTENER"] = str(self.listener.fileno())
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "examples.shared.member", *self.command),
            env={**environment, **own},
            pass_fds=fds,
            start_new_session=True,  # Ctrl-C reaches the starter alone, which ends the others in good order
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1 << 20,
        )
        assert self.process.stdout is not None
        return self.process.stdout

    def signal(self, number: int) -> None:
        """Send a signal, if the process runs."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)


class Fleet:
    """The processes of an application: `add` them, then `run` them until Ctrl-C or SIGTERM."""

    def __init__(self, name: str, *, port: int = 8000) -> None:
        self.name = name
        self._port = port
        self._members: list[Member] = []
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._page = ""
        self._stop = asyncio.Event()
        self._starting: asyncio.Task[int] | None = None  # until a server is at hand
        self._status = 0

    def add(self, name: str, module: str, *words: str, count: int = 1, web: bool = False) -> None:
        """Add `count` processes that run a module with these arguments; each web server gets a socket."""
        urls = []
        for number in range(1, count + 1):
            listener = self._listen() if web else None
            if listener is not None:
                urls.append(f"http://127.0.0.1:{listener.getsockname()[1]}")
            self._members.append(Member(f"{name}-{number}" if count > 1 else name, (module, *words), listener))
        if urls:
            self._environment[f"{name.upper()}_URLS"] = " ".join(urls)
            self._page = self._page or urls[0]

    def run(self) -> int:
        """Run all processes, those that die again and again, until a signal comes; return the exit code."""
        try:
            return asyncio.run(self._run())
        except asyncio.CancelledError:
            return self._status
        except (ServerFailed, ServerNotFound, RedisError) as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            return 1

    def _listen(self) -> socket.socket:
        try:
            listener = socket.create_server(("127.0.0.1", self._port), backlog=1024)
        except (OSError, OverflowError) as error:
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
            advice = "choose another by --port, or any by --port 0 (with make: ARGS='--port 0')"
            sys.exit(f"{self.name}: port {self._port}: {why}; {advice}")
        self._port += bool(self._port)
        return listener

    async def _run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._end, 128 + number)
        async with AsyncExitStack() as stack:
            self._starting = asyncio.current_task()
            url = await stack.enter_async_context(server_at_hand(partial(self._say, self.name)))
            self._starting = None
            self._environment["AIORESP_URL"] = url
            alive, held = os.pipe()  # the second end is held by this process alone: the others see when it is gone
            stack.callback(os.close, held)
            keepers = [asyncio.create_task(self._keep(each, alive)) for each in self._members]
            self._say(self.name, f"open {self._page}   (Ctrl-C ends all)" if self._page else "Ctrl-C ends all")
            await self._stop.wait()
            for number in (signal.SIGTERM, signal.SIGKILL):
                for each in self._members:
                    each.signal(number)
                if keepers:
                    await asyncio.wait(keepers, timeout=GRACE)
        return self._status

    async def _keep(self, member: Member, alive: int) -> None:
        """Run a process, again whenever it has died."""
        failures = 0
        while not self._stop.is_set():
            began = time.monotonic()
            output = await member.start(self._environment, alive)
            if self._stop.is_set():  # the signal came during the start
                member.signal(signal.SIGTERM)
            async for line in output:
                self._say(member.name, line.decode(errors="replace").rstrip())
            assert member.process is not None
            status = await member.process.wait()
            if self._stop.is_set():
                return
            if status == HOPELESS:
                return self._end(1)
            failures = 1 if time.monotonic() - began > LIVELY else failures + 1
            if failures == ATTEMPTS:
                self._say(self.name, f"{member.name} has failed at {ATTEMPTS} starts in a row: all is ended")
                return self._end(1)
            how = f"died of {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            self._say(self.name, f"{member.name} {how}, and is started again")
            await asyncio.sleep(0.1 * 2**failures)

    def _end(self, status: int) -> None:
        """End all processes; at once if they are being ended already."""
        if self._starting is not None:
            self._starting.cancel()
        if self._stop.is_set():
            for each in self._members:
                each.signal(signal.SIGKILL)
        self._status = self._status or status
        self._stop.set()

    def _say(self, name: str, line: str) -> None:
        names = [self.name, *(each.name for each in self._members)]
        label = f"{name:{max(map(len, names))}} |"
        if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
            label = f"\x1b[{COLOURS[names.index(name) % len(COLOURS)]}m{label}\x1b[0m"
        try:
            print(label, line, flush=True)
        except BrokenPipeError:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (it stays open to the end)
            self._end(128 + signal.SIGPIPE)
