"""Figures of a benchmark as JSON, for `--json`, `--save` and `--against`.

Owns the schema, which docs/bench.md describes. Never measures.
"""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aioresp.cli.bench.compare import comparable
from aioresp.cli.bench.progress import PERCENTS, Lane, Progress
from aioresp.cli.bench.verdict import judge, sentences
from aioresp.cli.faults import Fault
from aioresp.version import VERSION

#: Number of the schema; another one is not compared.
SCHEMA: Final = 1


def figures(progress: Progress) -> dict[str, Any]:
    """Return the whole run as what JSON knows."""
    facts, plan = progress.facts, progress.plan
    return {
        "schema": SCHEMA,
        "aioresp": VERSION,
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "complete": progress.complete,
        "server": {
            "address": progress.address,
            "flavour": facts.flavour,
            "version": facts.version,
            "mode": facts.mode,
            "role": facts.role,
            "persistence": facts.persistence,
            "ops_per_second_of_others": round(facts.others, 1),
        },
        "plan": plan.facts(),
        "commands": [
            {
                "name": template.name,
                "command": list(template.words),
                "ways": [_lane(progress, lane) for lane in progress.of(template) if lane.rounds],
                "verdicts": sentences(progress.of(template), plan),
            }
            for template in plan.templates
            if any(lane.rounds for lane in progress.of(template))
        ],
        "notes": progress.notes,
        "keys": {"prefix": progress.prefix, "deleted": progress.deleted},
    }


def _lane(progress: Progress, lane: Lane) -> dict[str, Any]:
    histogram, used = lane.histogram, lane.used
    verdict = judge(lane, progress.plan)
    values = [round(value * 1000, 4) for value in histogram.percentiles(PERCENTS)]
    return {
        "way": lane.way,
        "operations": lane.operations,
        "seconds": round(lane.total.seconds, 4),
        "ops_per_second": round(lane.rate, 1),
        "latency_ms": {
            **{f"p{percent:g}": value for percent, value in zip(PERCENTS, values, strict=True)},
            "max": round(histogram.highest * 1000, 4),
            "mean": round(histogram.mean * 1000, 4),
        },
        "connections": {"made": lane.traffic.made, "server_received": used.connections if used.seconds else None},
        "cpu": {
            "client": round(verdict.client, 4),
            "client_waited": None if verdict.delay is None else round(verdict.delay, 4),
            "server": round(used.cpu / used.seconds, 4) if used.seconds and used.commands else None,
            "server_main_thread": None if verdict.server is None else round(verdict.server, 4),
        },
        "bytes": {"sent": lane.traffic.sent, "received": lane.traffic.received},
        "errors": dict(lane.total.errors),
        "unsent": lane.total.unsent,
        "rate_reached": verdict.reached,
        "limit": verdict.limit,
        "rounds": [
            {
                "ops_per_second": round(each.ops_per_second, 1),
                "p50_ms": round(each.p50_ms, 4),
                "p99_ms": round(each.p99_ms, 4),
            }
            for each in lane.rounds
        ],
        "histogram_ms": [[round(upper * 1000, 5), count] for upper, count in histogram.filled()],
    }


def to_json(found: dict[str, Any]) -> str:
    """Return the figures as JSON, a line for each of the smallest parts."""
    return json.dumps(found, indent=2)


def load(path: Path) -> dict[str, Any]:
    """Return the figures of a saved run. Raises Fault if the file is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Fault(f"--against: {path}: {error.strerror}") from None
    except ValueError:
        raise Fault(f"--against: {path} is no JSON: it takes a file of --save") from None
    if not isinstance(found, dict) or not isinstance(found.get("commands"), list) or "schema" not in found:
        raise Fault(f"--against: {path} is not a file of `aioresp bench --save`")
    if found["schema"] != SCHEMA:
        raise Fault(f"--against: {path} has the schema {found['schema']}, and this version compares schema {SCHEMA}")
    if not comparable(found):
        raise Fault(f"--against: {path} lacks figures: it takes a file of `aioresp bench --save`, as it was written")
    return found
