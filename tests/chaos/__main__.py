"""`python -m tests.chaos [server|cluster|sentinel] SECONDS [SEED]`: one run, and its figures."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

from tests.chaos.cluster.run import ClusterRun
from tests.chaos.play import Play
from tests.chaos.run import Run
from tests.chaos.sentinel.run import SentinelRun

RUNS: Final[dict[str, type[Play[Any]]]] = {"server": Run, "cluster": ClusterRun, "sentinel": SentinelRun}

if __name__ == "__main__":
    words = sys.argv[1:]
    kind = words.pop(0) if words and words[0] in RUNS else "server"
    run: Any = RUNS[kind]
    report = asyncio.run(run(float(words[0]), *words[1:2]).go())
    print(report)
    sys.exit(bool(report.problems))
