"""The runner: `python -m benchmarks.cluster --help`."""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Sequence

from benchmarks import measure

from . import failover, floor, redirects, sentinel, speed
from .clients import ADAPTERS, Adapter

WHAT = {
    "speed": "commands per second of processor time, on a healthy cluster",
    "floor": "the same by bare protocols, without a client",
    "failover": "a dead primary under load",
    "half": "reads of a slot that is half on its way",
    "moving": "INCR while slots move to and fro",
    "cut": "INCR while replies are cut off",
    "sentinel": "a planned failover of a Sentinel set under load",
}


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.cluster",
        description="aioresp and its peers on real clusters, which it starts.",
        epilog="; ".join(f"{name}: {meaning}" for name, meaning in WHAT.items()),
    )
    parser.add_argument("what", nargs="?", default="speed", choices=list(WHAT), help="what to measure (speed)")
    parser.add_argument("--only", metavar="NAMES", help=f"scenarios of speed: {', '.join(speed.SCENARIOS)}")
    parser.add_argument("--clients", metavar="NAMES", help=f"clients: {', '.join(ADAPTERS)}")
    parser.add_argument("--rounds", type=int, help="speed: measured rounds, after one of warm-up (15); failover: (1)")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="the event loop of speed")
    parser.add_argument("--server", metavar="FILE", help="the server's executable")
    parser.add_argument("--free", action="store_true", help="speed: pin nothing to a core")
    parser.add_argument("--targets", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--markdown", metavar="FILE", help="write the report")
    return parser.parse_args(argv)


def _chosen(wanted: str | None) -> list[Adapter]:
    """Return the clients that were asked for and are installed."""
    return [ADAPTERS[name] for name in measure.chosen(wanted, ADAPTERS) if ADAPTERS[name].version()]


def _measure(options: argparse.Namespace, clients: list[Adapter]) -> tuple[str, bool]:
    if options.what in ("speed", "floor"):
        cores = None if options.free else measure.cores()
        if cores:
            os.sched_setaffinity(0, {cores[0]})  # before any client starts threads: they inherit it
        gc.collect()
        gc.freeze()  # what the imports made, as in the other benchmarks
        names = speed.names_of(options.only)
        rounds, core = options.rounds or 15, None if cores is None else cores[1]
        if options.what == "floor":
            return speed.run(names, [floor.ALL], rounds, options.loop, options.server, core, floor.ONE)
        return speed.run(names, clients, rounds, options.loop, options.server, core)
    if options.what == "failover":
        return failover.run(clients, options.rounds or 1, options.server)
    if options.what == "sentinel":
        return sentinel.run([client.name for client in clients], options.server), True
    measured = {"half": redirects.half, "moving": redirects.moving, "cut": redirects.cut}[options.what]
    return measured(clients, options.server), True


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    clients = _chosen(options.clients)
    text, met = _measure(options, clients)
    versions = ", ".join(f"{client.name} {client.version()}" for client in clients)
    text = f"{WHAT[options.what]}; {versions}\n\n{text}"
    print(text)
    if options.markdown:
        with open(options.markdown, "w") as file:
            file.write(text)
    return 1 if options.targets and not met else 0


if __name__ == "__main__":
    raise SystemExit(main())
