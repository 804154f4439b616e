"""Conformance of aioresp.redis to redis-py: redis-py's own asyncio test suite, without the layer and with it.

`python -m tests.under`, or `make under`, unpacks the suite out of redis-py's sdist into the folder `.under`. It runs on
servers of the matrix. A test counts if redis-py itself passes it there twice. Each test that counts and fails with
the layer must stand in `known.toml`, with a reason; a test in that list must fail.

The rule for what is run: the tests of a standalone server that reach it through the public face, which is a client and
its pool. That is each file of `tests/test_asyncio` but these:

- cluster, Sentinel, MultiDB and the scenarios of Redis Enterprise: they need other servers, or mocks of them;
- the sockets of redis-py: `test_connect`, `test_connection` and `test_ssl` make connections and parsers by hand, with
  mocks in place of streams, or servers of their own that listen for them;
- what never comes near a server: parsers, command policies, metrics with mocks, helpers;
- the tests with the mark `redismod`, and `test_graph`, which need a server with modules.

A test that fails with the layer is tried once more, and is only named if it passes then: some have limits of
milliseconds. Tests that redis-py itself expects to fail (`xfail`) do not count, whichever way they end. Those of health
checks are of that kind: the layer looks after its connections itself.

Owns the rule, and the folder. The other modules: `provided` gets the suite, `runs` runs it, `plugin` is within it,
`compared` compares. Never copies anything of the suite into the repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: The clone, whose `aioresp` is tested.
ROOT: Final = Path(__file__).parent.parent.parent

#: Where suites, virtual environments, outcomes and logs are kept. Not part of the repository.
FOLDER: Final = ROOT / ".under"

#: Releases of redis-py that are known to run here; the first one is the default.
RELEASES: Final = ("8.1.0", "7.1.0", "6.4.0", "5.2.1")

SERVERS: Final = ("redis-7.0", "redis-8.0", "valkey-9.1")

#: How each file or folder of `tests/test_asyncio` begins that is left out.
LEFT_OUT: Final = (
    "test_cluster",
    "test_command_p",  # parser, policies
    "test_connect.py",
    "test_connection.py",
    "test_graph",
    "test_multidb",
    "test_observability",
    "test_scenario",
    "test_sentinel",
    "test_ssl",
    "test_usage_counter",
    "test_utils",
)

#: Marks whose tests are left out.
MARKS: Final = "not onlycluster and not redismod"


def protocols(release: str) -> tuple[str, ...]:
    """Return what the suite's option `--protocol` is given; "" is the default, which is RESP2 before redis-py 8."""
    return ("", "2", "3") if int(release.partition(".")[0]) >= 8 else ("2", "3")
