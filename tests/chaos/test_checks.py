"""Each check of the chaos run finds what it is there for: fed with a history that is wrong in one point.

Numbered messages have `test_numbered.py`, what is left behind `test_census.py`, a broken library `test_mutations.py`.
"""

from __future__ import annotations

import asyncio

import pytest

import aioresp
from aioresp import Client, Lost
from aioresp.errors import LoadingError, UnblockedError
from aioresp.testing import Server
from tests.chaos import queues
from tests.chaos.jobs.base import Common
from tests.chaos.jobs.pipelines import Pipe
from tests.chaos.jobs.values import Echo, Read
from tests.chaos.ledger import GivenUpError, Ledger, Outcome, judge
from tests.chaos.lines import Line, Register, Shared
from tests.chaos.queues import Queue

DONE, NOT_DONE, UNKNOWN = Outcome.DONE, Outcome.NOT_DONE, Outcome.UNKNOWN


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def laws(ledger: Ledger) -> list[str]:
    return sorted(ledger.problems.elements())


def because(cause: aioresp.ResponseError) -> aioresp.ExecAbortError:
    error = aioresp.ExecAbortError("nothing was done")
    error.__cause__ = cause
    return error


# --- Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (aioresp.ConnectionLost("gone"), UNKNOWN),
        (aioresp.ConnectionLost("gone", "not sent"), NOT_DONE),
        (aioresp.ConnectError("refused"), NOT_DONE),
        (aioresp.ConnectTimeout("late"), NOT_DONE),
        (aioresp.PoolTimeout("full"), NOT_DONE),
        (aioresp.ClientClosed("closed"), NOT_DONE),
        (aioresp.CommandTimeout("late"), UNKNOWN),
        (aioresp.WatchError("changed"), NOT_DONE),
        (LoadingError("LOADING"), NOT_DONE),
        (because(LoadingError("LOADING")), NOT_DONE),
        (because(aioresp.WrongTypeError("WRONGTYPE")), None),
        (TimeoutError(), UNKNOWN),
        (GivenUpError(), UNKNOWN),
        (aioresp.ProtocolError("no RESP"), None),
        (UnblockedError("UNBLOCKED"), None),
        (aioresp.ResponseError("ERR"), None),
        (ValueError(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_an_error_says_of_its_command(ledger: Ledger, error: Exception, outcome: Outcome | None) -> None:
    assert judge(error) is outcome
    ledger.failed("kind", error)
    assert laws(ledger) == ([] if outcome else ["unexpected error"])


async def test_a_call_that_is_too_late(ledger: Ledger, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Echo, "most", 1.0)
    async with Client(server.url) as r:
        job = Echo(Common(r, lambda: r, "seed", 0.1, ledger, calm=True), 1)
        await job.ask(lambda r: r.echo("in time"))
        assert laws(ledger) == []
        await job.ask(lambda r: asyncio.sleep(1.1))
    assert laws(ledger) == ["call too late"]


# --- Counters and values ---------------------------------------------------------------------------------------------


def test_a_line_that_is_as_it_should_be(ledger: Ledger) -> None:
    line = Line(ledger, "line")
    for value in (1, 2, 3):
        line.expect(value)
        line.settle(DONE)
    line.settle(NOT_DONE)
    line.settle(UNKNOWN, 5)
    line.expect(1)
    line.settle(DONE)
    assert list(line.bounds()) == [("line:0", 3, 8), ("line:1", 1, 1)]
    for found in (3, 8):
        line.check("line:0", 3, 8, found)
    assert laws(ledger) == []


def test_an_increment_that_ran_twice_shows_in_its_reply(ledger: Ledger) -> None:
    line = Line(ledger, "line")
    line.settle(DONE)
    line.expect(3)
    assert laws(ledger) == ["ran twice"]


def test_an_increment_that_was_lost_shows_in_the_next_reply(ledger: Ledger) -> None:
    line = Line(ledger, "line")
    line.settle(DONE)
    line.settle(DONE)
    line.expect(2)
    assert laws(ledger) == ["acknowledged write lost"]


@pytest.mark.parametrize(("found", "law"), [(2, "acknowledged write lost"), (5, "ran twice")])
def test_a_counter_that_is_wrong_at_the_end(ledger: Ledger, found: int, law: str) -> None:
    Line(ledger, "line").check("line:0", 3, 4, found)
    assert laws(ledger) == [law]


def test_a_register_that_is_not_what_was_written_last(ledger: Ledger) -> None:
    register = Register(ledger, "register")
    for found in (3, 4):
        register.check("register:0", 3, 4, found)
    assert laws(ledger) == []
    register.check("register:0", 3, 4, 2)
    register.check("register:0", 3, 3, 4)
    assert laws(ledger) == ["acknowledged write lost"] * 2


def test_a_value_of_another_key(ledger: Ledger) -> None:
    register = Register(ledger, "register")
    assert register.number("register:0", register.render(7, 10)) == 7
    assert laws(ledger) == []
    register.number("register:1", register.render(7, 10))
    assert laws(ledger) == ["crossed reply"]


def test_a_shared_counter(ledger: Ledger) -> None:
    counter = Shared(ledger, "shared")
    for outcome, value in ((DONE, 1), (UNKNOWN, 0), (NOT_DONE, 0), (DONE, 3)):
        counter.start()
        counter.settle(outcome, value=value)
    for found in (2, 3):
        counter.check(found)
    assert laws(ledger) == []
    counter.check(1)
    counter.check(4)
    assert laws(ledger) == ["acknowledged write lost", "ran twice"]


@pytest.mark.parametrize(("value", "law"), [(1, "acknowledged write lost"), (3, "ran twice")])
def test_a_shared_counter_with_a_reply_that_cannot_be(ledger: Ledger, value: int, law: str) -> None:
    counter = Shared(ledger, "shared")
    for reply in (1, value):
        counter.start()
        counter.settle(DONE, value=reply)
    assert laws(ledger) == [law]


# --- Queues ----------------------------------------------------------------------------------------------------------


def queue_with(ledger: Ledger, *outcomes: Outcome, moved: bool = False) -> tuple[Queue, list[str]]:
    queue = Queue(ledger, "q", moved=moved)
    jobs = [queue.make(0, 1)[0] for _ in outcomes]
    for job, outcome in zip(jobs, outcomes, strict=True):
        queue.settle([job], outcome)
    return queue, jobs


def test_a_queue_that_is_as_it_should_be(ledger: Ledger) -> None:
    queue, jobs = queue_with(ledger, DONE, DONE, UNKNOWN, UNKNOWN, NOT_DONE, DONE, DONE)
    queue.take(jobs[0])
    queue.take(jobs[2])
    queue.pop_unknown()  # may have been jobs[5]
    queue.report(Lost(("BRPOP", "q", 0), b"q", (jobs[6].encode(),), (), ValueError()))
    queue.check([jobs[1]])
    assert laws(ledger) == []


def test_a_job_that_is_lost(ledger: Ledger) -> None:
    queue, jobs = queue_with(ledger, DONE, DONE)
    queue.check([jobs[1]])
    assert laws(ledger) == ["job lost"]


def test_more_jobs_lost_than_pops_are_unknown(ledger: Ledger) -> None:
    queue, _ = queue_with(ledger, DONE, DONE, DONE)
    queue.pop_unknown()
    queue.pop_unknown()
    queue.check([])
    assert laws(ledger) == ["job lost"]


def test_a_pop_long_before_the_job_was_there_explains_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "LATE", 0.0)
    queue = Queue(ledger, "q")
    queue.pop_unknown()
    queue.settle(queue.make(0, 1), DONE)
    queue.check([])
    assert laws(ledger) == ["job lost"]


def test_a_moved_job_is_never_lost(ledger: Ledger) -> None:
    queue, _ = queue_with(ledger, DONE, moved=True)
    queue.pop_unknown()
    queue.check([])
    assert laws(ledger) == ["job lost"]


def test_a_job_that_is_done_twice(ledger: Ledger) -> None:
    queue, jobs = queue_with(ledger, DONE, UNKNOWN)
    for job in (*jobs, *jobs):
        queue.take(job)
    assert laws(ledger) == ["job done twice"] * 2


def test_a_job_that_is_done_and_still_there(ledger: Ledger) -> None:
    queue, jobs = queue_with(ledger, DONE, DONE)
    queue.take(jobs[0])
    queue.check([jobs[0], jobs[1], jobs[1]])
    assert laws(ledger) == ["job done twice"] * 2


def scored_with(ledger: Ledger, count: int) -> tuple[Queue, list[str]]:
    queue = Queue(ledger, "q", scored=True)
    jobs = queue.make(0, count)
    queue.settle(jobs, DONE)
    return queue, jobs


def test_a_scored_queue_that_is_as_it_should_be(ledger: Ledger) -> None:
    queue, jobs = scored_with(ledger, 7)
    queue.take(jobs[1], 1 / 3)
    queue.report(Lost(("BZPOPMIN", "q", 0), b"q", (jobs[2].encode(),), (2 / 3,), ValueError()))
    for job in jobs[3:5]:  # it may be there, and may not
        queue.report(Lost(("BZPOPMIN", "q", 0), b"q", (job.encode(),), (queue.score(job),), ValueError(), "unknown"))
    queue.report(Lost(("BZMPOP", 0, 1, "q", "MIN", "COUNT", 2), None, (), (), ValueError(), "unknown"))
    queue.check_scored([(jobs[0], 0.0), (jobs[4], 4 / 3)])
    assert laws(ledger) == []


def test_a_score_that_is_another(ledger: Ledger) -> None:
    queue, jobs = scored_with(ledger, 4)
    queue.take(jobs[1], 0.33)
    queue.report(Lost(("BZPOPMIN", "q", 0), b"q", (jobs[2].encode(),), (2.0,), ValueError()))
    queue.check_scored([(jobs[0], 0.0), (jobs[3], 1.0000001)])
    assert laws(ledger) == ["score changed"] * 3


@pytest.mark.parametrize("done", [True, False])
def test_a_job_that_was_reported_as_lost_and_is_there(ledger: Ledger, done: bool) -> None:
    queue, jobs = queue_with(ledger, DONE)
    queue.report(Lost(("BRPOP", "q", 0), b"q", (jobs[0].encode(),), (), ValueError()))
    if done:
        queue.take(jobs[0])
    queue.check([] if done else jobs)
    assert laws(ledger) == ["job reported as lost that is not"]


@pytest.mark.parametrize("done", [True, False])
def test_a_job_that_was_not_sent_and_is_there(ledger: Ledger, done: bool) -> None:
    queue, jobs = queue_with(ledger, NOT_DONE)
    if done:
        queue.take(jobs[0])
    queue.check([] if done else jobs)
    assert laws(ledger) == ["ran though it was not sent"]


@pytest.mark.parametrize("job", ["other:0:0", "q:0:1", "q:1:0", "q", "", "q:x:y"])
def test_a_job_of_another_queue(ledger: Ledger, job: str) -> None:
    queue, _ = queue_with(ledger, DONE)
    queue.take(job)
    assert laws(ledger) == ["crossed reply"]


# --- Replies ---------------------------------------------------------------------------------------------------------


async def test_replies_that_are_crossed(ledger: Ledger, server: Server) -> None:
    async with Client(server.url) as r:
        common = Common(r, lambda: r, "seed", 0.1, ledger)
        read, pipe = Read(common, 1), Pipe(common, 1)
        read.check(["who:1", "who:2"], ["who:1=x", "who:2="])
        pipe.belongs_to("who:1")("who:1=x")
        pipe.is_payload("a")("a")
        pipe.is_next(1)
        pipe.is_refused(aioresp.WrongTypeError("WRONGTYPE"))
        assert laws(ledger) == []
        read.check(["who:1", "who:2"], ["who:2=x", "who:1="])
        read.check(["who:1"], [None])
        read.check(["who:1"], ["in 1: who:1=x"])
        pipe.belongs_to("who:1")("who:11=x")
        pipe.is_payload("a")("b")
        pipe.is_next("a")
        pipe.is_refused("a")
    assert laws(ledger) == ["crossed reply"] * 8
