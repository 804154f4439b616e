"""Patience with failed attempts to connect: the count, the pauses, and when it ends."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aioresp import AuthenticationError, ConnectError, Retry
from aioresp.pool.opening import Patience, error_of


def test_it_counts_until_it_gives_up_and_then_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []

    def pause(error: BaseException, failures: int) -> float | None:
        asked.append(failures)
        return 0.5 * failures if failures < 3 else None

    patience = Patience(pause, "connection for tests")
    error = ConnectError("nobody there")
    with caplog.at_level(logging.INFO, logger="aioresp"):
        assert [patience.fail(error) for _ in range(4)] == [0.5, 1.0, None, 0.5]
    assert asked == [1, 2, 3, 1]
    assert patience.failure is error, "callers that were given up are told why"
    assert [record.getMessage() for record in caplog.records] == [
        "no connection for tests: nobody there; the next attempt is in 0.5 s",
        "no connection for tests: nobody there; the next attempt is in 1 s",
        "no connection for tests: nobody there; the next attempt is in 0.5 s",
    ]
    patience.forget()
    forgotten: tuple[int, object] = (patience.failures, patience.failure)
    assert forgotten == (0, None)


def test_beyond_the_rule_only_what_may_go_away_is_tried_again() -> None:
    beyond = Retry(3, base=1.0, cap=2.0, jitter=False)
    patience = Patience(lambda error, failures: None, "connection")
    refused = ConnectError("refused")
    assert [patience.fail(refused, beyond) for _ in range(5)] == [1.0, 2.0, 2.0, 2.0, 2.0]
    assert patience.failures == 5, "it has not given up"
    assert patience.fail(AuthenticationError("WRONGPASS"), beyond) is None
    assert patience.failures == 0


async def test_a_cancelled_attempt_is_a_failed_one() -> None:
    async def attempt(error: Exception | None) -> None:
        if error is not None:
            raise error
        await asyncio.sleep(10 if asyncio.current_task() is cancelled else 0)

    wrong = ConnectError("refused")
    good, bad, cancelled = (asyncio.create_task(attempt(error)) for error in (None, wrong, None))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait((good, bad, cancelled))
    assert error_of(good) is None
    assert error_of(bad) is wrong
    assert isinstance(error_of(cancelled), ConnectError)
