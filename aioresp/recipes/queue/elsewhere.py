"""Names of other queues, each with advice on what it is here.

Owns the advice of tasks, jobs and queues. Never stands between an attribute that exists and its caller.
"""

from __future__ import annotations

from typing import Final

_ENQUEUE: Final = "it is `await task.enqueue(...)` here"
_OPTIONS: Final = "it is `await task.options(delay=..., at=...).enqueue(...)` here"
_RESULT: Final = "it is `await job.result(timeout=...)` here"
_STATE: Final = "it is `(await job.info()).state` here"
_OF_TASK: Final = "a task has it: `await task.enqueue(...)`, of a function with the decorator `@queue.task`"
_WORKER: Final = "it is `queue.worker()` here, or the command `aioresp worker module:queue`"

#: Of Celery, taskiq, dramatiq and RQ.
TASK: Final[dict[str, str]] = {
    **dict.fromkeys(("delay", "kiq", "send", "defer"), _ENQUEUE),
    **dict.fromkeys(("apply_async", "kicker", "send_with_options", "configure", "schedule"), _OPTIONS),
    **dict.fromkeys(("apply", "fn", "original_func"), "a plain call runs the function: `await task(...)`"),
    **dict.fromkeys(("s", "si", "map", "chunks"), "there are no workflows: enqueue the next job in a job"),
    "retry": "it is `raise Again(delay=...)` in the job",
}

#: Of Celery, arq, SAQ, RQ and taskiq.
JOB: Final[dict[str, str]] = {
    **dict.fromkeys(("get", "wait", "wait_result", "get_result", "return_value", "refresh"), _RESULT),
    **dict.fromkeys(("status", "state", "ready", "successful", "failed", "is_finished", "is_failed"), _STATE),
    **dict.fromkeys(("abort", "revoke", "forget", "delete"), "it is `await job.cancel()` here"),
    **dict.fromkeys(("job_id", "key", "task_id"), "it is `id` here"),
    "retry": "it is `raise Again(delay=...)` in the job, or `await queue.revive(id)` for a dead letter",
    "requeue": "it is `await queue.revive(id)` here",
}

#: Of SAQ, RQ, arq, Celery and taskiq.
QUEUE: Final[dict[str, str]] = {
    **dict.fromkeys(("enqueue", "enqueue_job", "send_task", "apply", "map"), _OF_TASK),
    **dict.fromkeys(("enqueue_in", "enqueue_at", "enqueue_call"), _OPTIONS),
    **dict.fromkeys(("actor", "register_task"), "it is the decorator `@queue.task` here"),
    **dict.fromkeys(("on_after_configure", "add_periodic_task", "schedule"), "it is the decorator `@queue.cron` here"),
    **dict.fromkeys(("work", "start", "run", "listen"), _WORKER),
    **dict.fromkeys(("count", "info", "stats"), "it is `await queue.counts()` here"),
    **dict.fromkeys(("empty", "clear", "flush"), "it is `await queue.purge()` here"),
    **dict.fromkeys(("failed_job_registry", "dead_letters"), "it is `async for job in queue.dead()` here"),
    "fetch_job": "it is `queue.job(id)` here",
}
