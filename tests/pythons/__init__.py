"""Pythons of the matrix: the releases that the quick part runs on, and the folder of those that the machine lacks.

Owns the list and the folder `.pythons`; `python -m tests.pythons` fills it. Starts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Where the Pythons are kept. Not part of the repository.
FOLDER: Final = Path(__file__).parent.parent.parent / ".pythons"


@dataclass(frozen=True)
class Wanted:
    """A Python of the matrix."""

    version: str
    """Its first two numbers."""
    suite: str | None
    """The release of Debian whose archive has it; None: no release has it."""

    @property
    def package(self) -> str:
        """Debian's package that has all of it, the module ensurepip with its wheels too."""
        return f"python{self.version}-venv"

    @property
    def root(self) -> Path:
        """The folder into which it is unpacked."""
        return FOLDER / f"python-{self.version}"

    @property
    def program(self) -> Path:
        """Where its program is, or will be: two folders below `root`, from where Python finds its library."""
        return self.root / "usr" / "bin" / f"python{self.version}"


MATRIX: Final = (
    Wanted("3.11", "bookworm"),
    Wanted("3.12", None),
    Wanted("3.13", "trixie"),
    Wanted("3.14", "forky"),
    Wanted("3.15", "sid"),
)
