"""Work of `aioresp bench`: from the words of the command line to what is printed and saved.

Owns the order of the output, and what is shown of a run that was broken off. Never measures.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from aioresp.cli.bench import figures
from aioresp.cli.bench.compare import check, compare, remarks
from aioresp.cli.bench.loops import factory, uvloop_installed
from aioresp.cli.bench.plan import Plan
from aioresp.cli.bench.progress import Progress, planned
from aioresp.cli.bench.run import View
from aioresp.cli.bench.run import run as measure
from aioresp.cli.bench.screen import Lines, Nothing, Screen
from aioresp.cli.bench.summary import print_comparison, print_summary
from aioresp.cli.bench.template import BadCommand, Template, named, written
from aioresp.cli.console import console
from aioresp.cli.faults import Fault
from aioresp.cli.interrupt import run
from aioresp.cli.target import Target


def plan(words: Sequence[str], tests: Sequence[str], **options: Any) -> Plan:
    """Return the plan of a command line. Raises typer.BadParameter for what is never run."""
    try:
        made = Plan(templates(words, tests), **options)
        made.check()
        made = replace(made, rounds=made.rounds_of_use)
    except BadCommand as error:
        raise typer.BadParameter(str(error)) from None
    if made.loop == "uvloop" and not uvloop_installed():
        raise typer.BadParameter("--loop uvloop needs the package uvloop: pip install 'aioresp[uvloop]'")
    return made


def templates(words: Sequence[str], tests: Sequence[str]) -> tuple[Template, ...]:
    """Return the command of the user, or those that -t names."""
    if words:
        try:
            # "GET user:{rand}" in quotes is one word of the shell.
            found = shlex.split(words[0]) if len(words) == 1 else list(words)
        except ValueError as error:
            raise BadCommand(f"'{words[0][:60]}': {error}") from None
        if not found:
            raise BadCommand("the command is empty")
        return (written(found),)
    if not tests:
        raise BadCommand("-t names no test")
    return tuple(named(name) for name in dict.fromkeys(each.lower() for each in tests))


def bench(
    target: Target,
    made: Plan,
    *,
    save: Path | None,
    against: Path | None,
    json: bool,
    warn: Callable[[str], None],
) -> None:
    """Measure, print and save. Figures of a run that an error or Ctrl-C has ended are shown, too."""
    saved = None if against is None else figures.load(against)
    progress = planned(made, target.shown)
    if saved is not None:
        compare_plans(saved, progress)
    view = _view(json)
    try:
        run(measure(target, progress, view, warn), factory(made.loop, exact=made.rate is not None))
    except BaseException:
        if progress.measured:
            _show(progress, figures.figures(progress), json)
        raise
    found = figures.figures(progress)
    _show(progress, found, json, saved, against)
    if save is not None:
        try:
            save.write_text(figures.to_json(found) + "\n", encoding="utf-8")
        except OSError as error:
            raise Fault(f"--save: {save}: {error.strerror}") from None
        if not json:
            typer.echo(f"\nThe figures are in {save}.")


def compare_plans(saved: dict[str, Any], progress: Progress) -> None:
    """Raise Fault before the run, if the saved one did other work."""
    commands = [
        {"name": template.name, "command": template.words, "ways": [{"way": way} for way in progress.plan.ways]}
        for template in progress.plan.templates
    ]
    check(saved, {"plan": progress.plan.facts(), "commands": commands})


def _show(
    progress: Progress,
    found: dict[str, Any],
    json: bool,
    saved: dict[str, Any] | None = None,
    against: Path | None = None,
) -> None:
    differences = None if saved is None else compare(saved, found)
    if json:
        if differences is not None and saved is not None:
            said = [{**vars(each), "change": round(each.change, 4)} for each in differences]
            found = {**found, "against": {"remarks": remarks(saved, found), "differences": said}}
        typer.echo(figures.to_json(found))
        return
    out = Console()
    print_summary(out, progress)
    if differences is not None and saved is not None:
        print_comparison(out, differences, remarks(saved, found), against)


def _view(json: bool) -> View:
    """Return the display: live on a terminal, even if standard output gets JSON."""
    chosen, live = console(json)
    if live:
        return Screen(chosen)
    return Nothing() if json else Lines(chosen)
