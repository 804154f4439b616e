"""Processes of the kit, looked at from outside."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.servers import MATRIX
from tests.servers.chosen import marks_of

#: The matrix as far as it is there; without it the server that is found.
PROGRAMS: Final = [
    pytest.param(str(wanted.program), id=wanted.name, marks=marks_of(wanted)) for wanted in MATRIX if wanted.is_there
] or [pytest.param(None, id="default")]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def gone(pids: list[int], folders: list[str]) -> bool:
    return not any(map(alive, pids)) and not any(Path(folder).exists() for folder in folders)
