"""Fuzzing for as long as there is time: rounds of examples, each round from another seed."""

from __future__ import annotations

import logging
import os
import resource
import time
from collections.abc import Callable

from tests.fuzz import against_connection, against_protocol, against_subscriptions

TARGETS = (*against_protocol.TARGETS, *against_connection.TARGETS, *against_subscriptions.TARGETS)

#: Examples of a round.
ROUND = 500


def fuzz(seconds: float, say: Callable[[str], object] = print) -> None:
    """Run all targets in turn. The first failure is raised, with its smallest example."""
    logging.getLogger("aioresp").setLevel(logging.CRITICAL)  # of what a hostile server sends there is much to say
    end = time.monotonic() + seconds
    said = time.monotonic()
    while time.monotonic() < end:
        for target in TARGETS:
            number = int.from_bytes(os.urandom(6))
            try:
                target.run(number, ROUND)
            except BaseException:
                say(f"{target.name}: a failure from seed {number}")
                raise
        if time.monotonic() - said > 60:
            said = time.monotonic()
            say(f"{describe()}; {max(0.0, end - said):.0f} s to go")
    say(describe())


def describe() -> str:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return ", ".join(f"{target.name} {target.examples:,}" for target in TARGETS) + f"; at most {memory:,.0f} MiB"
