"""`python -m tests.chaos SECONDS [SEED]`: one run, and its figures."""

from __future__ import annotations

import asyncio
import sys

from tests.chaos.run import Run

if __name__ == "__main__":
    seed = sys.argv[2] if len(sys.argv) > 2 else None
    report = asyncio.run(Run(float(sys.argv[1]), seed).go())
    print(report)
    sys.exit(bool(report.problems))
