"""What servers lose by their nature is excused where they say so, and nowhere else."""

from __future__ import annotations

import time

import pytest

import aioresp
from aioresp import CommandTimeout, Lost
from aioresp.testing.slots import keyslot
from tests.chaos.channels import Channel, Ear
from tests.chaos.ledger import Ledger, LeftBehindError, Outcome, judge
from tests.chaos.lines import Line, Register, Shared
from tests.chaos.losses import FIGURES, UNDONE, Losses
from tests.chaos.queues import Queue
from tests.chaos.streams import Log

DONE = Outcome.DONE


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.losses = Losses()
    return ledger


def laws(ledger: Ledger) -> list[str]:
    ledger.settle_losses()
    return sorted(ledger.problems.elements())


def losing(ledger: Ledger, *slots: int) -> None:
    """Let the servers lose what was acknowledged up to now."""
    assert ledger.losses is not None
    ledger.losses.open("write", slots or None, since=time.monotonic() - 60).close()


def counter(ledger: Ledger) -> Line:
    line = Line(ledger, "line")
    for value in (1, 2, 3):
        line.expect(value)
        line.settle(DONE)
    return line


def test_what_is_lost_in_a_window_is_counted_apart(ledger: Ledger) -> None:
    line = counter(ledger)
    losing(ledger, keyslot("line:0"))
    line.expect(2)
    line.settle(DONE)
    line.expect(3)
    line.settle(DONE)
    assert list(line.bounds()) == [("line:0", 3, 3)]
    assert laws(ledger) == []
    assert ledger.figures[FIGURES["write"]] == 2


def test_what_is_lost_before_a_window_is_a_problem(ledger: Ledger) -> None:
    line = counter(ledger)
    assert ledger.losses is not None
    ledger.losses.open("write")
    line.expect(4)
    line.settle(DONE)
    line.expect(4)
    assert laws(ledger) == []
    line = counter(ledger)
    line._times[0][1] -= 1
    line.expect(2)
    assert laws(ledger) == ["acknowledged write lost"]


def test_what_is_lost_after_a_window_is_a_problem(ledger: Ledger) -> None:
    losing(ledger)
    line = counter(ledger)
    line.expect(3)
    assert laws(ledger) == ["acknowledged write lost"]


def test_what_is_lost_in_other_slots_is_a_problem(ledger: Ledger) -> None:
    line = counter(ledger)
    losing(ledger, keyslot("line:0") + 1)
    line.check("line:0", 3, 3, 2)
    assert laws(ledger) == ["acknowledged write lost"]


def test_a_window_that_is_found_later_explains_what_was_before(ledger: Ledger) -> None:
    line = counter(ledger)
    line.check("line:0", 3, 3, 1)
    losing(ledger)
    assert laws(ledger) == []


def test_what_runs_twice_is_never_excused(ledger: Ledger) -> None:
    line = counter(ledger)
    losing(ledger)
    line.expect(5)
    assert laws(ledger) == ["ran twice"]


def test_a_register_that_is_older_than_it_was(ledger: Ledger) -> None:
    register = Register(ledger, "register")
    for _ in range(3):
        register.settle(DONE)
    losing(ledger)
    register.check("register:0", 3, 3, 1)
    register.check("register:0", 3, 4, 4)
    assert laws(ledger) == []
    register.check("register:0", 3, 4, 5)
    assert laws(ledger) == ["acknowledged write lost"]


def test_numbers_of_a_shared_counter_that_come_again(ledger: Ledger) -> None:
    shared = Shared(ledger, "shared")
    for value in (1, 2, 3):
        shared.start()
        shared.settle(DONE, value=value)
    losing(ledger)
    shared.start()
    shared.settle(DONE, value=3)
    shared.check(3)
    shared.check(2)
    assert laws(ledger) == ["acknowledged write lost"], "the second 3 was after the window"
    shared = Shared(ledger, "shared")
    shared.start()
    shared.settle(DONE, value=1)
    losing(ledger)
    shared.check(0)
    assert laws(ledger) == ["acknowledged write lost"], "still the only one"


def test_jobs_that_are_lost_or_come_again(ledger: Ledger) -> None:
    queue = Queue(ledger, "queue")
    one, two = queue.make(0, 2)
    queue.settle([one, two], DONE)
    queue.take(one)
    losing(ledger)
    queue.take(one)
    queue.check([])
    assert laws(ledger) == []
    queue.take(one)
    assert laws(ledger) == ["job done twice"]


