"""Runs of the monitor: once as text or JSON, line by line, and on the screens.

Owns the order of what is asked, and where it is printed. Never draws.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from aioresp.cli.faults import Fault
from aioresp.cli.interrupt import run
from aioresp.cli.monitor.form import VERSION, line
from aioresp.cli.monitor.live import Live
from aioresp.cli.monitor.record import Recorder
from aioresp.cli.monitor.replay import Replay
from aioresp.cli.monitor.source import Moment, Source
from aioresp.cli.monitor.text import text
from aioresp.cli.target import Target

#: Module of the screens, which takes a second to import.
_SCREENS: Final = "aioresp.cli.monitor.screens.app"


def source(
    target: Target, queues: Sequence[str], record: Path | None = None, replay: Path | None = None, speed: float = 1.0
) -> Source:
    """Return what the options ask for. Raises Fault for a file that cannot be used."""
    # The monitor says by itself what ails the server; lines of a log would spoil the screens.
    logging.getLogger("aioresp").addHandler(logging.NullHandler())
    if replay is not None:
        return Replay(replay, speed)
    live = Live(target, queues)
    return live if record is None else Recorder(live, record)


def once_as_text(*chosen: Any) -> None:
    """Print one moment as text."""
    said = run(_once(*chosen))[1]
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(said.encode(encoding, "replace").decode(encoding))  # not every terminal knows a µ


def once_as_json(*chosen: Any) -> None:
    """Print one moment as a JSON object."""
    print(run(_once(*chosen))[0])


async def _once(*chosen: Any) -> tuple[str, str]:
    """Return one moment as JSON and as text: two readings a second apart, so that the rates are real."""
    watched = source(*chosen)
    try:
        moment = await _read(watched)
        if watched.timeline is not None:
            watched.timeline.seek(watched.timeline.end)
        else:
            await asyncio.sleep(1.0)
            await watched.commands(now=True)
        moment = await _read(watched)
        listings = (await watched.clients(), await watched.commands(), await watched.slow(), await watched.queues())
        return line(_report(moment, listings)), text(moment, *listings)
    finally:
        await watched.aclose()


async def _read(watched: Source) -> Moment:
    moment = await watched.read()
    if moment.whole.reading is None and moment.whole.trouble:
        raise Fault(moment.whole.sentence(moment.address, moment.at).removesuffix("; trying again"))
    return moment


def _report(moment: Moment, listings: tuple[Any, Any, Any, Any]) -> dict[str, Any]:
    clients, commands, slow, queues = listings
    return {
        "v": VERSION,
        "kind": "report",
        "at": time.time(),
        "moment": moment,
        "clients": clients,
        "commands": commands,
        "slow": slow,
        "queues": queues,
    }


def stream(*chosen: Any, period: float, silent: bool) -> None:
    """Print a line of JSON each period, or, if `silent`, only record, until the process is told to end."""
    run(_stream(source(*chosen), period, silent))


async def _stream(watched: Source, period: float, silent: bool) -> None:
    loop = asyncio.get_running_loop()
    try:
        due = loop.time()
        while True:
            moment = await watched.read()
            listings = (
                await watched.clients(),
                await watched.commands(),
                await watched.slow(),
                await watched.queues(),
            )
            if not silent:
                print(line(_report(moment, listings)), flush=True)
            elif isinstance(watched, Recorder) and watched.failed:
                raise Fault(f"--record: {watched.failed}")  # a screen or a line of JSON says so, and goes on
            timeline = watched.timeline
            if timeline is not None and timeline.at >= timeline.end:
                return
            due = max(due + period, loop.time())
            await asyncio.sleep(due - loop.time())
    finally:
        await watched.aclose()


def show(*chosen: Any, period: float) -> int:
    """Show the screens, and return the exit code."""
    watched = source(*chosen)
    screens = importlib.import_module(_SCREENS)
    code: int = screens.run(watched, period=period)
    return code
