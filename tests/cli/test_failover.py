"""The demonstration `aioresp demo cluster`: a real cluster loses a primary, and figures, lines and chart tell it."""

from __future__ import annotations

import io
import json
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from rich.console import Console
from typer.testing import CliRunner

from aioresp.cli.app import app
from aioresp.cli.failover import run
from aioresp.cli.failover.figures import Figures, LedgerFigures
from aioresp.cli.failover.progress import Progress
from aioresp.cli.failover.screen import Lines, Screen
from aioresp.cli.failover.summary import print_summary, story
from aioresp.cli.interrupt import run as run_coroutine
from tests.cli.test_command import interrupt, started, wait_until

pytestmark = pytest.mark.timeout(90)

TASKS = 90


class Ran(NamedTuple):
    """A run on a small scale."""

    figures: Figures
    progress: Progress
    lines: list[str]


@pytest.fixture(scope="module")
def ran() -> Ran:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "SETTLING", 0.3)
        patch.setattr(run, "BEFORE", 1.0)
        patch.setattr(run, "AFTER", 2.0)
        figures, progress = run_coroutine(run.run(TASKS, Lines(Console(file=out, width=80))))
    return Ran(figures, progress, out.getvalue().splitlines())


def test_one_shard_pauses_and_no_other(ran: Ran) -> None:
    shards = {shard.name: shard for shard in ran.figures.shards}
    failover = ran.figures.failover
    assert list(shards) == ["A", "B", "C"]
    assert [shard.slots for shard in shards.values()] == [(0, 5460), (5461, 10922), (10923, 16383)]
    assert (failover.shard, failover.killed, failover.promoted) == ("B", shards["B"].primary, shards["B"].replica)
    assert 0.5 < failover.seconds_to_promote < 15
    assert shards["B"].longest_pause > 0.5
    assert failover.seconds_to_serve <= shards["B"].longest_pause + 0.5
    assert shards["A"].errors == shards["C"].errors == 0
    for name in "AC":
        assert shards[name].during > shards[name].before / 5  # of some ten tasks a second
    assert shards["B"].during < (shards["A"].during + shards["C"].during) / 4
    assert shards["B"].after > 0


def test_nothing_ran_twice(ran: Ran) -> None:
    ledger = ran.figures.ledger
    assert ledger.twice == 0
    assert ledger.acknowledged == sum(shard.done for shard in ran.progress.shards)
    assert ledger.unknown <= sum(shard.errors for shard in ran.progress.shards)
    assert not any(shard.waiting for shard in ran.progress.shards)


def test_the_lines_tell_what_happens(ran: Ran) -> None:
    first, *rest = ran.lines
    assert first.startswith(f"aioresp demo cluster: {TASKS} tasks")
    assert "about 15 seconds" in first
    text = "\n".join(rest)
    assert (
        len(re.findall(r"^shard [ABC]: primary 127\.0\.0\.1:\d+, replica 127\.0\.0\.1:\d+, slots \d+-\d+$", text, re.M))
        == 3
    )
    assert re.search(r"^ +\d+\.\d s  A \d+/s  B \d+/s.*  C \d+/s$", text, re.M)
    killed, promoted = ran.figures.failover.killed, ran.figures.failover.promoted
    assert text.index(f"{killed}, the primary of B, was killed") < text.index(f"{promoted}, its replica, was promoted")


@pytest.mark.ci
def test_the_summary_the_json_and_the_chart(ran: Ran, tmp_path: Path) -> None:
    from aioresp.cli.failover import plot  # noqa: PLC0415 (it imports matplotlib, in each process that collects)

    out = io.StringIO()
    print_summary(Console(file=out, width=80), ran.figures)
    text = out.getvalue()
    assert max(map(len, text.splitlines()[:12])) <= 80
    assert "No increment ran twice" in text
    found = json.loads(ran.figures.to_json())
    assert [shard["name"] for shard in found["shards"]] == ["A", "B", "C"]
    assert found["ledger"]["twice"] == 0
    plot.draw(tmp_path / "c.png", ran.figures, ran.progress)
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_has_a_line_for_each_node(ran: Ran, width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    with Screen(console).showing(ran.progress):
        pass
    text = out.getvalue()
    rows = [line for line in text.splitlines() if re.match(r"[ABC] +127\.0\.0\.1:\d+ ", line)]
    roles = [row.split()[2] for row in rows[-6:]]
    assert roles == ["primary", "replica", "killed", "promoted", "primary", "replica"]
    assert all(re.search("[▁-█]", row) for row in rows[-6:] if row.split()[2] != "replica")
    assert max(map(len, rows)) <= width


def test_the_story_without_errors(ran: Ran) -> None:
    calm = replace(ran.figures, ledger=LedgerFigures(5, 0, 0, 0))
    assert story(calm)[1].startswith("All 5 calls were acknowledged")


def test_a_cluster_of_ones_own_is_not_killed() -> None:
    done = CliRunner().invoke(app, ["demo", "cluster", "--url", "redis://localhost"])
    assert done.exit_code == 2
    assert "omit --url" in " ".join(done.output.replace("│", "").split())


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("redis+cluster://a:1,b:2", "`aioresp demo cluster` shows a cluster"),
        ("redis+sentinel://s:1/mymaster", "not several servers or sentinels"),
        ("redis://a,b", "not several servers or sentinels"),
    ],
)
def test_the_other_demo_wants_one_server(url: str, advice: str) -> None:
    done = CliRunner().invoke(app, ["demo", "--url", url])
    assert done.exit_code == 1
    assert done.output.startswith("aioresp demo: --url: the demo counts the connections of one server")
    assert advice in done.output


@pytest.mark.ci
@pytest.mark.parametrize("late", [False, True])
def test_ctrl_c_leaves_no_process(late: bool) -> None:
    process = started("cluster", "--count", "100")
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("aioresp demo cluster: 100 tasks")
        wait_until(lambda: bool(psutil.Process(process.pid).children()))
        if late:  # while the tasks are at work, and not while the servers start
            for _ in range(3):
                assert process.stdout.readline().startswith("shard ")
        family = psutil.Process(process.pid).children(recursive=True)
        _, said = interrupt(process, signal.SIGINT)
    assert said == "aioresp demo: interrupted\n"
    assert process.returncode == 130
    assert psutil.wait_procs(family, timeout=5)[1] == []
