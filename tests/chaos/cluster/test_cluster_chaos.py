"""A hundred tasks at work on a cluster while its nodes, its slots and the network break: every law holds to the end.

The figures of a long run, and what each check means, are in docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

import pytest
import uvloop

from aioresp.options import Options
from tests.chaos.cluster.faults import DECK
from tests.chaos.cluster.run import ClusterRun
from tests.chaos.report import Report

#: Seconds of the long run, and the seed of all: printed by each run, to be given again when one has failed.
SECONDS = float(os.environ.get("AIORESP_SOAK_SECONDS", "600"))
SEED = os.environ.get("AIORESP_CHAOS_SEED")

#: Clients of other kinds than the usual one.
OTHERS: Final[dict[str, Options]] = {
    "classic": {"concurrency": 1},
    "resp2": {"protocol": 2},
    "patient": {"timeout": 10},
}

pytestmark = [
    pytest.mark.usefixtures("no_debug"),  # asyncio's debug mode is too slow for as many
]


#: The faults of the short run: those of a cluster, and one of the network.
FEW: Final = {
    *("cut in a reply", "move", "move at once", "move under watch", "move a channel"),
    *("promote", "kill at work", "kill a replica", "freeze"),
}


def check(report: Report) -> None:
    print(report)
    assert not report.problems, str(report)
    assert set(report.faults) == {fault.__name__.replace("_", " ") for fault in DECK}
    assert min(report.by_kind.values()) > 0
    assert report.figures["put back"] + report.figures["gaps"] > 0


@pytest.mark.timeout(170)
async def test_some_seconds_of_chaos_in_a_cluster_break_no_law() -> None:
    deck = {fault: deal for fault, deal in DECK.items() if fault.__name__.replace("_", " ") in FEW}
    report = await ClusterRun(18, SEED, pause=1.0, deck=deck).go()
    print(report)
    assert not report.problems, str(report)
    assert set(report.faults) == FEW
    assert min(report.by_kind.values()) > 0
    assert report.commands > 500


@pytest.mark.ci
@pytest.mark.timeout(240)
async def test_a_minute_of_chaos_in_a_cluster_breaks_no_law() -> None:
    """The deck is dealt with one of each fault first, so that `check()` finds them all."""
    report = await ClusterRun(60, SEED, pause=1.0).go()
    check(report)
    assert report.commands > 2000


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("options", OTHERS.values(), ids=OTHERS)
async def test_two_minutes_of_chaos_with_other_options(options: Options) -> None:
    check(await ClusterRun(120, SEED, **options).go())


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_two_minutes_of_chaos_on_uvloop() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        check(runner.run(ClusterRun(120, SEED).go()))


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_a_long_run_in_a_cluster_breaks_no_law(capsys: pytest.CaptureFixture[str]) -> None:
    report = await ClusterRun(SECONDS, SEED).go()
    with capsys.disabled():
        print(f"\n{report}")
    check(report)
    if SECONDS >= 600:
        assert report.commands >= 100_000
        assert report.faults.total() >= 200
