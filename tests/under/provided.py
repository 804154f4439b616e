"""Test suite of a release of redis-py, and the virtual environment that it runs in.

Owns the way from the package index into the folder `.under`. What is there stays. Never imports redis-py.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.under import FOLDER

#: What the suite imports, out of redis-py's dev_requirements.txt; hiredis is what aioresp needs.
NEEDED: Final = (
    "hiredis>=3.5",
    "mock",
    "numpy>=1.24",
    "packaging",
    "pybreaker>=1.4",
    "pytest-timeout>=2.3",
    "ujson>=4.2",
    "xxhash>=3.5",
)

#: The same for the suites of redis-py 6 and later; and for those before, whose marks a later pytest-asyncio refuses.
NEEDED_SINCE_6: Final = ("pytest>=8.4", "pytest-asyncio>=1.1", "redis-entraid>=1")
NEEDED_BEFORE_6: Final = ("pytest<8.4", "pytest-asyncio<0.22")

#: Seconds that pip may take for one command.
PATIENCE: Final = 600

#: What pip says where an index cannot be reached, or has nothing at all.
_NO_INDEX: Final = ("NewConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "No matching distribution found")


class Unavailable(Exception):
    """The suite cannot be had here; the message says why."""


class Unreachable(Unavailable):
    """The package index does not answer."""


@dataclass(frozen=True)
class Suite:
    """The tests of a release of redis-py."""

    release: str

    @property
    def folder(self) -> Path:
        """The folder into which `tests/` is unpacked."""
        return FOLDER / f"redis-{self.release}"

    @property
    def environment(self) -> Path:
        """The virtual environment."""
        return FOLDER / f"venv-{self.release}"

    @property
    def python(self) -> Path:
        """The interpreter with this redis-py."""
        return self.environment / "bin" / "python"

    @property
    def needed(self) -> tuple[str, ...]:
        """What is installed."""
        since_6 = int(self.release.partition(".")[0]) >= 6
        return (f"redis=={self.release}", *NEEDED, *(NEEDED_SINCE_6 if since_6 else NEEDED_BEFORE_6))

    def provide(self) -> None:
        """Unpack the tests and make the virtual environment, unless they are there."""
        FOLDER.mkdir(exist_ok=True)
        if not (self.folder / "tests").is_dir():
            self._unpack()
        made = self.environment / ".made"
        wanted = "\n".join((sys.version, *self.needed))
        if not self.python.exists() or not made.exists() or made.read_text() != wanted:
            _run(sys.executable, "-m", "venv", "--clear", str(self.environment))
            _pip(str(self.python), "install", *self.needed)
            made.write_text(wanted)

    def _unpack(self) -> None:
        scratch = FOLDER / "sdist"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        _pip(
            sys.executable,
            "download",
            "--no-deps",
            "--no-binary=redis",
            "--dest",
            str(scratch),
            f"redis=={self.release}",
        )
        found = next(scratch.glob("*.tar.gz"), None)
        if found is None:
            raise Unavailable(f"pip has downloaded no sdist of redis {self.release}")
        with tarfile.open(found) as archive:
            # The package itself stays out: its tests would import it in place of the installed one.
            archive.extractall(scratch, [each for each in archive if "/tests/" in each.name], filter="data")
        unpacked = next(scratch.glob("*/tests"), None)
        if unpacked is None:
            raise Unavailable(f"the sdist of redis {self.release} carries no tests")
        unpacked.parent.rename(self.folder)
        shutil.rmtree(scratch)


def _pip(python: str, *arguments: str) -> None:
    _run(python, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(f"`{' '.join(command[1:4])}` had not ended after {PATIENCE} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        kind = Unreachable if any(each in said for each in _NO_INDEX) else Unavailable
        raise kind(f"`{' '.join(command[1:5])}` failed: {' / '.join(said.splitlines()[-3:])}")
