"""What the command says before it does anything: usage, version, a missing extra."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aioresp.cli.app import app
from aioresp.version import VERSION

ROOT = Path(__file__).parents[2]


def test_the_version() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"aioresp {VERSION}\n")


@pytest.mark.parametrize("count", ["0", "19", "25001", "many"])
def test_a_count_that_does_not_fit(count: str) -> None:
    done = CliRunner().invoke(app, ["demo", "--count", count])
    assert done.exit_code == 2
    assert "--count" in done.output


@pytest.mark.parametrize("name", ["chart.pdf", "chart", "nowhere/chart.png", "folder.png"])
def test_a_chart_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.png").mkdir()
    done = CliRunner().invoke(app, ["demo", "--plot", str(tmp_path / name)])
    assert done.exit_code == 2
    assert "--plot" in done.output


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from aioresp.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"the `aioresp` command needs the package {missing}: pip install 'aioresp[cli]'\n"
