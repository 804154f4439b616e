"""The parts of the demo that need no server: the figures, the sparkline, the table, the chart."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from aioresp.cli.demo.figures import (
    Figures,
    KeyFigures,
    RoundFigures,
    ServerFacts,
    ThreadFigures,
    WayFigures,
    percentile,
)
from aioresp.cli.demo.progress import Progress, Sample, planned
from aioresp.cli.demo.run import sets_of_threads
from aioresp.cli.demo.sparkline import sparkline
from aioresp.cli.demo.summary import print_summary

Draw = Callable[[Path, Figures, Progress], None]

COLOURS = {1: "red", 2: "blue"}
SERVER = ServerFacts("redis://127.0.0.1:6379", "valkey", "8.1.0", embedded=False)


def figures(strangers: int = 0) -> Figures:
    ways = tuple(
        WayFigures(n, f"way {n}", 1 / 3, 30_000.0, 10_000 + strangers, 10_000, 0.123456, 1234.5, 123.45)
        for n in range(1, 5)
    )
    rounds = (RoundFigures(0.5, 50, 50), RoundFigures(0.25, 0, 0))
    threads = ThreadFigures(5, 10, 5_000, rounds)
    keys = KeyFigures("aioresp:demo:0123456789ab:", 50_000, 50_000)
    return Figures("1.0", "3.11.0", SERVER, 10_000, ways, threads, keys)


def progress() -> Progress:
    found = planned(SERVER, 10_000, 10_000)
    for number in range(1, 6):
        found.samples += [Sample(number + tenth / 10, number * 100 + tenth, number) for tenth in range(10)]
        found.phases[number - 1].began, found.phases[number - 1].ended = float(number), number + 0.9
    return found


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
    assert found["ways"][0]["seconds"] == 0.33333
    assert found["ways"][0]["connections"] == 10_000
    assert found["threads"]["rounds"][1] == {"seconds": 0.25, "connections": 0, "made": 0}
    assert found["server"]["flavour"] == "valkey"


def test_threads_have_enough_to_fill_their_pools() -> None:
    assert sets_of_threads(20) == 5 * 2 * 20
    assert sets_of_threads(10_000) == 10_000
    assert sets_of_threads(10_009) == 10_000


def test_the_sparkline_rises_and_stays() -> None:
    samples = [Sample(0.0, 0, 1), Sample(0.1, 50, 1), Sample(0.2, 100, 1), Sample(0.3, 100, 2)]
    line = sparkline(samples, 40, COLOURS)
    assert line.plain == "▁▅██"
    assert [str(span.style) for span in line.spans] == ["red", "red", "red", "blue"]
    assert sparkline(samples, 40, COLOURS, ascii_only=True).plain == "_=##"


@pytest.mark.parametrize("width", [1, 7, 79])
def test_a_long_sparkline_fits_and_ends_with_the_last_sample(width: int) -> None:
    line = sparkline([Sample(n / 8, n, 1) for n in range(500)], width, COLOURS)
    assert len(line.plain) == width
    assert line.plain[-1] == "█"
    assert list(line.plain) == sorted(line.plain)


def test_a_sparkline_of_nothing() -> None:
    assert sparkline([], 40, COLOURS).plain == ""
    assert sparkline([Sample(0.0, 0, 1)], 40, COLOURS).plain == "▁"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_summary_fits_eighty_columns(encoding: str) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_summary(Console(file=out, width=80), figures(strangers=3))
    out.seek(0)
    lines = out.read().splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.startswith("1 way 1"))
    assert row.replace("|", " ").split()[-6:] == ["s", "30,000", "10,003", "0.123", "1,234", "123.5x"]
    assert "12 of the connections counted were made by others meanwhile." in lines


@pytest.mark.parametrize(("name", "start"), [("c.png", b"\x89PNG\r\n\x1a\n"), ("c.SVG", b"<?xml ")])
def test_the_chart(draw: Draw, tmp_path: Path, name: str, start: bytes) -> None:
    draw(tmp_path / name, figures(), progress())
    assert (tmp_path / name).read_bytes().startswith(start)


def test_a_chart_that_cannot_be_written(draw: Draw, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"nowhere"):
        draw(tmp_path / "nowhere" / "c.svg", figures(), progress())
