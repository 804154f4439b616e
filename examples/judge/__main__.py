"""The coding judge: web servers and workers, started and ended together."""

from __future__ import annotations

import examples.shared.begin  # noqa: F401 (first: Ctrl-C, and packages that are missing)

# isort: split
import sys

from examples.shared.fleet import Fleet, arguments

options = arguments("judge", "A coding judge: programs in, verdicts out.", web=2, workers=2).parse_args()
fleet = Fleet("judge", port=options.port)
fleet.add("web", "examples.judge.web", count=options.web, web=True)
fleet.add("worker", "examples.judge.worker", count=options.workers)
sys.exit(fleet.run())
