"""`aioresp serve` as a user runs it: what it keeps and over what, what it refuses, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from aioresp import Client, Cluster
from aioresp.cli.app import app
from aioresp.cli.faults import Fault
from aioresp.cli.serve.wanted import Wanted
from tests.cli.test_command import ENVIRONMENT, listen_to_ctrl_c, wait_until

pytestmark = pytest.mark.timeout(90)


class Serving:
    """A running `aioresp serve`."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "aioresp", "serve", "--json", *words],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=listen_to_ctrl_c,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.facts: dict[str, Any] = json.loads(line)
        self.family = psutil.Process(self.process.pid).children(recursive=True)
        self.folders = [folder for folder in Path(tempfile.gettempdir()).glob("aioresp-*") if self._owns(folder)]

    def _owns(self, folder: Path) -> bool:
        """Return whether a folder is the one of its server."""
        try:
            return f"port {self.facts['ports'][0]}\n" in (folder / "server.conf").read_text()
        except OSError:
            return False

    @property
    def url(self) -> str:
        return str(self.facts["url"])

    def end(self, number: int) -> tuple[int, str]:
        """End it by a signal, and return its exit status and what it said on standard error."""
        self.process.send_signal(number)
        out, said = self.process.communicate(timeout=40)
        assert out == ""
        assert psutil.wait_procs(self.family, timeout=10)[1] == []
        return self.process.returncode, said


@contextmanager
def serving(*words: str) -> Iterator[Serving]:
    running = Serving(*words)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


def call(url: str, *words: str, password: str | None = None) -> Any:
    async def ask() -> Any:
        async with Client(url, password=password) as r:
            return await r.call(*words)

    return asyncio.run(ask())


def refused(*words: str) -> str:
    """Run it in this process, which it must refuse; return the sentence."""
    done = CliRunner().invoke(app, ["serve", *words])
    assert done.exit_code == 1, done.output
    assert done.output.count("\n") == 1, done.output
    return done.output.strip()


@pytest.mark.ci
def test_a_folder_keeps_the_keys(tmp_path: Path) -> None:
    """Through three lives: by a snapshot at its end, by a log of all writes, and by that log though nobody asks."""
    folder = tmp_path / "new" / "data"
    with serving("--port", "0", "--dir", str(folder), "--password", "a b") as first:
        assert first.facts["keys"] == 0
        assert first.facts["password"] is True
        assert first.facts["append_only"] is False
        assert call(first.url, "SET", "k", "1", password="a b") == "OK"
        port = str(first.facts["ports"][0])
        assert refused("--port", "0", "--dir", str(folder)) == (
            f"aioresp serve: --dir {folder}: another `aioresp serve` keeps its keys there"
        )
        held = refused("--port", port)
        assert held.startswith(f"aioresp serve: port {port} is in use by ")
        if sys.platform == "linux":
            assert f"(process {first.facts['pids'][0]})" in held
        assert first.end(signal.SIGTERM) == (0, "")
    assert os.listdir(folder) == ["dump.rdb"]
    with serving("--port", port, "--dir", str(folder), "--append-only") as second:
        assert second.facts["ports"] == [int(port)]
        assert (second.facts["keys"], second.facts["append_only"]) == (1, True)
        assert call(second.url, "INCR", "k") == 2
        second.process.kill()
        assert psutil.wait_procs(second.family, timeout=10)[1] == []
        assert len(second.folders) == 1
        assert not second.folders[0].exists()
    with serving("--port", "0", "--dir", str(folder)) as third:
        assert (third.facts["keys"], third.facts["append_only"]) == (1, True)
        assert call(third.url, "GET", "k") == "2"
        assert "total_connections_received:2\r\n" in call(third.url, "INFO", "stats")  # those of this test
        shutil.rmtree(folder)
        status, said = third.end(signal.SIGINT)
    assert status == 1
    assert said.startswith(f"aioresp serve: --dir {folder}: the newest keys could not be saved: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cluster", "--dir", "d"], "--cluster keeps nothing"),
        (["--cluster", "--append-only"], "--cluster keeps nothing"),
        (["--cluster", "--host", "0.0.0.0", "--password", "x"], "--cluster listens on 127.0.0.1 alone"),
        (["--cluster", "--port", "55531"], "--port is at most 55530"),
        (["--host", "0.0.0.0"], "give --password"),
        (["--host", "::"], "give --password"),
        (["--host", "example.org"], "give --password"),
        (["--port", "65536"], "--port"),
        (["--maxmemory", "much"], "--maxmemory is a number of bytes"),
        (["--password", "a\nb"], "--password holds a line end"),
        (["--dir", __file__], "--dir"),
    ],
)
def test_wrong_usage(words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["serve", *words])
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", "").split())


