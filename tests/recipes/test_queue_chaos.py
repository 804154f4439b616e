"""Laws Q1 and C4 under kill -9 of workers and of the server: nothing lost, nothing done twice without a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from aioresp.testing import server as start_server
from tests.recipes.queue_chaos import UNSETTLED, Attempt, Ledger, Plan, play

DURABLE = {"appendonly": "yes", "appendfsync": "always"}


def check(ledger: Ledger, plan: Plan) -> None:
    assert len(ledger.acknowledged) == plan.jobs
    assert ledger.lost() == set(), "lost"
    doubled = ledger.doubled()
    unexcused = [job for job, is_excused in doubled.items() if not is_excused]
    assert unexcused == [], "done twice, and not in hand at a kill"
    assert len(doubled) <= (plan.kills + plan.server_kills * plan.workers) * plan.concurrency * 2
    assert ledger.lasting == [], "keys stay behind"
    unfinished = sum(attempt.end is None for attempt in ledger.attempts)
    print(
        f"{plan.jobs} jobs, {plan.kills} kills of workers, {plan.server_kills} of the server: 0 lost,"
        f" {len(doubled)} done twice, {unfinished} attempts cut off, {ledger.repeats} enqueues repeated"
    )


async def run(tmp_path: Path, plan: Plan) -> Ledger:
    with start_server(config=DURABLE) as server:
        return await play(server, tmp_path, plan)


async def test_nothing_is_lost(tmp_path: Path, no_debug: None) -> None:
    plan = Plan(jobs=1_500, kills=4, server_kills=1, seconds=0.04)
    check(await run(tmp_path, plan), plan)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_nothing_is_lost_of_a_hundred_thousand(tmp_path: Path, no_debug: None) -> None:
    plan = Plan(jobs=100_000, kills=25, server_kills=2, workers=4, concurrency=20)
    check(await run(tmp_path, plan), plan)


@pytest.mark.soak
@pytest.mark.parametrize(
    "mutation",
    [
        ("tend", "put(id, deaths == DEATHS - 1 and SUSPECTS or line(id), 0, 'LPUSH')", "call('DEL', key(id))"),
        ("give", "call('ZADD', LEASES, now + (job[6] or lease), id)", "call('ZADD', LEASES, now - 1, id)"),
        ("ends", "call('PEXPIRE', key(id), age or job[3] or KEEP)", ""),
    ],
    ids=["the job of a dead worker goes", "a lease that has ended", "a job that stays"],
)
async def test_a_mutation_is_caught(tmp_path: Path, no_debug: None, mutation: tuple[str, str, str]) -> None:
    plan = Plan(jobs=1_000, kills=3, server_kills=0, mutation=mutation)
    with pytest.raises((AssertionError, TimeoutError)):
        check(await run(tmp_path, plan), plan)


def test_the_ledger_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "11").write_text("b 1 1.0.\ne 1 1.1.\nb 2 1.0.\nb 3 5.0.\ne 3 5.1.\nb 4 1")
    (tmp_path / "12").write_text("b 2 9.0.\ne 2 9.1.\nb 3 9.0.\ne 3 9.1.\nb 5 9.0.\ne 5 9.1.\n")
    ledger = Ledger(acknowledged={1, 2, 3, 4, 5})
    ledger.read(tmp_path)
    assert len(ledger.attempts) == 6
    assert Attempt(2, 11, 1.0, None) in ledger.attempts
    assert ledger.lost() == {4}
    assert ledger.doubled() == {3: False}
    ledger.killed[11] = 5.1 + UNSETTLED / 2
    assert ledger.doubled() == {3: True}
    ledger.killed[11] = 5.2 + UNSETTLED
    assert ledger.doubled() == {3: False}
    ledger.away.append((5.2, 6.0))  # it could not be settled
    assert ledger.doubled() == {3: True}
