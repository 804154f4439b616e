"""pytest plugin within redis-py's suite: it installs the layer, and writes the outcome of each test to a file.

Owns what lets several runs be on one machine: the default port is the server's, and tests with a port of their own take
turns. It is imported by itself, with this folder on the path: the suite's own package is `tests`, too.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import importlib
import inspect
import json
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, TextIO

import pytest

#: Path of the file that the outcomes are appended to, a line of JSON for each test.
OUTCOMES = "UNDER_OUTCOMES"
#: "yes" installs the layer.
LAYER = "UNDER_LAYER"
#: Port of the server.
PORT = "UNDER_PORT"

#: A file whose tests listen on ports that are written there.
FIXED_PORTS = "test_cwe_404.py"


#: How many sockets redis-py has opened. Those of aioresp, which makes its transports itself, do not count.
sockets = 0


def count_sockets() -> None:
    """Count the calls of asyncio.open_connection, from which redis-py has its streams."""
    original: Any = asyncio.open_connection

    @functools.wraps(original)
    async def counted(*arguments: Any, **options: Any) -> Any:
        global sockets
        sockets += 1
        return await original(*arguments, **options)

    asyncio.open_connection = counted


class Recorder:
    """The outcome of each test: the worst of its setup, its call and its teardown."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._worst: dict[str, tuple[str, str]] = {}

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid
        known = self._worst.get(name)
        if report.failed:
            if known is None or known[0] != "failed":
                crash: Any = getattr(report.longrepr, "reprcrash", None)
                said = str(crash.message if crash is not None else report.longrepr).strip()
                self._worst[name] = ("failed", f"{report.when}: {' '.join(said.split())[:300]}")
        elif known is None:
            expected = hasattr(report, "wasxfail")
            if report.skipped:
                self._worst[name] = ("expected" if expected else "skipped", "")
            elif report.when == "call":
                # A test that redis-py expects to fail says nothing, whichever way it ends.
                self._worst[name] = ("expected" if expected else "passed", "")
        if report.when == "teardown":
            outcome, why = self._worst.pop(name, ("failed", "no outcome"))
            self._file.write(json.dumps({"test": name, "outcome": outcome, "why": why}) + "\n")
            self._file.flush()

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        self._file.write(json.dumps({"sockets": sockets}) + "\n")
        self._file.close()


def default_port(port: int, *functions: Any) -> None:
    """Let functions of redis-py connect to the server of this run where a test names no port.

    Otherwise such a test fails, or works on a server of somebody else that has the port 6379.
    """
    for function in map(inspect.unwrap, functions):
        found = function.__defaults__ or ()
        function.__defaults__ = tuple(port if value == 6379 else value for value in found)
        for name, value in (function.__kwdefaults__ or {}).items():
            if value == 6379:
                function.__kwdefaults__[name] = port


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let tests with ports of their own wait for those of other runs, before their time begins."""
    if item.path.name != FIXED_PORTS:
        return (yield)
    with (Path(tempfile.gettempdir()) / f"redis-py-ports-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return (yield)


def pytest_configure(config: pytest.Config) -> None:
    if path := os.environ.get(OUTCOMES):
        file = open(path, "w", encoding="utf-8")  # noqa: SIM115
        config.pluginmanager.register(Recorder(file), "under-recorder")
        count_sockets()
    if port := os.environ.get(PORT):
        theirs = importlib.import_module("redis.asyncio")
        default_port(int(port), theirs.Redis.__init__, theirs.Connection.__init__)
    if os.environ.get(LAYER) == "yes":
        installing = importlib.import_module("aioresp.redis")  # not without the layer: redis-py is alone there
        if not installing.install():
            raise pytest.UsageError("aioresp.redis.install() did nothing")
