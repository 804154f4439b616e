"""Exceptions of the recipes, under one root.

Owns what each error says. Never shows a payload: arguments and results of jobs may be secret.
"""

from __future__ import annotations

from aioresp.errors import RedisError


class RecipeError(RedisError):
    """Base of the errors that only recipes raise."""


class LockLost(RecipeError):
    """A lock or a place of a semaphore was lost while its block ran: another may hold it.

    `reason` tells how. What the block wrote with the fencing token of the lock is refused once another has written.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[LockLost], tuple[str, str]]:
        return LockLost, (str(self), self.reason)


class LockTimeout(RecipeError, TimeoutError):
    """A lock or a place of a semaphore was not free within `wait` seconds.

    `rest` is the number of seconds until the lease in the way ends, unless it is renewed; None if that is not known.
    """

    def __init__(self, message: str, rest: float | None = None) -> None:
        super().__init__(message)
        self.rest = rest

    def __reduce__(self) -> tuple[type[LockTimeout], tuple[str, float | None]]:
        return LockTimeout, (str(self), self.rest)


class LockMisused(RecipeError, RuntimeError):
    """A lock or semaphore was used again while it is held or waits, or was given back without being held."""


class LimitTimeout(RecipeError, TimeoutError):
    """`Limiter.wait` found no place in time. `retry_after` is the number of seconds after which there may be one."""

    retry_after: float = 0.0


class JobError(RecipeError):
    """Base of the errors about one job; `id` is the job's."""

    def __init__(self, message: str, id: str) -> None:
        super().__init__(message)
        self.id = id

    def __reduce__(self) -> tuple[type[JobError], tuple[str, ...]]:
        return type(self), (str(self), self.id)


class JobFailed(JobError):
    """The job has failed for good, and is among the dead letters.

    `type` is the name of the worker's exception, `reason` is its message.
    """

    def __init__(self, message: str, id: str, type: str = "", reason: str = "") -> None:
        super().__init__(message, id)
        self.type = type
        self.reason = reason

    def __reduce__(self) -> tuple[type[JobError], tuple[str, ...]]:
        return JobFailed, (str(self), self.id, self.type, self.reason)


class JobCancelled(JobError):
    """The job was cancelled, or replaced, and has no result."""


class JobGone(JobError):
    """The queue has no such job: its result has expired, or it was purged, or the server lost it."""


class LoadCancelled(RecipeError):
    """The load of a value was cancelled from elsewhere, so its callers get none."""
