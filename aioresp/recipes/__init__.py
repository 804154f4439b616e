"""Recipes over a client: a queue of jobs, a lock, a semaphore, a limiter and a cache.

Needs the extra `recipes`. Every change of state is one Lua script that reads the server's clock. Every script may be
sent twice, so a call whose connection is lost is repeated by itself.
"""

from typing import TYPE_CHECKING

from aioresp.recipes.errors import (
    JobCancelled,
    JobError,
    JobFailed,
    JobGone,
    LimitTimeout,
    LoadCancelled,
    LockLost,
    LockMisused,
    LockTimeout,
    RecipeError,
)

if TYPE_CHECKING:
    from aioresp.recipes.cache import Cache, Cached
    from aioresp.recipes.holding import Held
    from aioresp.recipes.limiter import Hit, Limiter
    from aioresp.recipes.lock import HeldLock, Lock
    from aioresp.recipes.queue.job import Job, JobInfo
    from aioresp.recipes.queue.queue import Counts, Queue
    from aioresp.recipes.queue.running import Again, Discard, Running, Snooze, running
    from aioresp.recipes.queue.seen import (
        JobDead,
        JobEvent,
        JobFinished,
        JobGivenBack,
        JobHook,
        JobMiddleware,
        JobRetried,
        JobStarted,
        JobStopped,
        LeaseLost,
    )
    from aioresp.recipes.queue.task import Task
    from aioresp.recipes.queue.worker import Worker
    from aioresp.recipes.semaphore import Semaphore
else:
    _LATER = {
        "aioresp.recipes.cache": (
            "Cache",
            "Cached",
        ),
        "aioresp.recipes.holding": ("Held",),
        "aioresp.recipes.limiter": (
            "Hit",
            "Limiter",
        ),
        "aioresp.recipes.lock": (
            "HeldLock",
            "Lock",
        ),
        "aioresp.recipes.queue.job": (
            "Job",
            "JobInfo",
        ),
        "aioresp.recipes.queue.queue": (
            "Counts",
            "Queue",
        ),
        "aioresp.recipes.queue.running": (
            "Again",
            "Discard",
            "Running",
            "Snooze",
            "running",
        ),
        "aioresp.recipes.queue.seen": (
            "JobDead",
            "JobEvent",
            "JobFinished",
            "JobGivenBack",
            "JobHook",
            "JobMiddleware",
            "JobRetried",
            "JobStarted",
            "JobStopped",
            "LeaseLost",
        ),
        "aioresp.recipes.queue.task": ("Task",),
        "aioresp.recipes.queue.worker": ("Worker",),
        "aioresp.recipes.semaphore": ("Semaphore",),
    }

    def __getattr__(name):
        for module, names in _LATER.items():
            if name in names:
                try:
                    return getattr(__import__(module, fromlist=names), name)
                except ModuleNotFoundError as error:
                    from aioresp.advice import extra  # noqa: PLC0415 (needed for a mistake only)

                    raise extra(f"{__name__}.{name}", error, "recipes") from error
        from aioresp.advice import absent  # noqa: PLC0415 (needed for a mistake only)

        raise absent(__name__, name, __all__)

    def __dir__():
        return sorted(__all__)


__all__ = [
    "Again",
    "Cache",
    "Cached",
    "Counts",
    "Discard",
    "Held",
    "HeldLock",
    "Hit",
    "Job",
    "JobCancelled",
    "JobDead",
    "JobError",
    "JobEvent",
    "JobFailed",
    "JobFinished",
    "JobGivenBack",
    "JobGone",
    "JobHook",
    "JobInfo",
    "JobMiddleware",
    "JobRetried",
    "JobStarted",
    "JobStopped",
    "LeaseLost",
    "LimitTimeout",
    "Limiter",
    "LoadCancelled",
    "Lock",
    "LockLost",
    "LockMisused",
    "LockTimeout",
    "Queue",
    "RecipeError",
    "Running",
    "Semaphore",
    "Snooze",
    "Task",
    "Worker",
    "running",
]
