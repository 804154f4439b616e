"""Run of redis-py's suite on a server, without the layer or with it.

Owns the server, the command line of pytest, and the outcomes that it has written. Never judges them.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from aioresp.testing import Server, server
from tests.servers import MATRIX
from tests.under import FOLDER, LEFT_OUT, MARKS, ROOT
from tests.under.plugin import LAYER, OUTCOMES, PORT
from tests.under.provided import Suite

Outcome = Literal["passed", "failed", "skipped", "expected"]

HERE: Final = Path(__file__).parent

#: Seconds after which a run is ended: it takes one to four minutes.
PATIENCE: Final = 1800

#: What the suite expects of a server, as in redis-py's docker-compose.yml.
CONFIG: Final = {"requirepass": "", "enable-debug-command": "yes", "enable-module-command": "yes"}


@dataclass(frozen=True)
class Lane:
    """What a run is on: a server of the matrix or the path of a program, and a protocol ("" is redis-py's default)."""

    server: str
    protocol: str

    def __str__(self) -> str:
        return f"{self.server}, {f'RESP{self.protocol}' if self.protocol else 'default protocol'}"

    @property
    def slug(self) -> str:
        """Its name in the names of files."""
        return f"{Path(self.server).name}-resp{self.protocol or 'default'}"


@dataclass(frozen=True)
class Selection:
    """Which tests are run: those of files named here (none: all that the rule has), and those that -k selects."""

    files: tuple[str, ...] = ()
    expression: str = ""
    tests: tuple[str, ...] = ()
    """Ids of tests, in place of files."""


@dataclass
class Run:
    """The outcomes of a run."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    sockets: int = 0
    """How many sockets redis-py has opened: with the layer none, but for tests that go around the pool."""


class RunFailed(Exception):
    """The suite did not run to its end; the message has the last lines of its output."""


def run(suite: Suite, lane: Lane, selection: Selection, *, layer: bool, name: str) -> Run:
    """Run the suite once, on a server of its own; `name` is that of its files below `.under`."""
    logs = FOLDER / "logs"
    logs.mkdir(exist_ok=True)
    outcomes, log = logs / f"{name}.jsonl", logs / f"{name}.txt"
    outcomes.unlink(missing_ok=True)
    with server(executable=program_of(lane.server), config=CONFIG) as started:
        status = _pytest(suite, lane, selection, started, outcomes, log, layer)
    if status not in (0, 1, 5):  # 1: some tests failed, 5: none was selected
        raise RunFailed(f"{lane}: pytest ended with status {status}; see {log}\n" + "\n".join(_tail(log)))
    return read(outcomes)


def _pytest(
    suite: Suite, lane: Lane, selection: Selection, started: Server, outcomes: Path, log: Path, layer: bool
) -> int:
    command = [str(suite.python), "-m", "pytest", "-c", str(HERE / "pytest.ini"), f"--rootdir={suite.folder}"]
    command += ["-q", "-p", "plugin", "-p", "pytest_asyncio.plugin", "-p", "pytest_timeout", "-p", "no:cacheprovider"]
    command += ["-m", MARKS, f"--redis-url=redis://{started.host}:{started.port}/0"]
    command += [f"--protocol={lane.protocol}"] if lane.protocol else []
    command += ["-k", selection.expression] if selection.expression else []
    command += selection.tests or files_of(suite, selection.files)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "REDIS"))}
    environment |= {
        "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}",  # behind the current folder, whose `tests` is redis-py's
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "",
        OUTCOMES: str(outcomes),
        PORT: str(started.port),
        LAYER: "yes" if layer else "no",
    }
    environment.pop("AIORESP_REDIS", None)
    with log.open("w") as output:
        try:
            return subprocess.run(
                command,
                cwd=suite.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return -1


def program_of(name: str) -> str:
    """Return the program of a server: of the matrix by its name, or the path itself."""
    return next((str(wanted.program) for wanted in MATRIX if wanted.name == name), name)


def files_of(suite: Suite, names: Sequence[str]) -> list[str]:
    """Return the paths of the files that are run: those that are named, "test_lock.py", or all that the rule has."""
    folder = suite.folder / "tests" / "test_asyncio"
    found = sorted(path.name for path in folder.glob("test_*.py") if not path.name.startswith(LEFT_OUT))
    if unknown := set(names) - set(found):
        raise ValueError(f"not among the files that are run: {', '.join(sorted(unknown))}")
    return [f"tests/test_asyncio/{name}" for name in found if not names or name in names]


def conditions(suite: Suite) -> str:
    """Return what outcomes without the layer depend on, besides the server: they hold while it is the same."""
    parts = [path.read_bytes() for path in (HERE / "plugin.py", HERE / "pytest.ini")]
    parts += [repr((LEFT_OUT, MARKS, CONFIG, suite.needed, sys.version)).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def read(path: Path) -> Run:
    """Read the outcomes that the plugin has written."""
    done = Run()
    for entry in _entries(path):
        if "sockets" in entry:
            done.sockets = entry["sockets"]
            continue
        done.outcomes[entry["test"]] = entry["outcome"]
        if entry["why"]:
            done.why[entry["test"]] = entry["why"]
    return done


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def _tail(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-15:]
