"""Words of `aioresp bench` on the command line.

Owns the options and their limits. Never imports what is slow until the command runs.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from aioresp.cli.faults import complain
from aioresp.cli.target import Target, connecting


class Loop(Enum):
    """Event loop of a benchmark."""

    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


def _writable(path: Path | None) -> Path | None:
    """Complain before the run, not after it."""
    if path is not None and (
        path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK)
    ):
        raise typer.BadParameter(f"{path} cannot be written")
    return path


def _with_or_without_url(command: Callable[..., None]) -> Callable[..., None]:
    """Take a first word that is no URL for the first word of the command to measure."""

    @functools.wraps(command)
    def bench(**given: Any) -> None:
        url: str | None = given.get("url")
        if url is not None and "://" not in url:
            given["command"] = [url, *(given.get("command") or [])]
            given["url"] = None
        command(**given)

    vars(bench).pop("__wrapped__")  # its parameters would be read
    bench.__signature__ = inspect.signature(command)  # type: ignore[attr-defined]
    return bench


@_with_or_without_url
@connecting
def bench(
    target: Target,
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND",
            show_default=False,
            help="A command of your own in place of -t, such as: GET user:{rand}, or: SET {key} {data}. "
            "{rand} is a number below -r, {seq} one that grows, {data} a value of -d bytes, {key} a key of the "
            "benchmark, and {prefix} what these keys begin with.",
        ),
    ] = None,
    tests: Annotated[
        str,
        typer.Option(
            "-t", "--tests", metavar="NAMES", help="The commands, as redis-benchmark names them: set,get,incr,..."
        ),
    ] = "set,get",
    tasks: Annotated[int, typer.Option("-c", "--tasks", min=1, help="How many tasks call at a time.")] = 50,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many commands each way sends.")] = 100_000,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0.05, max=86_400, help="Measure each way for this time, in place of -n."),
    ] = None,
    pipeline: Annotated[int, typer.Option("-P", "--pipeline", min=1, help="How many commands a pipeline has.")] = 1,
    size: Annotated[int, typer.Option("-d", "--size", min=1, help="Bytes of a value.")] = 3,
    keys: Annotated[int, typer.Option("-r", "--keys", min=1, help="How many keys are used, drawn at random.")] = 10_000,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", min=0.1, help="Commands a second: the time of each counts from when it was due (open loop)."
        ),
    ] = None,
    ways: Annotated[
        str, typer.Option("--ways", metavar="NAMES", help="Some of fresh, classic and shared.")
    ] = "fresh,classic,shared",
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=100, help="Rounds, in which the ways take turns.")] = 5,
    loop: Annotated[Loop, typer.Option("--loop", help="The event loop.")] = Loop.ASYNCIO,
    my_keys: Annotated[
        bool, typer.Option("--my-keys", help="Allow a command that writes your own keys; they are not deleted.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", callback=_writable, help="Write the figures to a file.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="FILE", help="Compare with a run that was saved.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON, and nothing else.")] = False,
) -> None:
    """Measure a server by fresh connections, a classic pool and the shared pool, side by side.

    Keys have a random prefix and are deleted at the end, also after Ctrl-C. Commands that would hurt a server are
    refused.
    """
    from aioresp.cli.bench import work  # noqa: PLC0415 (`aioresp --help` does without it)

    made = work.plan(
        command or [],
        tests=_listed(tests),
        ways=tuple(dict.fromkeys(_listed(ways))),
        tasks=tasks,
        count=count,
        seconds=seconds,
        pipeline=pipeline,
        size=size,
        keys=keys,
        rate=rate,
        rounds=rounds,
        loop=loop.value,
        my_keys=my_keys,
    )
    work.bench(target, made, save=save, against=against, json=json, warn=functools.partial(complain, "bench"))


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
