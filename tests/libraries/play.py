"""A scenario's run on a server of its own, watched from that server: how many connections came, and from which library.

Owns the server, the process of the scenario and the observer. The observer keeps one connection, which is not counted
and which outlives the CLIENT KILL that a scenario asks for.
"""

from __future__ import annotations

import asyncio
import asyncio.subprocess
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aioresp import Client
from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.libraries import Combination
from tests.libraries.stage import KILL, KILLED, REPEATED
from tests.servers import MATRIX

#: Servers to try, the first that is there. CLIENT LIST shows the client's library since Redis 7.2.
PREFERRED: Final = ("redis-8.0", "valkey-9.1", "valkey-8.1")

#: Seconds that one run may take.
PATIENCE: Final = 200

STAGE: Final = Path(__file__).parent / "stage.py"

#: What Python and aioresp say on standard error about something that was left behind.
COMPLAINTS: Final = (
    "exception was never retrieved",
    "was never awaited",
    "Task was destroyed",
    "Exception ignored in",
    "unclosed",
    "Exception in callback",
    "Unhandled",
)


class TooOld(Exception):
    """The server does not keep the names of client libraries."""


@dataclass(frozen=True)
class Run:
    """What a run left behind."""

    status: int | None
    """The exit status; None after a run that took too long, and was ended."""
    output: str
    """The end of what it printed, on both ways."""
    connections: int
    """Connections that the server received from it."""
    libraries: frozenset[str]
    """The libraries that its connections named, "redis-py(aioresp)" on the layer; very short ones may be missing."""
    complaints: frozenset[str]
    """Kinds of words on standard error about something that was left behind."""
    repeated: int
    """Calls that failed after a CLIENT KILL, and were repeated."""

    def __str__(self) -> str:
        names = ", ".join(sorted(self.libraries)) or "unnamed"
        return f"status {self.status}, {self.connections} connections of {names}\n{self.output}"


def a_server() -> Server:
    """Return a server that keeps the names of client libraries, if one is there; otherwise the default one."""
    for name in PREFERRED:
        for wanted in MATRIX:
            if wanted.name == name and wanted.is_there:
                return start_server(executable=str(wanted.program))
    return start_server()


async def play(combination: Combination, python: Path, layer: bool) -> Run:
    """Run the scenario of `combination`, on plain redis-py or on the layer. Raises TooOld before it begins."""
    async with a_server() as server, Client(server.url) as observer:
        if server.version < (7, 2):
            raise TooOld(f"{server!r} does not keep the names of client libraries: `make servers` gets one that does")
        own = (await observer.client_info()).id
        before = await _received(observer)
        names: dict[int, str] = {}
        process = await asyncio.create_subprocess_exec(
            *(str(python), str(STAGE), str(combination.file), server.url, *(["--layer"] if layer else [])),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # What the tests run under must not reach the library's environment.
            env={n: v for n, v in os.environ.items() if not n.startswith(("PYTHON", "VIRTUAL_ENV", "AIORESP_"))},
        )
        assert process.stdout is not None
        assert process.stderr is not None
        watching = asyncio.create_task(_watch(observer, own, names))
        errors = asyncio.create_task(_tail(process.stderr))
        said: list[str] = []
        try:
            async with asyncio.timeout(PATIENCE):
                await _converse(process, observer, said)
                status: int | None = await process.wait()
        except TimeoutError:
            status = None
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            watching.cancel()
            await asyncio.wait([watching])
        if not watching.cancelled():
            watching.result()
        errors_text = await errors
        return Run(
            status,
            "".join(said)[-2000:] + errors_text[-6000:],
            await _received(observer) - before,
            frozenset(filter(None, names.values())),
            frozenset(text for text in COMPLAINTS if text in errors_text),
            sum(line.startswith(REPEATED) for line in said),
        )


async def _received(observer: Client[str]) -> int:
    return int((await observer.info("stats"))["total_connections_received"])


async def _watch(observer: Client[str], own: int, names: dict[int, str]) -> None:
    """Note the library of each connection but `own`, again and again."""
    while True:
        for client in await observer.client_list():
            if client.id != own:
                names[client.id] = client.lib_name or ""
        await asyncio.sleep(0.05)


async def _converse(process: asyncio.subprocess.Process, observer: Client[str], said: list[str]) -> None:
    """Read what the scenario prints until it ends, and end its connections when it asks for that."""
    assert process.stdout is not None
    assert process.stdin is not None
    async for line in process.stdout:
        text = line.decode(errors="replace")
        if text.strip() != KILL:
            said.append(text)
            continue
        for kind in ("normal", "pubsub"):
            await observer.client_kill_filter(_type=kind)
        process.stdin.write(f"{KILLED}\n".encode())
        await process.stdin.drain()


async def _tail(stream: asyncio.StreamReader) -> str:
    return (await stream.read()).decode(errors="replace")
