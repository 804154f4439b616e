"""Jobs that stopped workers lose: a longer run of examples/cancelled_pops.py, which `test_docs` runs once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aioresp.testing import Server

ROOT = Path(__file__).parents[2]

MANY = """
import asyncio
import aioresp.redis
from examples.cancelled_pops import lost

alone = sum(asyncio.run(lost()) for _ in range(3))
aioresp.redis.install()
print(alone, sum(asyncio.run(lost()) for _ in range(20)))
"""


@pytest.mark.ci
def test_a_stopped_worker_loses_no_job_on_aioresp(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", MANY],
        cwd=ROOT,
        env={**os.environ, "AIORESP_URL": server.url},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    alone, under = map(int, done.stdout.split())
    assert alone > 0, "redis-py lost nothing: the run proves nothing about aioresp"
    assert under == 0
