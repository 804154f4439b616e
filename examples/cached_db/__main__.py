"""Start the shop: a database in a temporary folder, a server for the cache, and two web processes."""

from __future__ import annotations

import examples.shared.begin  # noqa: F401 (first: Ctrl-C, and packages that are missing)

# isort: split
import asyncio
import os
import sys

from examples.cached_db import db
from examples.shared.fleet import Fleet, arguments
from examples.shared.ground import folder


def main() -> int:
    options = arguments("cached_db", "An API over SQLite, with two caches to compare.", web=2).parse_args()
    with folder("cached-db-") as place:
        os.environ[db.FILE] = str(place / "shop.sqlite")
        asyncio.run(db.create())
        fleet = Fleet("cached-db", port=options.port)
        fleet.add("web", "examples.cached_db.app", count=options.web, web=True)
        return fleet.run()


if __name__ == "__main__":
    sys.exit(main())
