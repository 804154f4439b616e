"""Start the shop: a database in a temporary folder, a server for the cache, and two web processes."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from examples.cached_db import db
from examples.shared.fleet import Fleet, arguments


def main() -> int:
    options = arguments("cached_db", "An API over SQLite, with two caches to compare.", web=2).parse_args()
    with tempfile.TemporaryDirectory(prefix="cached-db-") as folder:
        os.environ[db.FILE] = str(Path(folder, "shop.sqlite"))
        asyncio.run(db.create())
        fleet = Fleet("cached-db", port=options.port)
        fleet.add("web", "examples.cached_db.app", count=options.web, web=True)
        return fleet.run()


if __name__ == "__main__":
    sys.exit(main())
