"""200 tasks at work while the network, the server and the patience of callers break: every law holds to the end.

The figures of a long run, and what each check means, are in docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

import pytest
import uvloop

from aioresp.options import Options
from tests.chaos.faults import DECK
from tests.chaos.report import Report
from tests.chaos.run import Run

#: Seconds of the long run, and the seed of both: printed by each run, to be given again when one has failed.
SECONDS = float(os.environ.get("AIORESP_SOAK_SECONDS", "900"))
SEED = os.environ.get("AIORESP_CHAOS_SEED")

#: Clients of other kinds than the usual one.
OTHERS: Final[dict[str, Options]] = {
    "classic": {"concurrency": 1},
    "few": {"limit": 12, "concurrency": 5000},
    "resp2": {"protocol": 2},
}


pytestmark = pytest.mark.usefixtures("no_debug")  # asyncio's debug mode is too slow for as many


def check(report: Report) -> None:
    print(report)
    assert not report.problems, str(report)
    assert set(report.faults) == {fault.__name__.replace("_", " ") for fault in DECK}
    assert min(report.by_kind.values()) > 0
    assert report.figures["put back"] + report.figures["gaps"] + report.repeated > 0


@pytest.mark.timeout(170)
async def test_a_short_chaos_breaks_no_law() -> None:
    """The deck is dealt with one of each fault first, so that `check()` finds them all."""
    report = await Run(14, SEED, pause=0.4).go()
    check(report)
    assert report.commands > 500


@pytest.mark.ci
@pytest.mark.timeout(170)
async def test_half_a_minute_of_chaos_breaks_no_law() -> None:
    report = await Run(27, SEED).go()
    check(report)
    assert report.commands > 2000


@pytest.mark.soak
@pytest.mark.timeout(170)
async def test_a_minute_of_chaos_breaks_no_law() -> None:
    report = await Run(52, SEED).go()
    check(report)
    assert report.commands > 10_000
    assert report.faults.total() > 30


@pytest.mark.soak
@pytest.mark.timeout(170)
@pytest.mark.parametrize("options", OTHERS.values(), ids=OTHERS)
async def test_a_minute_of_chaos_with_other_options(options: Options) -> None:
    check(await Run(52, SEED, **options).go())


@pytest.mark.soak
@pytest.mark.timeout(170)
def test_a_minute_of_chaos_on_uvloop() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        check(runner.run(Run(52, SEED).go()))


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_a_long_run_breaks_no_law(capsys: pytest.CaptureFixture[str]) -> None:
    report = await Run(SECONDS, SEED, pause=0.04).go()
    with capsys.disabled():
        print(f"\n{report}")
    check(report)
    if SECONDS >= 900:
        assert report.commands >= 1_000_000
        assert report.faults.total() >= 1_000
