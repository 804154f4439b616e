"""A run tells of an error that should not be: with its traceback, the seed, and how far the run has come."""

from __future__ import annotations

import pytest

from tests.chaos.dealing import Fault
from tests.chaos.jobs import Job
from tests.chaos.jobs.values import Echo
from tests.chaos.report import Report
from tests.chaos.run import Run
from tests.chaos.world import World

pytestmark = pytest.mark.usefixtures("no_debug")


class Broken(Job):
    """A job that ends by an error of its own."""

    kind = "broken"

    async def step(self) -> None:
        raise ZeroDivisionError("in a job")


async def break_wrongly(world: World) -> None:
    raise ZeroDivisionError("in a fault")


async def nothing(world: World) -> None:
    """Break nothing."""


class Ending(Run):
    def prepare(self, made: World) -> None:
        raise ZeroDivisionError("before the work")


def told(report: Report) -> str:
    assert report.problems == {"unexpected error": 1}, str(report)
    (text,) = report.examples
    return text


@pytest.mark.parametrize(
    ("jobs", "fault", "who", "where"),
    [
        ({Echo: 1, Broken: 1}, nothing, "broken-0", "in a job"),
        ({Echo: 1}, break_wrongly, "the dealer of the faults", "in a fault"),
    ],
)
async def test_an_error_of_a_task_is_told_at_once(
    jobs: dict[type[Job], int], fault: Fault[World], who: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(30, "seed", deck={fault: (1, 0.0)})
    run.jobs_of = jobs
    text = told(await run.go())
    printed = capsys.readouterr().err
    for each in (text, printed):
        assert who in each
        assert "seed seed" in each
        assert "Traceback" in each
        assert f"ZeroDivisionError: {where}" in each


async def test_an_error_that_ends_a_run_has_its_report() -> None:
    with pytest.raises(ZeroDivisionError, match="before the work") as raised:
        await Ending(30, "my seed", deck={nothing: (1, 0.0)}).go()
    (note,) = raised.value.__notes__
    assert "my seed" in note
    assert "commands answered" in note
