"""The parts of the demo that need no server: the figures, the progress, the words, the table, the chart."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from aioresp.cli.demo.figures import (
    Figures,
    KeyFigures,
    RaceFigures,
    RoundFigures,
    ServerFacts,
    ThreadFigures,
    WayFigures,
    percentile,
)
from aioresp.cli.demo.keys import names, new_prefix
from aioresp.cli.demo.lanes import _Children
from aioresp.cli.demo.peer import version
from aioresp.cli.demo.progress import NAMES_AND_COLOURS, Progress, Sample, planned
from aioresp.cli.demo.race import Starter
from aioresp.cli.demo.screen import Screen
from aioresp.cli.demo.summary import print_summary
from aioresp.cli.demo.threads import sets_of_threads
from aioresp.cli.demo.words import place, sentence, short
from aioresp.cli.target import Target

Draw = Callable[[Path, Figures], None]

SERVER = ServerFacts("redis://127.0.0.1:6379", "valkey", "8.1.0", embedded=False)

#: Seconds and connections of the lanes 1 to 6.
FOUND = ((12.8, 10_000), (1.25, 500), (0.65, 10), (0.25, 2), (0.9, 50), (0.8, 20))


def lane(number: int) -> WayFigures:
    seconds, made = FOUND[number - 1]
    faster = sum(other < seconds for other, _ in FOUND)
    name = NAMES_AND_COLOURS[number - 1][0]
    return WayFigures(
        number, name, seconds, 10_000 / seconds, made, made, 0.123456, 1234.5, 12.8 / seconds, faster + 1, 1 / 3
    )


def figures(strangers: int = 0) -> Figures:
    rounds = (RoundFigures(0.5, 50, 50), RoundFigures(0.25, 0, 0))
    threads = ThreadFigures(5, 10, 5_000, rounds, lane(5))
    race = RaceFigures(True, 17.5, sum(made for _, made in FOUND) + strangers)
    keys = KeyFigures("aioresp:demo:0123456789ab:", 60_000, 60_000)
    ways = tuple(lane(number) for number in range(1, 5))
    return Figures("1.0", "3.11.0", SERVER, 10_000, ways, threads, (lane(6),), "8.1.0", race, keys)


def progress(*, in_turn: bool = True) -> Progress:
    """All lanes have run, but for the last, which is in its third second."""
    found = planned(SERVER, dict.fromkeys(range(1, 7), 10_000), in_turn=in_turn)
    for each in found.lanes:
        seconds, made = FOUND[each.number - 1]
        each.begin()
        if each.number == 1:
            each.began = (each.began or 0.0) - 0.7
            each.samples.append(Sample(0.7, 500, 501))
        else:
            each.samples.append(Sample(seconds / 2, 4_000, made))
            each.samples.append(Sample(seconds, 10_000, made))
            each.result = {"seconds": seconds}
    found.received += [0, 40, 562, 1063]
    return found


def shown(found: Progress, width: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width)
    console.print(Screen(console).picture(found))
    return out.getvalue().splitlines()


@pytest.fixture
def draw() -> Draw:
    """Draw a chart, by matplotlib: to import it takes each process that collects half a second."""
    from aioresp.cli.demo import plot  # noqa: PLC0415 (see the docstring above)

    return plot.draw


def test_percentile() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 50) == 50.0
    assert percentile(values, 99) == 99.0
    assert percentile(values, 100) == 100.0
    assert percentile([7.0], 50) == percentile([7.0], 99) == 7.0
    assert percentile([1.0, 2.0], 99) == 2.0


def test_json_rounds_floats_and_keeps_integers() -> None:
    found = json.loads(figures().to_json())
    assert found["ways"][0]["cpu_seconds"] == 0.33333
    assert found["ways"][0]["connections"] == 10_000
    assert found["threads"]["rounds"][1] == {"seconds": 0.25, "connections": 0, "made": 0}
    assert found["server"]["flavour"] == "valkey"


def test_threads_have_enough_to_fill_their_pools() -> None:
    assert sets_of_threads(20) == 5 * 2 * 20
    assert sets_of_threads(10_000) == 10_000
    assert sets_of_threads(10_009) == 10_000


def test_the_keys_of_a_lane_have_the_same_names_in_each_process() -> None:
    prefix = new_prefix()
    found = names(prefix, 4, 300)
    assert found == names(prefix, 4, 300)
    assert len({*found, *names(prefix, 5, 300), *names(new_prefix(), 4, 300)}) == 900
    assert all(name.startswith(prefix) for name in found)


def test_redis_py_has_no_lane_where_it_would_go_elsewhere() -> None:
    assert version(Target("redis://localhost")) is not None
    assert version(Target("redis://localhost?limit=3")) is None
    assert version(Target("valkey://localhost")) is None
    assert version(Target("redis://localhost", {"password": "secret"})) is None


@pytest.mark.parametrize(
    ("value", "said"), [(12.8, "13"), (1_234.5, "1,234"), (9.94, "9.9"), (1.25, "1.2"), (0.254, "0.25"), (0.05, "0.05")]
)
def test_a_number_has_two_digits(value: float, said: str) -> None:
    assert short(value) == said


def test_the_sentence() -> None:
    assert sentence(figures()) == "10,000 connections and 13 s became 2 and 0.25 s."
    assert [place(number) for number in range(1, 7)] == ["1st", "2nd", "3rd", "4th", "5th", "6th"]


def test_lanes_that_ran_alone_are_shown_beside_the_last_by_its_clock() -> None:
    lines = shown(progress(), 80)
    rows = {name: next(line for line in lines if name in line).split() for name, _ in NAMES_AND_COLOURS}
    assert rows["the shared pool, Client()"][0] == "1st"
    assert rows["the shared pool, Client()"][-3:] == ["40,000", "2", "0.25"]
    assert rows["a pool of 10 connections"][0] == "2nd"
    running = rows["a client for a job of 20"]  # 0.7 s of its 1.25 s are shown so far
    assert running[:3] == ["a", "client", "for"]
    assert running[-2] == "500"
    assert 0.69 < float(running[-1]) < 1.25
    assert "side by side" in lines[0]
    assert any("total_connections_received  +1,063" in line for line in lines)


def test_no_place_is_given_before_the_last_lane_runs() -> None:
    found = progress()
    last = found.lanes[-1]
    last.began, last.samples = None, last.samples[:1]
    text = "\n".join(shown(found, 80))
    assert "1st" not in text
    assert "each alone" in text
    assert "10,000" in text
    at_once = progress(in_turn=False)
    assert "2nd" in "\n".join(shown(at_once, 80))


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_picture_fits(width: int) -> None:
    lines = shown(progress(), width)
    assert len(lines) <= 14
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_summary_fits_eighty_columns(encoding: str) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_summary(Console(file=out, width=80), figures(strangers=12))
    out.seek(0)
    lines = out.read().splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.replace("|", " ").split() for line in lines if line[:3] in ("1st", "2nd", "3rd", "4th", "5th", "6th")]
    assert [row[0] for row in rows] == ["1st", "2nd", "3rd", "4th", "5th", "6th"]
    assert rows[-1][-6:] == ["12.80", "0.33", "781", "10,000", "0.123", "1,234"]
    assert "The server counted 12 connections more, which others made meanwhile." in lines


@pytest.mark.ci
def test_the_chart(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "c.png", figures())
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    draw(tmp_path / "c.SVG", figures())
    first = (tmp_path / "c.SVG").read_bytes()
    root = ElementTree.fromstring(first)
    assert not root.findall(".//{*}script")
    draw(tmp_path / "c.SVG", figures())
    assert (tmp_path / "c.SVG").read_bytes() == first


def test_a_chart_that_cannot_be_written(draw: Draw, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"nowhere"):
        draw(tmp_path / "nowhere" / "c.svg", figures())


def test_a_starter_that_ends_at_once_leaves_no_process() -> None:
    """Before it has a session of its own, too: a busy machine takes a while to let it run."""
    before = psutil.Process().children()
    for _ in range(10):
        with Starter(None):
            pass
    assert psutil.Process().children() == before


def test_a_lane_that_ends_while_another_look_is_taken_is_noted_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """SIGCHLD comes between any two steps of the process that starts the lanes, which must not end by it."""
    lanes, wait = _Children(), os.waitpid
    lane = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(3)"])
    os.waitid(os.P_PID, lane.pid, os.WEXITED | os.WNOWAIT)
    lanes._pids.add(lane.pid)

    def interrupted(*arguments: Any) -> Any:
        monkeypatch.setattr(os, "waitpid", wait)
        lanes.reap()
        return wait(*arguments)

    monkeypatch.setattr(os, "waitpid", interrupted)
    lanes.reap()
    lane.wait()
    assert lanes._pids == set()
    assert capfd.readouterr().out == '{"ended": 3}\n'
