"""The benchmark of connections, in a run that is too short for its speeds: what it counts is right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.ci
@pytest.mark.timeout(120)
def test_the_connections_are_those_of_the_ways(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    picture = tmp_path / "picture.svg"
    words = ["--clients", "aioresp,redis-py", "--tasks", "1,50", "--rounds", "2", "--seconds", "0.05", "--free"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.connections", *words, "--json", str(out), "--plot", str(picture)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert {"aioresp", "redis-py"} == set(found["clients"])
    assert {cell["transport"] for cell in found["cells"]} >= {"tcp", "unix"}
    for cell in found["cells"]:
        assert not cell["failure"], cell
        for made, commands in zip(cell["connections"], cell["commands"], strict=True):
            assert commands > 0
            expected = {
                "shared": range(1, 3),
                "classic": range(1, 11),
                "job": range(commands // 20, commands // 20 + 1),
                "fresh": range(commands, commands + 1),
            }[cell["way"]]
            assert made in expected, cell
    assert "| shared pool, 1 task |" in done.stdout
    assert picture.read_bytes().startswith(b"<?xml")