def reported(ledger: Ledger) -> tuple[Queue, str]:
    """Return a queue with a job that has been popped, and was reported as lost."""
    queue = Queue(ledger, "queue")
    (job,) = queue.make(0, 1)
    queue.settle([job], DONE)
    queue.report(Lost(("BRPOP", "queue", 0), b"queue", (job.encode(),), (), CommandTimeout("late")))
    return queue, job


@pytest.mark.parametrize("again", ["in the queue", "done"])
def test_a_report_of_a_job_whose_pop_a_failover_has_undone(ledger: Ledger, again: str) -> None:
    queue, job = reported(ledger)
    losing(ledger, keyslot("queue"))
    if again == "done":
        queue.take(job)
    queue.check([job] if again == "in the queue" else [])
    assert laws(ledger) == []
    assert ledger.figures[UNDONE] == 1


@pytest.mark.parametrize("again", ["in the queue", "done"])
@pytest.mark.parametrize("failover", ["none", "of another shard", "later", "long before"])
def test_a_wrong_report_without_a_failover_is_a_problem(ledger: Ledger, again: str, failover: str) -> None:
    assert ledger.losses is not None
    if failover == "long before":
        ledger.losses.open("write", since=time.monotonic() - 60).close()
        time.sleep(0.001)
    queue, job = reported(ledger)
    if failover == "of another shard":
        losing(ledger, keyslot("queue") + 1)
    elif failover == "later":
        time.sleep(0.001)
        ledger.losses.open("write").close()
    if again == "done":
        queue.take(job)
    queue.check([job] if again == "in the queue" else [])
    assert laws(ledger) == ["job reported as lost that is not"]
    (told,) = ledger.examples
    assert "which said CommandTimeout('late')" in told
    assert ("its slot may have lost writes: never" in told) == (failover in ("none", "of another shard"))


def test_a_job_that_was_done_before_it_was_reported_as_lost(ledger: Ledger) -> None:
    """Then it is the pop of the one who has done it that was undone."""
    queue = Queue(ledger, "queue")
    (job,) = queue.make(0, 1)
    queue.settle([job], DONE)
    queue.take(job)
    time.sleep(0.001)
    assert ledger.losses is not None
    window = ledger.losses.open("write")
    time.sleep(0.001)
    queue.report(Lost(("BRPOP", "queue", 0), b"queue", (job.encode(),), (), CommandTimeout("late")))
    window.close()
    queue.check([])
    assert laws(ledger) == ["job reported as lost that is not"]
    losing(ledger)
    queue.check([])
    ledger.problems.clear()
    assert laws(ledger) == []


def test_an_entry_that_is_lost(ledger: Ledger) -> None:
    log = Log(ledger, "log")
    log.settle(log.make(), DONE)
    losing(ledger)
    log.settle(log.make(), DONE)
    log.check(["log:2:"])
    assert laws(ledger) == []
    log.check(["log:1:"])
    assert laws(ledger) == ["acknowledged write lost"]


def heard(ledger: Ledger, *numbers: int) -> list[str]:
    channel = Channel("channel", relayed=True)
    ear = Ear(ledger, channel, "ear")
    for _ in range(4):
        channel.settle(channel.make(), DONE)
    for number in numbers:
        ear.hear("channel", channel.text(number, 0))
    ear.end()
    return laws(ledger)


def test_messages_between_nodes_may_overtake_each_other(ledger: Ledger) -> None:
    assert heard(ledger, 1, 3, 2, 4) == []
    assert ledger.figures["messages overtaken between two nodes"] == 1
    assert heard(ledger, 1, 2, 2, 3, 4) == ["message twice or out of order"]


def test_messages_that_were_lost_between_nodes(ledger: Ledger) -> None:
    assert heard(ledger, 1, 3, 4) == ["hole without a Gap"]
    ledger.problems.clear()
    assert ledger.losses is not None
    ledger.losses.open("message")
    assert heard(ledger, 1, 3, 4) == []


@pytest.mark.parametrize("error", [aioresp.MovedError("MOVED 1 a:1"), aioresp.AskError("ASK 1 a:1")])
def test_redirects_reach_no_caller(ledger: Ledger, error: Exception) -> None:
    ledger.failed("kind", error)
    assert laws(ledger) == ["a redirect reached a caller"]


def test_a_lease_that_its_slot_has_left() -> None:
    assert judge(LeftBehindError()) is Outcome.NOT_DONE