def test_what_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        held = refused("--port", str(port))
        assert held.startswith(f"aioresp serve: port {port} is in use")
        assert held.endswith("take another by --port (0 takes a free one)")
        if sys.platform == "linux":
            assert f" (process {os.getpid()})" in held
    (tmp_path / "file").touch()
    assert refused("--dir", f"{tmp_path}/file/d") == f"aioresp serve: {tmp_path}/file/d: Not a directory"
    (tmp_path / "dump.rdb").write_bytes(b"REDIS9999 of the future")
    broken = refused("--port", "0", "--dir", str(tmp_path))
    assert broken.startswith("aioresp serve: the server ended at once, with status 1; its log: ")
    assert "DB" in broken
    strange = refused("--port", "0", "--host", "192.0.2.1", "--password", "x")
    assert strange == f"aioresp serve: cannot listen on 192.0.2.1: {os.strerror(errno.EADDRNOTAVAIL)}"
    monkeypatch.setenv("AIORESP_SERVER", "/nowhere/redis-server")
    assert "/nowhere/redis-server" in refused("--port", "0")


@pytest.mark.parametrize(
    ("host", "shown", "arguments"),
    [
        ("127.0.0.1", "127.0.0.1", ()),
        ("localhost", "127.0.0.1", ()),
        ("0.0.0.0", "127.0.0.1", ("--bind", "*", "-::*")),
        ("::", "127.0.0.1", ("--bind", "*", "-::*")),
        ("::1", "[::1]", ("--bind", "127.0.0.1", "::1")),
        ("10.0.0.7", "10.0.0.7", ("--bind", "127.0.0.1", "10.0.0.7")),
    ],
)
def test_where_it_listens(host: str, shown: str, arguments: tuple[str, ...]) -> None:
    wanted = Wanted(6379, host, None, append_only=False, cluster=False, password="x", maxmemory=None)
    assert (wanted.shown_host, wanted.arguments()) == (shown, arguments)


def test_a_log_that_the_server_would_overlook(tmp_path: Path) -> None:
    wanted = Wanted(6379, "::1", tmp_path, append_only=False, cluster=False, password=None, maxmemory=None)
    wanted.check_log((6, 2))
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir/appendonly.aof.manifest").touch()
    wanted.check_log((7, 0))
    with pytest.raises(Fault, match=r"the server is Redis 6\.2, which would not see these keys"):
        wanted.check_log((6, 2))


@pytest.mark.ci
def test_the_server_is_told_to_shut_down_or_is_killed() -> None:
    with serving("--port", "0", "--maxmemory", "10mb") as running:
        assert call(running.url, "CONFIG", "GET", "maxmemory") == {"maxmemory": str(10 << 20)}
        os.kill(running.facts["pids"][0], signal.SIGKILL)
        out, said = running.process.communicate(timeout=20)
    assert (running.process.returncode, out) == (1, "")
    assert said == "aioresp serve: the server was ended by SIGKILL\n"
    with serving("--port", "0") as running:

        async def end() -> None:
            async with Client(running.url) as r:
                await r.shutdown()

        asyncio.run(end())
        assert running.process.communicate(timeout=20) == ("", "")
    assert running.process.returncode == 0


@pytest.mark.ci
def test_a_cluster() -> None:
    with serving("--port", "0", "--cluster", "--password", "secret") as running:
        ports = running.facts["ports"]
        assert len(ports) == 6
        assert running.url == "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)

        async def use() -> None:
            async with Cluster(running.url, password="secret") as r:
                for n in range(20):
                    await r.set(f"k{n}", n)
                assert sum([1 for shard in r.topology().shards if shard.slots]) == 3

        asyncio.run(use())
        victim = running.facts["pids"][5]
        os.kill(victim, signal.SIGKILL)
        assert running.process.stderr is not None
        said = f"aioresp serve: port {ports[5]}: the node was ended by SIGKILL; the others go on\n"
        assert said in iter(running.process.stderr.readline, "")
        assert running.end(signal.SIGINT)[0] == 0
    # Above 32,768, where the ports of the bus would be, clients of other tests come and go.
    port = next(port for port in range(11_000, 22_000, 100) if free(port))
    with serving("--port", str(port), "--cluster") as running:
        assert running.facts["ports"] == list(range(port, port + 6))
        assert "is in use" in refused("--cluster", "--port", str(port - 3))
        running.process.kill()
        assert psutil.wait_procs(running.family, timeout=10)[1] == []


def free(port: int) -> bool:
    ports = [*range(port, port + 6), *range(port + 10_000, port + 10_006)]
    try:
        for each in ports:
            socket.create_server(("127.0.0.1", each)).close()
    except OSError:
        return False
    return True


@pytest.mark.ci
def test_the_terminal_is_closed(tmp_path: Path) -> None:
    """It saves, as at Ctrl-C."""
    with serving("--port", "0", "--dir", str(tmp_path)) as running:
        call(running.url, "SET", "k", "1")
        assert running.end(signal.SIGHUP) == (0, "")
    assert os.listdir(tmp_path) == ["dump.rdb"]


@pytest.mark.ci
def test_a_person_is_told_how_to_connect(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "aioresp", "serve", "--port", "0"],
        env={**ENVIRONMENT, "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=listen_to_ctrl_c,
    )
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or "Ctrl-C" not in lines[-1]:
        lines.append(process.stdout.readline())
    text = "".join(lines)
    assert "\x1b" not in text
    assert "address     redis://127.0.0.1:" in text
    assert "keeps       nothing: all keys are gone when it ends" in text
    assert 'Client("redis://127.0.0.1:' in text
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "\nended; nothing was kept\n"
    assert process.returncode == 0
    wait_until(lambda: not psutil.pid_exists(process.pid))
