"""Comparison of runs without the layer and with it, and the list of tests that may fail.

Owns `known.toml` and the verdict. Never runs anything.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.under.runs import Lane, Outcome, Run

KNOWN: Final = Path(__file__).parent / "known.toml"

#: What a table of the list may have besides: fields of `Known`, in their order.
_LISTS: Final = ("servers", "protocols", "releases")


@dataclass(frozen=True)
class Known:
    """A test that fails with the layer, by design."""

    test: str
    """Its id below `tests/test_asyncio`, with its parameters, or without them for all."""
    reason: str
    servers: tuple[str, ...] = ()
    """Names of servers on which it fails; none: on all. The same for the next two."""
    protocols: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()

    def meets(self, test: str, lane: Lane, release: str) -> bool:
        """Return whether `test` is the one, in this run."""
        name = test.removeprefix("tests/test_asyncio/")
        return (
            self.test in (name, name.partition("[")[0])
            and (not self.servers or lane.server in self.servers)
            and (not self.protocols or lane.protocol in self.protocols)
            and (not self.releases or release in self.releases)
        )


def known(path: Path = KNOWN) -> list[Known]:
    """Read the list."""
    tables = tomllib.loads(path.read_text()).get("known", [])
    for table in tables:
        if table.keys() - {"test", "reason", *_LISTS} or not table.get("test") or not table.get("reason"):
            raise ValueError(f"{path.name}: a table needs test and reason, may have {', '.join(_LISTS)}: {table}")
    return [Known(table["test"], table["reason"], *(tuple(table.get(name, ())) for name in _LISTS)) for table in tables]


@dataclass
class Verdict:
    """What the runs on one lane say."""

    without: list[str] = field(default_factory=list)
    """Tests that redis-py passes each time: those that count."""
    passed: list[str] = field(default_factory=list)
    """Those of them that pass with the layer."""
    known: list[str] = field(default_factory=list)
    """Those of them that fail with it, and are on the list."""
    new: dict[str, str] = field(default_factory=dict)
    """Those of them that fail with it, and are not; with the error."""
    again: list[str] = field(default_factory=list)
    """Those of them that failed with it, and passed when they were tried again: most have limits of milliseconds."""
    stale: list[str] = field(default_factory=list)
    """Those of them that pass with it, though they are on the list."""
    unstable: list[str] = field(default_factory=list)
    """Tests that redis-py passes one time and not another: they do not count."""

    @property
    def agrees(self) -> bool:
        """Whether what fails is what is on the list, and there was something to compare."""
        return bool(self.without) and not self.new and not self.stale

    def try_again(self, second: Run) -> None:
        """Move tests that are new, and pass in a second run with the layer."""
        for test in [test for test in self.new if second.outcomes.get(test) == "passed"]:
            del self.new[test]
            self.again.append(test)


def compare(
    baseline: Sequence[Mapping[str, Outcome]], layered: Run, lane: Lane, release: str, listed: list[Known]
) -> Verdict:
    """Judge a run with the layer by runs without it. A test that the run with the layer did not select is left out."""
    verdict = Verdict()
    first = baseline[0] if baseline else {}
    for test in first:
        ends = {run.get(test) for run in baseline}
        if ends != {"passed"}:
            if "passed" in ends:
                verdict.unstable.append(test)
            continue
        verdict.without.append(test)
        is_known = any(each.meets(test, lane, release) for each in listed)
        if layered.outcomes.get(test) == "passed":
            verdict.passed.append(test)
            if is_known:
                verdict.stale.append(test)
        elif is_known:
            verdict.known.append(test)
        else:
            end = layered.outcomes.get(test, "missing: it did not run")
            verdict.new[test] = layered.why.get(test, end)
    return verdict
