"""Draw mutations of the core, run the tests of the module on each, and tell which were not noticed.

`python -m tests.mutants 12` takes 12 of each module; `--only aioresp/retry.py`, `--seed 7` and `--workers 2` choose.
Each runs in a copy of the package and the tests, in a directory of its own. It takes minutes to hours.
"""

from __future__ import annotations

import argparse
import difflib
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final

from .mutate import Module, Mutant

ROOT: Final = Path(__file__).resolve().parent.parent.parent

#: Seconds that the tests of one stage may take. A mutation that makes them hang is noticed.
PATIENCE: Final = 300

_CONTEXTS: Final = "tests/contexts/test_"

#: The tests of each module, in stages: the later ones only run if nothing was noticed before.
MODULES: Final[dict[str, tuple[str, ...]]] = {
    "aioresp/pool/pool.py": (
        "tests/pool/test_pool.py",
        f"tests/test_client.py {_CONTEXTS}lease.py",
        "tests/test_faults.py tests/test_retry.py tests/pool/test_closing.py tests/test_closed_by_hand.py",
    ),
    "aioresp/wire/connection.py": (
        "tests/wire/test_batch.py tests/test_client.py",
        "tests/test_faults.py tests/security/test_hostile.py",
        "tests/test_cancellation.py tests/test_retry.py tests/wire/test_transports.py tests/pool/test_pool.py "
        "tests/security/test_credentials.py",
    ),
    "aioresp/wire/states.py": ("tests/wire/test_states.py",),
    "aioresp/pubsub/states.py": ("tests/pubsub/test_states.py",),
    "aioresp/contexts/blocking.py": (
        f"{_CONTEXTS}blocking_states.py {_CONTEXTS}blocking.py {_CONTEXTS}blocking_ends.py",
        f"{_CONTEXTS}blocking_losses.py {_CONTEXTS}blocking_putback.py {_CONTEXTS}time_limits.py",
        "tests/test_nothing_lost.py tests/pool/test_loops.py tests/security/test_hostile_pops.py",
    ),
    "aioresp/contexts/undo.py": (
        f"{_CONTEXTS}blocking_states.py {_CONTEXTS}borrowed.py",
        f"{_CONTEXTS}blocking_putback.py {_CONTEXTS}blocking_losses.py tests/test_nothing_lost.py",
    ),
    "aioresp/pubsub/hub.py": (
        "tests/pubsub/test_states.py tests/pubsub/test_hub.py tests/pubsub/test_gaps.py",
        "tests/pubsub/test_subscription.py tests/security/test_hostile_listening.py "
        "tests/security/test_credentials_listening.py",
    ),
    "aioresp/contexts/borrowed.py": (
        f"{_CONTEXTS}lease.py {_CONTEXTS}borrowed.py",
        f"{_CONTEXTS}blocking.py tests/test_client.py {_CONTEXTS}transaction.py {_CONTEXTS}time_limits.py",
        f"tests/security/test_credentials.py tests/test_events.py {_CONTEXTS}pipeline.py",
    ),
    "aioresp/recipes/limiter.py": ("tests/recipes/test_limiter.py",),
    "aioresp/recipes/outage.py": ("tests/recipes/test_limiter.py", "tests/recipes/test_cache.py"),
    "aioresp/recipes/entries.py": ("tests/recipes/test_cached.py", "tests/recipes/test_cache.py"),
    "aioresp/recipes/loads.py": ("tests/recipes/test_cached.py", "tests/recipes/test_cache.py"),
    "aioresp/recipes/cache.py": ("tests/recipes/test_cached.py", "tests/recipes/test_cache.py"),
    "aioresp/recipes/queue/schedule.py": ("tests/recipes/test_schedule.py",),
    "aioresp/recipes/queue/cron.py": ("tests/recipes/test_queue_cron.py",),
    "aioresp/recipes/queue/process.py": ("tests/recipes/test_queue_shutdown.py",),
    "aioresp/recipes/queue/seen.py": ("tests/recipes/test_queue_seen.py",),
    "aioresp/retry.py": (
        "tests/test_retry.py",
        f"tests/test_client.py tests/streams/test_reader.py {_CONTEXTS}pipeline.py tests/security/test_credentials.py",
    ),
    "aioresp/recipes/leases.py": ("tests/recipes/test_leases.py", "tests/recipes/test_lock_laws.py"),
    "aioresp/recipes/gate.py": ("tests/recipes/test_lock_laws.py", "tests/recipes/test_lock.py"),
    "aioresp/recipes/holding.py": ("tests/recipes/test_lock_laws.py", "tests/recipes/test_lock.py"),
}


class Run:
    """Mutants that wait to be tried, and what became of the others."""

    def __init__(self, drawn: list[tuple[str, Mutant]]) -> None:
        self._waiting: queue.SimpleQueue[tuple[str, Mutant]] = queue.SimpleQueue()
        for each in drawn:
            self._waiting.put(each)
        self.tried: dict[str, int] = {}
        self.unnoticed: dict[str, int] = {}
        self._lock = threading.Lock()

    def work(self) -> None:
        """Try one mutant after the other, in a copy that is this thread's own."""
        with tempfile.TemporaryDirectory() as name:
            copy = Path(name)
            for part in ("aioresp", "tests", "docs", "examples", "benchmarks"):
                shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            for part in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "Makefile"):
                shutil.copy(ROOT / part, copy / part)
            while True:
                try:
                    path, mutant = self._waiting.get_nowait()
                except queue.Empty:
                    return
                plain = (copy / path).read_text()
                (copy / path).write_text(mutant.source)
                noticed = any(not passes(copy, stage) for stage in MODULES[path])
                (copy / path).write_text(plain)
                with self._lock:
                    self._note(path, mutant, plain, noticed)

    def _note(self, path: str, mutant: Mutant, plain: str, noticed: bool) -> None:
        self.tried[path] = self.tried.get(path, 0) + 1
        if noticed:
            return
        self.unnoticed[path] = self.unnoticed.get(path, 0) + 1
        print(f"not noticed: {path}:{mutant.line}, {mutant.kind}")
        changes = difflib.unified_diff(plain.splitlines(), mutant.source.splitlines(), lineterm="", n=0)
        print(*(f"    {line}" for line in list(changes)[2:]), sep="\n", flush=True)


def passes(copy: Path, tests: str) -> bool:
    """Return whether the tests pass in time, on the package in the directory `copy`."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not soak", "--timeout=60", *tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return process.wait(PATIENCE) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.mutants", description="Find what no test notices.")
    parser.add_argument("each", type=int, help="how many mutations of each module")
    parser.add_argument("--only", help="one module")
    parser.add_argument("--kind", help="one kind of mutation, such as transition")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (0)")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time (2)")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    drawn: list[tuple[str, Mutant]] = []
    for path in MODULES if options.only is None else [options.only]:
        mutants = Module((ROOT / path).read_text()).mutants()
        mutants = [mutant for mutant in mutants if options.kind in (None, mutant.kind)]
        print(f"{path}: {len(mutants)} mutations", flush=True)
        drawn += [(path, mutant) for mutant in chance.sample(mutants, min(options.each, len(mutants)))]
    chance.shuffle(drawn)
    run = Run(drawn)
    workers = [threading.Thread(target=run.work) for _ in range(options.workers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for path, tried in sorted(run.tried.items()):
        print(f"{path}: {tried} tried, {run.unnoticed.get(path, 0)} not noticed")


if __name__ == "__main__":
    main()
