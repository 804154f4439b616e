"""The older searches for places: what is sent, and what comes back."""

from __future__ import annotations

from typing import Any, Final

import pytest

from aioresp import Client
from aioresp.replies.geo import Place
from tests.commands.exact import Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.georadius("g", 15, 37.5, 200), ("GEORADIUS", "g", 15, 37.5, 200, "m")),
    (
        lambda r: r.georadius("g", 15, 37, 2, unit="km", sort="ASC", count=3, any=True, withcoord=True),
        ("GEORADIUS", "g", 15, 37, 2, "km", "ASC", "COUNT", 3, "ANY", "WITHCOORD"),
    ),
    (
        lambda r: r.georadius("g", 15, 37, 2, withdist=True, withcoord=True, withhash=True),
        ("GEORADIUS", "g", 15, 37, 2, "m", "WITHCOORD", "WITHDIST", "WITHHASH"),
    ),
    (lambda r: r.georadius("g", 15, 37, 2, store="d"), ("GEORADIUS", "g", 15, 37, 2, "m", "STORE", "d")),
    (
        lambda r: r.georadius("g", 15, 37, 2, unit="ft", sort="DESC", store_dist=b"d"),
        ("GEORADIUS", "g", 15, 37, 2, "ft", "DESC", "STOREDIST", b"d"),
    ),
    (
        lambda r: r.georadius_ro("g", 15, 37, 2, unit="mi", withdist=True),
        ("GEORADIUS_RO", "g", 15, 37, 2, "mi", "WITHDIST"),
    ),
    (
        lambda r: r.georadiusbymember("g", "a", 2, count=1, store="d"),
        ("GEORADIUSBYMEMBER", "g", "a", 2, "m", "COUNT", 1, "STORE", "d"),
    ),
    (
        lambda r: r.georadiusbymember("g", b"a", 2, store_dist="d"),
        ("GEORADIUSBYMEMBER", "g", b"a", 2, "m", "STOREDIST", "d"),
    ),
    (
        lambda r: r.georadiusbymember_ro("g", "a", 2, withhash=True),
        ("GEORADIUSBYMEMBER_RO", "g", "a", 2, "m", "WITHHASH"),
    ),
    (
        lambda r: r.georadius_ro("g", 1, 2, 3, sort="ASC", count=4, any=True, withcoord=True, withhash=True),
        ("GEORADIUS_RO", "g", 1, 2, 3, "m", "ASC", "COUNT", 4, "ANY", "WITHCOORD", "WITHHASH"),
    ),
    (lambda r: r.georadius_ro("g", 1, 2, 3, sort="DESC"), ("GEORADIUS_RO", "g", 1, 2, 3, "m", "DESC")),
    (
        lambda r: r.georadiusbymember("g", "a", 3, sort="ASC", count=4, any=True, withcoord=True, withhash=True),
        ("GEORADIUSBYMEMBER", "g", "a", 3, "m", "ASC", "COUNT", 4, "ANY", "WITHCOORD", "WITHHASH"),
    ),
    (
        lambda r: r.georadiusbymember("g", "a", 3, sort="DESC", withdist=True),
        ("GEORADIUSBYMEMBER", "g", "a", 3, "m", "DESC", "WITHDIST"),
    ),
    (
        lambda r: r.georadiusbymember_ro("g", "a", 3, sort="ASC", count=4, any=True, withcoord=True),
        ("GEORADIUSBYMEMBER_RO", "g", "a", 3, "m", "ASC", "COUNT", 4, "ANY", "WITHCOORD"),
    ),
    (
        lambda r: r.georadiusbymember_ro("g", "a", 3, sort="DESC", withdist=True),
        ("GEORADIUSBYMEMBER_RO", "g", "a", 3, "m", "DESC", "WITHDIST"),
    ),
]

REFUSED: Refused = [
    (lambda r: r.georadius("g", 1, 2, 3, any=True), ValueError, "GEORADIUS: any needs count"),
    (
        lambda r: r.georadius("g", 1, 2, 3, store="d", store_dist="e"),  # type: ignore[call-overload]
        ValueError,
        "GEORADIUS: store and store_dist exclude each other",
    ),
    (
        lambda r: r.georadius("g", 1, 2, 3, store="d", withhash=True),  # type: ignore[call-overload]
        ValueError,
        "GEORADIUS: store excludes withdist, withcoord and withhash",
    ),
    (
        lambda r: r.georadiusbymember("g", "a", 3, store_dist="d", withdist=True),  # type: ignore[call-overload]
        ValueError,
        "GEORADIUSBYMEMBER: store_dist excludes withdist, withcoord and withhash",
    ),
    (
        lambda r: r.georadius_ro("g", 1, 2, 3, store="d"),  # type: ignore[call-overload]
        TypeError,
        "GEORADIUS_RO has no option store",
    ),
    (
        lambda r: r.georadiusbymember("g", "a", 3, order="ASC"),  # type: ignore[call-overload]
        TypeError,
        "GEORADIUSBYMEMBER has no option order",
    ),
]

PALERMO: Final = (13.361389338970184, 38.1155563954963)
CATANIA: Final = (15.087267458438873, 37.50266842333162)


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


@pytest.fixture
async def g(r: Client[Any], prefix: str) -> str:
    """A key with two places."""
    name = f"{prefix}g"
    await r.geoadd(name, [13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"])
    return name


async def test_about_a_position(r: Client[Any], text: Text, g: str) -> None:
    both = text(["Catania", "Palermo"])
    exactly(await r.georadius(g, 15, 37, 200, unit="km", sort="ASC"), both)
    exactly(await r.georadius_ro(g, 15, 37, 200, unit="km", sort="DESC"), both[::-1])
    exactly(await r.georadius(g, 0, 0, 1), [])
    exactly(len(await r.georadius_ro(g, 15, 37, 200, unit="km", count=1, any=True)), 1)
    exactly(
        await r.georadius(g, 15, 37, 200, unit="km", sort="ASC", withdist=True, withcoord=True, withhash=True),
        [Place(both[0], 56.4413, 3479447370796909, CATANIA), Place(both[1], 190.4424, 3479099956230698, PALERMO)],
    )
    exactly(await r.georadius_ro(g, 15, 37, 100, unit="km", withdist=True), [Place(both[0], 56.4413, None, None)])


async def test_about_a_member(r: Client[Any], text: Text, g: str) -> None:
    exactly(await r.georadiusbymember(g, "Palermo", 200, unit="km", sort="DESC"), text(["Catania", "Palermo"]))
    exactly(
        await r.georadiusbymember_ro(g, "Palermo", 1, withcoord=True), [Place(text("Palermo"), None, None, PALERMO)]
    )


async def test_stored(r: Client[Any], g: str) -> None:
    stored = f"{g}2"
    exactly(await r.georadius(g, 15, 37, 200, unit="km", store=stored), 2)
    exactly(await r.geopos(stored, "Palermo"), [PALERMO])
    exactly(await r.georadiusbymember(g, "Palermo", 1, store_dist=stored), 1)
    exactly(await r.georadiusbymember(f"{g}3", "Palermo", 1, store=stored), 0)
