"""Entry point of the `aioresp` command. Needs the extra `cli`, and says so where it is missing.

Owns the entry point, and never more than that: the modules below do the work.
"""

from __future__ import annotations

import importlib
import signal
import sys

__all__ = ["main"]

_NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command line and exit with its status: 0, 1 for an error, 2 for wrong usage, 130 after Ctrl-C."""
    try:
        # Not at the top: without the extra this module must be importable, in order to say what is missing.
        app = importlib.import_module("aioresp.cli.app").app
        app(prog_name="aioresp")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _NEEDED:
            raise
        sys.exit(f"the `aioresp` command needs the package {package}: pip install 'aioresp[cli]'")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        # All is said and done: another Ctrl-C while Python shuts down would only spoil the exit status.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
