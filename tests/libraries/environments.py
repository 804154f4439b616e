"""Virtual environments of the libraries: made at first use, by uv where it is on PATH, otherwise by pip.

Owns the folder of each combination, and a file in it that says what was installed. aioresp is installed there as it
stands in this checkout. An environment whose contents the table no longer asks for is made again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Final

from tests.libraries import FOLDER, ROOT, Combination

#: Seconds that one installation may take.
PATIENCE: Final = 400


class NoIndex(Exception):
    """The package index does not answer from here."""


class NotInstalled(Exception):
    """The index answers, and the packages cannot be installed together; the message is the installer's."""


def python_of(combination: Combination) -> Path:
    """Return the interpreter of the environment, which is made if it is not there."""
    folder = FOLDER / combination.name
    python = folder / "bin" / "python"
    wanted = [*combination.packages, f"redis=={combination.redis}.*", "-e", f"{ROOT}[redis]"]
    text = "\n".join([sys.version, *wanted, (ROOT / "pyproject.toml").read_text()])
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{combination.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "made"
        if not (made.is_file() and made.read_text() == text and python.exists()):
            venv.create(folder, clear=True, symlinks=True)
            _install(python, wanted)
            made.write_text(text)
    return python


def _install(python: Path, wanted: list[str]) -> None:
    error = _run(*_installer(python), *wanted)
    if error is None:
        return
    with tempfile.TemporaryDirectory(prefix="aioresp-index-") as scratch:
        unreachable = _run(
            *(sys.executable, "-m", "pip", "download", "--no-cache-dir", "--no-deps", "--dest", scratch),
            next(word for word in wanted if word.startswith("redis==")),
        )
    raise NoIndex(unreachable) if unreachable is not None else NotInstalled(error)


def _installer(python: Path) -> tuple[str, ...]:
    if uv := shutil.which("uv"):
        return uv, "pip", "install", "--quiet", "--python", str(python)
    return sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"


def _run(*words: str) -> str | None:
    """Run a program; return the end of what it said if it failed."""
    # The environment of the tests themselves must not be taken for the one to install into.
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    try:
        ended = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"{words[0]} took more than {PATIENCE} s"
    return None if ended.returncode == 0 else (ended.stdout + ended.stderr)[-2000:]
