"""First import of a starter: as long as it imports, Ctrl-C and a missing package end it without a traceback."""

from __future__ import annotations

import signal
import sys
from types import TracebackType

HELP = "`make` installs what the applications need; by hand: pip install -e '.[examples,cli]'"


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, ModuleNotFoundError):
        print(f"the package {error.name} is missing: {HELP}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.excepthook = _tell
