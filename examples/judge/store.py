"""Submissions of users in Redis, and their states; both are kept for a day.

Owns the keys: all of a user have the tag {USER}, so that they share a slot of a cluster. A state is stored and then
published, in one script. A listener that was cut off reads the store, so no verdict is lost.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Literal

import msgspec

from aioresp import Client, Retry

DAY: Final = 86_400
#: Number of submissions of a user that their history has.
KEPT: Final = 50

Phase = Literal["waiting", "running", "done"]

#: An older attempt, of a worker that was thought dead, never replaces what a later one wrote, nor a verdict.
PUT: Final = """
local old = redis.call('GET', KEYS[1])
if old then
  old = cjson.decode(old)
  if old.phase == 'done' or old.attempt > tonumber(ARGV[1]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[2])
return 1
"""


class Submission(msgspec.Struct, frozen=True):
    """A program that a user has sent; its id is chosen by the page, so that it may be sent twice."""

    id: str
    user: str
    problem: str
    source: str


class State(msgspec.Struct, frozen=True):
    """State of a submission, as the page shows it."""

    id: str
    problem: str
    at: float
    phase: Phase = "waiting"
    attempt: int = 0
    worker: str = ""
    passed: int = 0
    cases: int = 0
    verdict: str = ""
    seconds: float = 0.0
    given: str = ""
    expected: str = ""
    output: str = ""
    errors: str = ""


class Store:
    """Submissions and states. A call whose connection was lost is sent again, since all of them may run twice."""

    def __init__(self, redis: Client[str]) -> None:
        self._redis = redis.with_options(idempotent=True, retry=Retry(100, cap=0.5))
        self._put = self._redis.register_script(PUT)

    def channel(self, user: str) -> str:
        """Return the channel of a user's states."""
        return f"judge:{{{user}}}:states"

    async def add(self, submission: Submission) -> State:
        """Store a submission; its state waits, unless it was there already."""
        user, state = submission.user, State(submission.id, submission.problem, time.time())
        async with self._redis.pipeline() as p:
            p.set(self._program(user, submission.id), msgspec.json.encode(submission), ex=DAY)
            p.zadd(self._history(user), {submission.id: state.at}, nx=True)
            p.zremrangebyrank(self._history(user), 0, -KEPT - 1)
            p.expire(self._history(user), DAY)
        if await self._redis.exists(self._state(user, submission.id)) == 0:
            await self.put(user, state)
        return state

    async def put(self, user: str, state: State) -> None:
        """Store a state, then publish it."""
        text = msgspec.json.encode(state)
        await self._put(keys=[self._state(user, state.id)], args=[state.attempt, text, DAY, self.channel(user)])

    async def program(self, user: str, id: str) -> Submission | None:
        """Return a submission; None if there is none, or it has expired."""
        text = await self._redis.get(self._program(user, id))
        return None if text is None else msgspec.json.decode(text, type=Submission)

    async def state(self, user: str, id: str) -> State | None:
        """Return the state of a submission."""
        text = await self._redis.get(self._state(user, id))
        return None if text is None else msgspec.json.decode(text, type=State)

    async def history(self, user: str) -> list[State]:
        """Return the states of a user's submissions, the newest first."""
        ids = await self._redis.zrevrange(self._history(user), 0, -1)
        states = await asyncio.gather(*(self.state(user, id) for id in ids))
        return [state for state in states if state is not None]

    def _program(self, user: str, id: str) -> str:
        return f"judge:{{{user}}}:program:{id}"

    def _state(self, user: str, id: str) -> str:
        return f"judge:{{{user}}}:state:{id}"

    def _history(self, user: str) -> str:
        return f"judge:{{{user}}}:history"
