"""The benchmarks of connections and of redis-py on aioresp, in runs that are too short for their speeds."""

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


@pytest.mark.ci
@pytest.mark.timeout(300)
def test_each_way_under_redis_py_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    words = ["--only", "get-50,brpop", "--rounds", "1", "--processes", "1", "--free", "--json", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.under", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ways = {"redis-py", "install", "class", "client", "redis-py-2", "install-2", "class-2"}
    for name, job in json.loads(out.read_text())["jobs"].items():
        assert not job["failures"], (name, job["failures"])
        assert set(job["rates"]) == ways
        assert all(rate > 0 for rates in job["rates"].values() for rate in rates)
    assert "| GET, 50 tasks, `install()` | at least 1.5 |" in done.stdout
