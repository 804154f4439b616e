"""The runner: `python -m benchmarks.connections --help`."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aioresp.testing import Server, ServerFailed, server
from benchmarks.measure import chosen, cores, end, pin
from benchmarks.report import machine

from . import report
from .talk import Talk
from .ways import CLIENTS, WAYS, Place

TASKS = (1, 50, 500, 10_000)
#: From so many tasks on a measurement is longer: they take a while to make.
MANY, LONGER = 1_000, 4

TRANSPORTS = ("tcp", "unix", "tls")


DOCS = Path(__file__).parents[2] / "docs"

#: `--docs` writes the lines between these in docs/benchmarks.md.
BEGIN, END = "<!-- connections: begin -->", "<!-- connections: end -->"
PICTURE = "![Commands a second by way and client, for 1 to 10,000 tasks](assets/connections.svg)"


@dataclass
class Cell:
    """One way of one client with so many tasks over one transport: a figure of each round."""

    transport: str
    client: str
    way: str
    tasks: int
    rates: list[float] = field(default_factory=list)
    """Commands a second."""
    cpu: list[float] = field(default_factory=list)
    """Microseconds of the client's processor time for each command."""
    connections: list[int] = field(default_factory=list)
    """Connections that the server received."""
    commands: list[int] = field(default_factory=list)
    failure: str = ""

    def median(self, name: str) -> float | None:
        values = getattr(self, name)
        return statistics.median(values) if values else None


class Lane:
    """A process that measures one way of one client."""

    def __init__(self, client: str, way: str, place: Place, core: int | None) -> None:
        words = [sys.executable, "-m", "benchmarks.connections.lane", client, way, place.url]
        words += [place.ca] if place.ca else []
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if core is not None:
            pin(self._process.pid, core)
        self.alive = self._line() == "ready\n"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def measure(self, tasks: int, seconds: float) -> dict[str, float | str]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{tasks} {seconds}\n")
        self._process.stdin.flush()
        found: dict[str, float | str] = json.loads(self._line() or '{"error": "the process ended"}')
        self.alive = "error" not in found
        return found

    def end(self) -> None:
        end(self._process, 5)


