"""Show of `aioresp serve`: its run, and what it prints.

Owns the words. Never starts anything by itself.
"""

from __future__ import annotations

import json
import os

import typer
from rich.console import Console
from rich.text import Text

from aioresp.cli.called import called
from aioresp.cli.faults import Fault, complain
from aioresp.cli.interrupt import Interrupted, run
from aioresp.cli.serve.run import Ready
from aioresp.cli.serve.run import run as serve
from aioresp.cli.serve.wanted import Wanted
from aioresp.cli.target import ADDRESSES


def show(wanted: Wanted, as_json: bool) -> None:
    """Run what is wanted until Ctrl-C, and say when it is ready."""
    console = Console(highlight=False)

    def announce(ready: Ready) -> None:
        if as_json:
            typer.echo(json.dumps(_facts(wanted, ready)))
        else:
            _introduce(console, wanted, ready)

    try:
        run(serve(wanted, announce, lambda line: complain("serve", line)))
    except Interrupted as end:  # how it is meant to end
        if isinstance(end.__cause__, Fault):  # it could not save
            raise end.__cause__ from None
    if not as_json:
        where = "nothing was kept" if wanted.folder is None else f"the keys are in {wanted.folder.absolute()}"
        typer.echo(f"\nended; {where}")


def _facts(wanted: Wanted, ready: Ready) -> dict[str, object]:
    return {
        "url": ready.url,
        "flavour": ready.flavour,
        "version": ready.version,
        "ports": ready.ports,
        "pids": ready.pids,
        "password": wanted.password is not None,
        "dir": None if wanted.folder is None else str(wanted.folder.absolute()),
        "append_only": wanted.logs,
        "keys": ready.keys,
    }


def _introduce(console: Console, wanted: Wanted, ready: Ready) -> None:
    """Say what is ready, how to connect, and what is kept."""
    what = "cluster of six" if wanted.cluster else "server"
    console.print(
        Text.assemble(("aioresp serve", "bold"), "  ", f"{ready.flavour} {ready.version}", (f"  {what}", "dim"), "\n")
    )
    rows = [("address", Text(_short(wanted, ready), "bold green"))]
    if wanted.cluster:
        rows.append(("ports", Text(", ".join(map(str, ready.ports)))))
    if wanted.password is not None:
        rows.append(("password", Text("as given; commands take it from REDISCLI_AUTH")))
    if wanted.everywhere:
        rows.append(("reached by", Text("all machines that reach this one")))
    elif wanted.shown_host == "127.0.0.1":
        rows.append(("reached by", Text("this machine only")))
    rows.append(("keeps", Text(_kept(wanted, ready))))
    client = "Cluster" if wanted.cluster else "Client"
    login = "" if wanted.password is None else ', password="..."'
    rows.append(("in Python", Text(f'{client}("{_short(wanted, ready)}"{login})')))
    rows.append(("look at it", Text(f"{called()} monitor{_given(wanted, ready)}")))
    rows.append(("Ctrl-C", Text("ends it")))
    for name, text in rows:
        console.print(Text.assemble((f"  {name:<12}", "dim"), text), soft_wrap=True)
    console.file.flush()


def _short(wanted: Wanted, ready: Ready) -> str:
    """Return a URL that is easily typed: one node of a cluster knows the others."""
    return f"redis+cluster://127.0.0.1:{ready.ports[0]}" if wanted.cluster else ready.url


def _given(wanted: Wanted, ready: Ready) -> str:
    plain = not wanted.cluster and ready.ports == (6379,) and wanted.shown_host == "127.0.0.1"
    return "" if plain and not any(os.environ.get(name) for name in ADDRESSES) else f" {_short(wanted, ready)}"


def _kept(wanted: Wanted, ready: Ready) -> str:
    if wanted.folder is None:
        return "nothing: all keys are gone when it ends" + ("" if wanted.cluster else " (--dir DIR keeps them)")
    when = "each write, within a second" if wanted.logs else "all keys when it ends, and now and then before"
    before = f"; {ready.keys:,} are there from before" if ready.keys else ""
    return f"{when}, in {wanted.folder.absolute()}{before}"
