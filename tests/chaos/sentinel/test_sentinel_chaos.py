"""Tasks at work on a primary under Sentinel while it is replaced again and again: every law holds to the end."""

from __future__ import annotations

import pytest

from aioresp.replicated.outlook import Outlook
from tests.chaos.sentinel.run import SentinelRun, failover

pytestmark = [pytest.mark.soak, pytest.mark.timeout(240), pytest.mark.usefixtures("no_debug")]


async def test_failovers_under_sentinel_break_no_law() -> None:
    report = await SentinelRun(60).go()
    print(report)
    assert not report.problems, str(report)
    assert report.faults.total() >= 3


async def test_writes_that_are_not_held_are_found_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outlook, "hold", lambda self, why: None)
    report = await SentinelRun(20, deck={failover: (1, 0.0)}).go()
    assert report.problems["acknowledged write lost"]
