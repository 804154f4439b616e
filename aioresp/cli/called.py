"""Command line of the command itself, as a user of this environment types it.

Owns the look for `aioresp` on PATH. Never runs it.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def called() -> str:
    """Return the name of the command, or its path where PATH does not have it, as after `make demo`."""
    if shutil.which("aioresp") is not None:
        return "aioresp"
    beside = Path(sys.executable).with_name("aioresp")
    if not beside.exists():
        return f"{os.path.basename(sys.executable)} -m aioresp"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)
