"""The figures of a run, as text.

Owns their form. Never decides whether a run was good.
"""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import dataclass, field

import aioresp
from aioresp.testing import Server


@dataclass
class Report:
    """What a run came to."""

    seed: str
    machine: str = ""
    seconds: float = 0.0
    tasks: int = 0
    commands: int = 0
    sent: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    outcomes: dict[str, int] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    longest: dict[str, float] = field(default_factory=dict)
    figures: Counter[str] = field(default_factory=Counter)
    given_up: int = 0
    cut: int = 0
    made: int = 0
    attempts_failed: int = 0
    repeated: int = 0
    memory: tuple[float, float] = (0.0, 0.0)
    problems: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            ("seed", self.seed),
            ("machine", self.machine),
            ("duration", f"{self.seconds:.0f} s, {self.tasks} tasks"),
            ("commands answered", f"{self.commands:,} ({self.sent:,} sent)"),
            ("faults", f"{self.faults.total():,}: {_list(self.faults)}"),
            ("calls given up early", f"{self.given_up:,}"),
            ("connections cut", f"{self.cut:,}"),
            ("connections made", f"{self.made:,}; {self.attempts_failed:,} attempts failed"),
            ("commands sent again", f"{self.repeated:,}"),
            ("longest call", f"{max(self.longest.values(), default=0):.1f} s ({self._slowest()})"),
            ("outcomes", ", ".join(f"{name} {count:,}" for name, count in self.outcomes.items())),
            ("errors", _list(self.errors)),
            ("by kind", _list(self.by_kind)),
            *((name, f"{count:,}") for name, count in sorted(self.figures.items())),
            ("memory", "{:.0f} MiB after warming up, {:.0f} MiB at the end".format(*self.memory)),
            ("problems", _list(self.problems) or "none"),
        ]
        width = max(len(name) for name, _ in lines)
        return "\n".join([*(f"{name:{width}}  {text}" for name, text in lines), *self.examples])

    def _slowest(self) -> str:
        return ", ".join(f"{kind} {seconds:.1f}" for kind, seconds in sorted(self.longest.items()))


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common() if count)


def machine(server: Server) -> str:
    """Return what it all ran on."""
    version = ".".join(map(str, server.version))
    return (
        f"{platform.system()} {platform.machine()}, {platform.python_implementation()} {platform.python_version()}, "
        f"aioresp {aioresp.__version__}, {server.flavour} {version}"
    )
