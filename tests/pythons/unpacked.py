"""Python out of Debian's archive, unpacked with its libc, run by its own loader.

Owns what makes such a folder a Python: the launcher, and the folder of wheels that its ensurepip looks in. `venv`, and
subprocesses of `sys.executable`, work as with any other. Never looks for a Python that the machine has.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Final

from tests.pythons import Wanted
from tests.servers.debian import NotDebian, Unavailable, Unreachable, loader_of, unpack

#: Where Debian's ensurepip finds the wheel of pip.
_WHEELS: Final = "/usr/share/python-wheels/"

#: Prints the version, if the Python knows where it is, and one that is started by that name does too.
_CHECK: Final = """
import subprocess, sys
import ctypes, ensurepip, sqlite3, ssl, venv, zlib
again = [sys.executable, "-c", "import sys; print(sys.executable, sys.prefix)"]
said = subprocess.run(again, capture_output=True, text=True, check=True).stdout.split()
print(sys.version.split()[0], *said, sep="\\n")
"""


class NotHere(Unavailable):
    """No release of Debian has it, or this machine cannot reach them: a reason to skip, not a failure."""


def provide(wanted: Wanted, scratch: Path) -> None:
    """Unpack a Python of the matrix into its folder, and make its program run."""
    if wanted.suite is None:
        raise NotHere("no release of Debian has it")
    try:
        unpack(wanted.package, wanted.suite, wanted.root, scratch)
    except (NotDebian, Unreachable) as error:
        raise NotHere(str(error)) from None
    launch(wanted.root, wanted.program)
    bring_wheels(wanted.root)


def launch(root: Path, program: Path) -> None:
    """Put a launcher in the place of `program`, which was unpacked below `root`.

    It gives the name it was called by on to Python, which finds its library, its virtual environment and
    `sys.executable` by it. All other places in it are absolute: in a virtual environment it is reached by a link.
    """
    found = loader_of(root)
    if found is None or not program.exists():
        raise Unavailable(f"the packages of {program.name} hold no program for this machine")
    loader, folders = found
    real = program.rename(program.with_name(f"{program.name}.real"))
    libraries = ":".join(map(str, folders))
    command = shlex.join(["exec", str(loader), "--library-path", libraries, "--argv0"])
    program.write_text(f'#!/bin/sh\n{command} "$0" {shlex.quote(str(real))} "$@"\n')
    program.chmod(0o755)


def bring_wheels(root: Path) -> None:
    """Make ensurepip look for its wheels in `root`: the place that it was built with is the system's."""
    mended = 0
    for path in root.glob("usr/lib/python3*/_sysconfigdata_*.py"):
        text = path.read_text()
        mended += text.count(repr(_WHEELS))
        path.write_text(text.replace(repr(_WHEELS), repr(f"{root}{_WHEELS}")))
    if not mended:
        raise Unavailable(f"ensurepip does not look for its wheels in {_WHEELS} any more")


def version_of(wanted: Wanted) -> str | None:
    """Return the version of a Python that was provided, None if there is none, or one that does not run."""
    try:
        done = subprocess.run(
            [wanted.program, "-I", "-c", _CHECK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    version, executable, prefix = done.stdout.splitlines()
    # A copy of this folder has launchers that run what is in the other one.
    fits = version.startswith(f"{wanted.version}.") and executable == str(wanted.program)
    return version if fits and prefix == str(wanted.root / "usr") else None
