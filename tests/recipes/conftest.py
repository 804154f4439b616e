"""Tests of the recipes under RESP2: all of them with AIORESP_TEST_RESP=2, the laws that cost little in any run."""

from __future__ import annotations

import os
from typing import Any, Final, Literal

import pytest

from aioresp.testing import ClusterServers, Proxy, SentinelServers, Server

#: The protocol of tests that name none.
RESP: Final = int(os.environ.get("AIORESP_TEST_RESP", "3"))


def _speak(monkeypatch: pytest.MonkeyPatch, protocol: int) -> None:
    """Name the protocol in the URLs of servers and proxies, which child processes are given, too."""

    def url_of(right: Any) -> property:
        def url(self: Any) -> str:
            found: str = right.fget(self)
            return f"{found}{'&' if '?' in found else '?'}protocol={protocol}"

        return property(url)

    for kind in (Server, Proxy, ClusterServers, SentinelServers):
        monkeypatch.setattr(kind, "url", url_of(vars(kind)["url"]))


@pytest.fixture(autouse=True)
def _chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    if RESP != 3:
        _speak(monkeypatch, RESP)


@pytest.fixture
def either(resp: Literal[2, 3], monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs once under each protocol (C5)."""
    if resp != RESP:
        _speak(monkeypatch, resp)
