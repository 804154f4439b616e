"""Entry point of the `aioresp` command. Needs the extra `cli`, and says so where it is missing.

Owns the entry point and the standard streams, and never more than that: the modules below do the work.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys

__all__ = ["main"]

_NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command line and exit with its status, which docs/cli.md explains."""
    _open_streams()
    if "_AIORESP_COMPLETE" in os.environ:
        os.environ["COLUMNS"] = "10000"  # Typer breaks lines of help, each of which a shell takes for a word
    output = os.dup(1)  # Rich puts the null device in the place of a pipe that is no longer read
    try:
        # Not at the top: without the extra this module must be importable, in order to say what is missing.
        for package in _NEEDED:
            importlib.import_module(package)
        app = importlib.import_module("aioresp.cli.app").app
        app(prog_name="aioresp")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _NEEDED:
            raise
        sys.exit(f"the `aioresp` command needs the package {package}: pip install 'aioresp[cli]'")
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as end:
        sys.exit(_written(end.code, output))
    except OSError as error:  # met by Typer: those of the commands have been told
        sys.exit(_unwritable(error))
    finally:
        # All is said and done: another Ctrl-C while Python shuts down would only spoil the exit status.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _open_streams() -> None:
    """Open the standard streams that the parent process closed: a socket would get the number of one, and its text."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _written(code: str | int | None, output: int) -> str | int | None:
    """Write out what was printed, and return the exit status: another one if that cannot be written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return _unwritable(error)
    faults = importlib.import_module("aioresp.cli.faults")
    # Typer and Rich have met the broken pipe before us, and have no status of their own for it.
    return int(faults.UNREAD) if code == 1 and faults.unread(output) else code


def _unwritable(error: OSError) -> int:
    """Say that standard output cannot be written, and return the exit status."""
    faults = importlib.import_module("aioresp.cli.faults")
    # Python would try again while it shuts down, and complain in its own words.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):
        return int(faults.UNREAD)
    print(f"aioresp: standard output: {error.strerror}", file=sys.stderr)
    return int(faults.FAILED)
