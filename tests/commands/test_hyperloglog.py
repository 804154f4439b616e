"""HyperLogLog: what is sent, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from aioresp import Client, ResponseError
from tests.commands.exact import exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.pfadd("h"), ("PFADD", "h")),
    (lambda r: r.pfadd("h", "a", b"b", 3, 1.5), ("PFADD", "h", "a", b"b", 3, 1.5)),
    (lambda r: r.pfcount("h"), ("PFCOUNT", "h")),
    (lambda r: r.pfcount("h", b"i"), ("PFCOUNT", "h", b"i")),
    (lambda r: r.pfmerge("d"), ("PFMERGE", "d")),
    (lambda r: r.pfmerge("d", "h", "i"), ("PFMERGE", "d", "h", "i")),
]

REFUSED: Refused = [
    (lambda r: r.pfcount(), ValueError, "PFCOUNT: sources is empty"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


async def test_counting(r: Client[Any], prefix: str) -> None:
    a, b, d = (f"{prefix}{name}" for name in "abd")
    exactly(await r.pfcount(a), 0)
    exactly(await r.pfadd(a), True)
    exactly(await r.pfadd(a), False)
    exactly(await r.pfadd(a, "x", "y"), True)
    exactly(await r.pfadd(a, "x"), False)
    exactly(await r.pfadd(b, "y", "z"), True)
    exactly(await r.pfcount(a), 2)
    exactly(await r.pfcount(a, b), 3)
    exactly(await r.pfmerge(d, a, b), True)
    exactly(await r.pfcount(d), 3)
    exactly(await r.pfmerge(d), True)
    await r.set(b, "text")
    with pytest.raises(ResponseError):
        await r.pfcount(b)
