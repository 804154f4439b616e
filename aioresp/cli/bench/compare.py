"""Comparison of a run with a saved one, with regard to the spread of the rounds.

Owns the rule by which a difference counts. Never prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from aioresp.cli.faults import Fault

#: Fewest rounds of each run by which anything is told.
_FEWEST: Final = 3

#: Figures that are compared: in a round, in words, and whether more is better.
_COMPARED: Final = (("ops_per_second", "ops/s", True), ("p50_ms", "p50 ms", False), ("p99_ms", "p99 ms", False))

#: Parts of a plan that make two runs the same work.
_WORK: Final = {
    "tasks": "-c",
    "pipeline": "-P",
    "size": "-d",
    "keys": "-r",
    "rate": "--rate",
    "loop": "--loop",
}


@dataclass(frozen=True)
class Difference:
    """One figure of one way, then and now."""

    command: str
    way: str
    figure: str
    then: float
    now: float
    spread: float
    """The wider of the two ranges of the rounds, as a part of the median."""
    verdict: str
    """"better", "worse", "no difference beyond the noise", or "too few rounds"."""

    @property
    def change(self) -> float:
        """The change as a part of the figure then."""
        return self.now / self.then - 1 if self.then else 0.0


def check(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise Fault if two runs, of which the second one may be to come, do not do the same work."""
    for name, option in _WORK.items():
        before, after = then["plan"].get(name), now["plan"].get(name)
        if before != after:
            raise Fault(f"--against: not the same work: {option} was {_said(before)} then, and is {_said(after)} now")
    if _ways(then).keys().isdisjoint(_ways(now)):
        raise Fault("--against: the saved run has none of these commands by these ways")


def compare(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Return the differences of all that both runs have."""
    old = _ways(then)
    names = {tuple(command["command"]): command["name"] for command in now["commands"]}
    return [
        _difference(names[words], way, old[words, way], found, each)
        for (words, way), found in _ways(now).items()
        if (words, way) in old
        for each in _COMPARED
    ]


def comparable(run: Mapping[str, Any]) -> bool:
    """Return whether a file has all that a comparison reads."""
    try:
        each_of = [each for way in _ways(run).values() for each in way["rounds"]]
        numbers = [float(each[name]) for each in each_of for name, _, _ in _COMPARED]
        return all(way["rounds"] for way in _ways(run).values()) and bool(numbers) and isinstance(run["plan"], dict)
    except (KeyError, TypeError, ValueError):
        return False


def remarks(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what else differs between the runs, and may be the reason of a difference."""
    said = []
    for what, before, after in (
        ("server", _server(then), _server(now)),
        ("Python", then.get("python"), now.get("python")),
        ("aioresp", then.get("aioresp"), now.get("aioresp")),
    ):
        if before != after:
            said.append(f"{what}: {before} then, {after} now")
    if not then.get("complete", True):
        said.append("the saved run was broken off")
    return said


def _difference(
    command: str, way: str, then: Mapping[str, Any], now: Mapping[str, Any], figure: tuple[str, str, bool]
) -> Difference:
    name, title, more_is_better = figure
    before, after = ([float(each[name]) for each in run["rounds"]] for run in (then, now))
    spread = max(_spread(before), _spread(after))
    if min(len(before), len(after)) < _FEWEST:
        verdict = "too few rounds"
    elif min(after) > max(before) or max(after) < min(before):
        # Each round of one lies beyond each round of the other: of two times five, by chance once in 126 times.
        verdict = "better" if (median(after) > median(before)) is more_is_better else "worse"
    else:
        verdict = "no difference beyond the noise"
    return Difference(command, way, title, median(before), median(after), spread, verdict)


def _spread(values: Sequence[float]) -> float:
    middle = median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


def _ways(run: Mapping[str, Any]) -> dict[tuple[tuple[str, ...], str], Mapping[str, Any]]:
    """Return the ways of a run by the words of their commands and by their names."""
    return {(tuple(command["command"]), way["way"]): way for command in run["commands"] for way in command["ways"]}


def _server(run: Mapping[str, Any]) -> str:
    server = run.get("server", {})
    return f"{server.get('flavour')} {server.get('version')} at {server.get('address')}"


def _said(value: object) -> str:
    return "not given" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
