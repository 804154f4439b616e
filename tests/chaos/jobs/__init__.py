"""What the tasks of a run do: one small file for each kind of work.

Owns the list of the jobs, and how many there are of each in two hundred tasks.
"""

from __future__ import annotations

from typing import Final

from tests.chaos.jobs.base import Common, Job
from tests.chaos.jobs.counters import Count, CountTogether
from tests.chaos.jobs.messages import ComeAndGo, Publish, Subscribe
from tests.chaos.jobs.pipelines import Pipe, ReadPipe
from tests.chaos.jobs.queues import Move, Pop, PopScored, Push
from tests.chaos.jobs.streams import Append, Consume, ReadOn
from tests.chaos.jobs.transactions import Transfer, Watch
from tests.chaos.jobs.values import Echo, Leased, Read, Remember, Write
from tests.chaos.jobs.visits import Visit

JOBS: Final[dict[type[Job], int]] = {
    Echo: 12,
    Read: 22,
    Write: 19,
    Remember: 5,
    Leased: 5,
    Count: 20,
    CountTogether: 15,
    Pipe: 15,
    ReadPipe: 10,
    Transfer: 10,
    Watch: 10,
    Push: 6,
    Pop: 8,
    PopScored: 6,
    Move: 8,
    Publish: 4,
    Subscribe: 9,
    ComeAndGo: 3,
    Append: 3,
    ReadOn: 4,
    Consume: 4,
    Visit: 2,
}

__all__ = ["JOBS", "Common", "Job"]
