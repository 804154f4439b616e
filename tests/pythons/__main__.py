"""Provide the Pythons of the matrix: `python -m tests.pythons`, or `make pythons`.

What is there already stays; `--list` only tells. Exit status 1 if one was unpacked and does not run, 3 if none failed
but one cannot be had from this machine.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.pythons import FOLDER, MATRIX, Wanted
from tests.pythons.unpacked import NotHere, provide, version_of
from tests.servers.debian import Unavailable

THERE: Final = 0
FAILED: Final = 1
NOT_HERE: Final = 3

#: Machines on which what Debian has does run.
TRIED: Final = frozenset({"x86_64"})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.pythons", description="Provide the Pythons of the matrix.")
    parser.add_argument("--list", action="store_true", help="only tell which are there")
    parser.add_argument("version", nargs="*", help=f"which ones (default: all): {', '.join(w.version for w in MATRIX)}")
    asked = parser.parse_args()
    versions = asked.version or [wanted.version for wanted in MATRIX]
    if unknown := set(versions) - {wanted.version for wanted in MATRIX}:
        parser.error(f"not in the matrix: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="aioresp-pythons-") as scratch:
        ends = {_tell(wanted, asked.list, Path(scratch)) for wanted in MATRIX if wanted.version in versions}
    return FAILED if FAILED in ends else max(ends)


def _tell(wanted: Wanted, only_list: bool, scratch: Path) -> int:
    """Provide a Python, unless it is there, and print one line about it; return how it ended."""
    begin = time.monotonic()
    print(f"{f'Python {wanted.version}':<12} ", end="", flush=True)
    try:
        found = version_of(wanted)
        if found is None and only_list and wanted.suite is not None:
            print("missing: make pythons")
            return NOT_HERE
        if found is None:
            provide(wanted, scratch)
            found = version_of(wanted)
        if found is None:
            raise Unavailable("its program does not run on this machine")
    except NotHere as error:
        print(f"is not to be had here: {error}")
        return NOT_HERE
    except (Unavailable, OSError) as error:
        if platform.machine() not in TRIED:
            print(f"is not to be had here: {error}; on {platform.machine()} this way was never tried")
            return NOT_HERE
        print(f"cannot be had: {error}")
        return FAILED
    took = time.monotonic() - begin
    print(f"{found} in {wanted.program.relative_to(FOLDER.parent)}{f', {took:.0f} s' if took > 1 else ''}")
    return THERE


if __name__ == "__main__":
    sys.exit(main())
