"""Worker of the judge: takes submissions from the queue, runs them, and stores what comes of it.

`aioresp worker examples.judge.worker:queue` is the same, with a log.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Final

import msgspec

from aioresp.recipes import Discard, Queue, running
from examples.judge.problems import PROBLEMS, Problem
from examples.judge.sandbox import Run, confinement, run
from examples.judge.store import State, Store
from examples.shared.member import client, name

#: Seconds after which the submission of a worker that died is another's.
LEASE: Final = float(os.environ.get("JUDGE_LEASE", "5"))
#: Characters of an output that a state keeps.
SHOWN: Final = 2000

redis = client()
store = Store(redis)
queue = Queue(redis, "judge")


@queue.task(lease=LEASE, retries=10, backoff=(0.5, 5), timeout=120)
async def judge(user: str, id: str) -> str:
    """Run a submission on the cases of its problem, up to the first that fails, and return the verdict."""
    known, submission = await store.state(user, id), await store.program(user, id)
    if known is None or submission is None:
        raise Discard("the submission has expired")
    problem = PROBLEMS[submission.problem]
    state = msgspec.structs.replace(
        known, phase="running", attempt=running().attempt, worker=name(), passed=0, cases=len(problem.cases)
    )
    for case, (given, _) in enumerate(problem.cases):
        await store.put(user, state)
        result = await run(submission.source, given)
        verdict = judged(problem, case, result)
        state = msgspec.structs.replace(state, seconds=max(state.seconds, result.seconds))
        if verdict:
            state = failed(state, problem, case, verdict, result)
            break
        state = msgspec.structs.replace(state, passed=case + 1)
    state = msgspec.structs.replace(state, phase="done", verdict=state.verdict or "accepted")
    await store.put(user, state)
    print(f"{id[:8]} of {user}: {state.verdict}, attempt {state.attempt}")
    return state.verdict


def judged(problem: Problem, case: int, result: Run) -> str:
    """Return what is wrong with a run; nothing if it is right."""
    if result.end != "ok":
        return result.end
    return "" if problem.is_right(case, result.output) else "wrong answer"


def failed(state: State, problem: Problem, case: int, verdict: str, result: Run) -> State:
    """Return the state with the case that failed."""
    given, expected = problem.cases[case]
    errors = result.errors if verdict in ("error", "too much memory") else ""
    return msgspec.structs.replace(
        state,
        verdict=verdict,
        given=cut(given),
        expected=cut(expected) if verdict == "wrong answer" else "",
        output=cut(result.output),
        errors=errors[-SHOWN:],
    )


def cut(text: str) -> str:
    """Return the beginning of a text."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


async def main() -> None:
    print(f"runs programs {confinement().words}; this is NO SANDBOX")
    async with redis, queue.worker(concurrency=os.cpu_count() or 1, grace=1) as worker:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main())
