"""Starter of the pipeline: `make analytics`, or `python -m examples.analytics --workers 2`."""

from __future__ import annotations

import examples.shared.begin  # noqa: F401 (first: Ctrl-C, and packages that are missing)

# isort: split
import os
import sys
from pathlib import Path

from examples.shared.fleet import Fleet, arguments
from examples.shared.ground import folder


def main() -> int:
    about = "Events from an API over a stream into a database, and onto a live page."
    parser = arguments("analytics", about, apis=1, workers=1)
    parser.add_argument(
        "--rate", type=float, default=200, help="events a second of the load generator (default: 200); 0 starts none"
    )
    parser.add_argument("--dir", type=Path, help="folder that keeps SQLite's file (default: a temporary one)")
    given = parser.parse_args()
    if not 0 <= given.rate < 1e6:
        parser.error("--rate is a number from 0 to a million")
    with folder("analytics-") as temporary:
        try:
            _choose_database(given.dir or temporary)
        except (OSError, ImportError, ValueError) as error:
            print(f"analytics: the database cannot be used: {error}", file=sys.stderr)
            return 1
        fleet = Fleet("analytics", port=given.port)
        fleet.add("ui", "examples.analytics.ui", web=True)
        fleet.add("api", "examples.analytics.api", count=given.apis, web=True)
        fleet.add("worker", "examples.analytics.worker", count=given.workers)
        if given.rate:
            fleet.add("load", "examples.analytics.load", "--rate", f"{given.rate:g}", "--wave")
        return fleet.run()


def _choose_database(folder: Path) -> None:
    """Take ANALYTICS_DATABASE_URL, or a file in the folder; all processes find it in their environment."""
    if os.environ.get("ANALYTICS_DATABASE_URL"):
        from examples.analytics.db import Database  # noqa: PLC0415 (half a second)

        Database()  # checks the URL and loads its driver; connects to nothing
    else:
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["ANALYTICS_DATABASE_URL"] = f"sqlite+aiosqlite:///{folder.absolute()}/analytics.db"


if __name__ == "__main__":
    sys.exit(main())
