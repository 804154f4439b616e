"""Blocking command of a cluster: it waits at the node that serves its slot, and moves on with the slot.

Owns the attempts of one blocking command at one node after another, within its own time limit. Never puts anything
back: each attempt does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeVar

from aioresp.cluster.redirect import ASKING, Course, Step, step_after
from aioresp.cluster.router import Router
from aioresp.command import told
from aioresp.contexts.blocking import GRACE
from aioresp.contexts.borrowed import Borrowed
from aioresp.contexts.identity import learn
from aioresp.errors import ConnectionLost, RedisError, UnblockedError
from aioresp.facts.traits import Traits
from aioresp.options import Terms
from aioresp.pool.loops import running_loop
from aioresp.pool.pool import Pool
from aioresp.retry import may_repeat
from aioresp.wire.connection import Connection
from aioresp.wire.packing import pack

T = TypeVar("T")

#: Part of the error by which Redis 7.0 ends a group's read when the stream is deleted, as it is when it moves away. If
#: somebody has deleted it, the next attempt gets NOGROUP.
_STREAM_GONE: Final = "the stream key no longer exists"


class Block:
    """One blocking command. The middleware of `terms` is not called, because the caller has called it already."""

    def __init__(self, router: Router, facts: Traits, slot: int | None, terms: Terms) -> None:
        limit = facts.timeout
        self._until = running_loop().time() + max(limit, 0.0) if limit else None
        self._facts = facts
        self._slot = slot
        self._terms = terms
        deadline = math.inf if self._until is None else self._until + GRACE
        self._course = Course(router, pack(tuple(facts.arguments)), slot, terms, deadline)
        self._attempt: Borrowed | None = None  # the connection of the present attempt
        self._finished = False  # set by `finish`, never cleared

    async def run(self, reply: Callable[[Any], T]) -> T:
        """Return the converted reply of the first node that runs the command."""
        failed: RedisError | None = None
        try:
            while True:
                if failed is not None:
                    await self._course.after(failed, self._step(failed))
                    failed = None
                if self._finished:
                    return reply(None)
                await self._course.next()
                borrowed = _Asking if self._course.asking else Borrowed
                terms = self._terms.replace(middleware=())
                try:
                    self._attempt = borrowed(self._chosen, terms, self._facts.name)
                    value = await self._attempt.block(self._facts, reply, self._until)
                except RedisError as error:
                    told(error, self._facts)
                    failed = error
                else:
                    self._course.note_reply()
                    return value
        finally:
            failed = None  # whose traceback holds this frame

    def finish(self) -> bool:
        """End the command as its time limit would. Return False if no server has it: then it may be cancelled."""
        self._finished = True
        return self._attempt is not None and self._attempt.finish()

    def _chosen(self) -> Pool[Connection]:
        assert self._course.target is not None
        return self._course.target

    def _step(self, error: RedisError) -> Step:
        """Return the step after an error. What has waited on a server is not sent again, even if it only reads."""
        if isinstance(error, ConnectionLost) and not may_repeat(
            error, self._facts, self._terms.idempotent, reads=False
        ):
            return Step.STOP
        if isinstance(error, UnblockedError) and _STREAM_GONE in str(error):
            return Step.WAIT
        return step_after(error, self._facts, self._slot, self._terms)


class _Asking(Borrowed):
    """A borrowed connection that is asked once, for a slot that its node does not serve yet."""

    async def borrow(self, deadline: float | None, *, writes: bool = False) -> Connection:
        """Take a connection from the pool, and send ASKING on it: the blocking command follows in the same write."""
        connection = await super().borrow(deadline, writes=writes)
        assert self._pool is not None
        try:
            connection.join()
            learn(self._pool, connection)  # now, as it would use ASKING up
            connection.send(ASKING, False, None).add_done_callback(_forget)
        except BaseException:  # it has just ended
            self.give_back()
            raise
        return connection


def _forget(answer: Any) -> None:
    if not answer.cancelled():
        answer.exception()  # the command behind it gets an error of its own