@contextmanager
def _server(stack: ExitStack, tls: bool) -> Iterator[tuple[Server, dict[str, Place]]]:
    """Start a server with the transports that there are."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aioresp-bench-")))
    certificates = _certificates(folder) if tls else None
    process, has_tls = _started(stack, certificates)
    places = {"tcp": Place(process.url, None)}
    if process.unix_url:
        places["unix"] = Place(process.unix_url, None)
    if certificates and has_tls:
        places["tls"] = Place(process.tls_url, certificates[2])
    yield process, places


def _started(stack: ExitStack, certificates: tuple[str, str, str] | None) -> tuple[Server, bool]:
    """Return a server that runs, and whether it has TLS: a program may have been built without."""
    config = {"requirepass": "", "maxclients": "20000", "save": ""}
    try:
        return stack.enter_context(server(config=config, tls=certificates)), certificates is not None
    except ServerFailed as error:
        if certificates is None or "without TLS" not in str(error):
            raise
    print("no TLS: the server was built without it; name another one by AIORESP_SERVER", file=sys.stderr)
    return stack.enter_context(server(config=config)), False


def _certificates(folder: Path) -> tuple[str, str, str] | None:
    """Write a certificate for localhost, if there is trustme, which makes them."""
    if importlib.util.find_spec("trustme") is None:
        print("no TLS: pip install trustme", file=sys.stderr)
        return None
    import trustme  # noqa: PLC0415 (see above)

    ca = trustme.CA()
    certificate = ca.issue_cert("127.0.0.1", "localhost")
    paths = tuple(str(folder / name) for name in ("cert.pem", "key.pem", "ca.pem"))
    certificate.cert_chain_pems[0].write_to_path(paths[0])
    certificate.private_key_pem.write_to_path(paths[1])
    ca.cert_pem.write_to_path(paths[2])
    return paths[0], paths[1], paths[2]


def measure(
    process: Server, transport: str, place: Place, cells: Sequence[Cell], rounds: int, seconds: float, core: int | None
) -> None:
    """Measure the cells of a transport, in rounds, in each of which all clients have their turn."""
    lanes: dict[tuple[str, str], Lane] = {}
    talk = Talk(process)
    try:
        for client, way in dict.fromkeys((cell.client, cell.way) for cell in cells):
            lanes[client, way] = Lane(client, way, place, core)
        for number in range(rounds):
            began = time.monotonic()
            for tasks in dict.fromkeys(cell.tasks for cell in cells):
                of_tasks = [cell for cell in cells if cell.tasks == tasks]
                for cell in random.sample(of_tasks, len(of_tasks)):
                    lane = lanes[cell.client, cell.way]
                    if not lane.alive or cell.failure:
                        cell.failure = cell.failure or "its process had failed before"
                        continue
                    before = talk.received()
                    found = lane.measure(tasks, seconds * (LONGER if tasks >= MANY else 1))
                    if "error" in found:
                        cell.failure = str(found["error"])
                        lane.end()
                        lanes[cell.client, cell.way] = Lane(cell.client, cell.way, place, core)
                        continue
                    done = int(found["done"])
                    cell.connections.append(talk.received() - before)
                    cell.commands.append(done)
                    cell.rates.append(done / float(found["seconds"]))
                    if done:
                        cell.cpu.append(float(found["cpu"]) * 1e6 / done)
            took = time.monotonic() - began
            print(f"{transport}, round {number + 1} of {rounds}: {took:.0f} s", file=sys.stderr, flush=True)
    finally:
        for lane in lanes.values():
            lane.end()
        talk.close()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.connections", description=__doc__)
    parser.add_argument("--clients", help=f"clients: {','.join(CLIENTS)}")
    parser.add_argument("--ways", help=f"ways: {','.join(WAYS)}")
    parser.add_argument("--tasks", help="numbers of tasks (1,50,500,10000)")
    parser.add_argument("--transports", help=f"transports: {','.join(TRANSPORTS)}")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (3)")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of a measurement (0.3)")
    parser.add_argument("--free", action="store_true", help="pin nothing to a core")
    parser.add_argument("--json", metavar="FILE", help="write every figure of every round")
    parser.add_argument("--markdown", metavar="FILE", help="write the report")
    parser.add_argument("--docs", action="store_true", help="write both into docs/benchmarks.md and docs/assets")
    parser.add_argument("--plot", metavar="FILE", help="write the picture: .svg or .png")
    return parser.parse_args(argv)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def main(argv: Sequence[str] | None = None) -> None:
    options = _arguments(argv)
    versions = {name: _version(CLIENTS[name][1]) for name in chosen(options.clients, CLIENTS)}
    clients = [name for name, version in versions.items() if version]
    ways = chosen(options.ways, WAYS)
    tasks = [int(each) for each in (options.tasks or ",".join(map(str, TASKS))).split(",")]
    transports = chosen(options.transports, TRANSPORTS)
    placed = None if options.free else cores()
    cells: list[Cell] = []
    with ExitStack() as stack:
        process, places = stack.enter_context(_server(stack, "tls" in transports))
        if placed:
            pin(process.pid, placed[1])
        version = f"{process.flavour} {'.'.join(map(str, process.version))}"
        for transport in [name for name in transports if name in places]:
            place = places[transport]
            here = [
                Cell(transport, client, way, number)
                for number in tasks
                for client in clients
                for way in CLIENTS[client][0](place)
                if way in ways
            ]
            measure(process, transport, place, here, options.rounds, options.seconds, placed and placed[0])
            cells += here
    facts = {
        "machine": machine(),
        "server": version,
        "clients": {name: versions[name] for name in clients},
        "rounds": options.rounds,
        "seconds": options.seconds,
        "pinned": placed is not None,
    }
    text = report.markdown(facts, cells)
    print(text)
    if options.markdown:
        Path(options.markdown).write_text(text)
    if options.json:
        Path(options.json).write_text(json.dumps({**facts, "cells": [asdict(cell) for cell in cells]}))
    if options.docs:
        page = DOCS / "benchmarks.md"
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        page.write_text(f"{before}{BEGIN}\n\n{PICTURE}\n\n{text}\n{END}{after}", encoding="utf-8")
    for path in [Path(options.plot)] if options.plot else [DOCS / "assets" / "connections.svg"] if options.docs else []:
        from .picture import draw  # noqa: PLC0415 (it needs matplotlib, which is slow to import)

        draw(path, facts, cells)


if __name__ == "__main__":
    main()
