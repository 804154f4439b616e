"""Libraries over redis-py, used end to end on the layer: the table of them, and the folder of their environments.

Owns the table and the folder `.libraries`. Each library has a file in `scenarios/`, which does what its users do first.
Imports none of the libraries: each scenario runs in a virtual environment with its library and one redis-py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

ROOT: Final = Path(__file__).parent.parent.parent

#: Where the environments are kept. Not part of the repository.
FOLDER: Final = ROOT / ".libraries"

Mark = Literal["ci", "soak"]


@dataclass(frozen=True)
class Combination:
    """A release of a library with one redis-py that it admits."""

    scenario: str
    """The file in `scenarios/`, without its suffix."""
    redis: str
    """How the version of redis-py begins."""
    packages: tuple[str, ...]
    """What is installed beside redis-py and aioresp."""
    connections: int
    """Connections that the server may see with the layer, reconnections too."""
    mark: Mark

    @property
    def name(self) -> str:
        """The name on command lines, in names of tests and of folders: "saq-redis-7.1"."""
        return f"{self.scenario}-redis-{self.redis}"

    @property
    def file(self) -> Path:
        """The scenario."""
        return Path(__file__).parent / "scenarios" / f"{self.scenario}.py"
