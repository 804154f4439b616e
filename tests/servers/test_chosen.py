"""Which servers a run of the tests is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from aioresp.testing import Server
from tests import servers
from tests.servers import MATRIX, Wanted, chosen


def test_the_default_is_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(chosen.VARIABLE, raising=False)
    assert chosen.chosen() == []


def test_all_is_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chosen.VARIABLE, "all redis://host:1 /opt/redis-server")
    names = [wanted.name for wanted in MATRIX]
    assert chosen.chosen() == [*names, "redis://host:1", "/opt/redis-server"]
    assert [chosen.is_remote(name) for name in chosen.chosen()] == [*[False] * len(names), True, False]
    assert chosen.program_of("redis-6.2") == str(MATRIX[0].program)
    assert chosen.program_of("/opt/redis-server") == "/opt/redis-server"


def test_a_server_that_is_missing_ends_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(servers, "FOLDER", tmp_path)
    monkeypatch.setenv(chosen.VARIABLE, "all")
    with pytest.raises(pytest.UsageError, match=r"redis-6\.2, .*`make servers` gets them"):
        chosen.demand()
    monkeypatch.setenv(chosen.VARIABLE, "redis://host:1")
    chosen.demand()


def test_a_version_fits_by_its_first_numbers() -> None:
    wanted = Wanted("redis", "8.0", "trixie")
    assert wanted.fits("redis", (8, 0, 2))
    assert not wanted.fits("redis", (8, 1))
    assert not wanted.fits("valkey", (8, 0))


def test_a_server_that_runs_already(server: Server) -> None:
    remote = chosen.Remote(server.url)
    assert (remote.flavour, remote.version) == (server.flavour, server.version)
    assert (remote.host, remote.port) == (server.host, server.port)
    with pytest.raises(pytest.skip.Exception, match="is somebody else's"):
        remote.flush()
    with pytest.raises(AttributeError):
        _ = remote.nonsense
