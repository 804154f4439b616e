"""Places: what is sent, and what comes back."""

from __future__ import annotations

from typing import Any, Final

import pytest

from aioresp import Client
from aioresp.replies.geo import Place
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

WIRE: Wire = [
    (lambda r: r.geoadd("g", [13.5, 38, "a"]), ("GEOADD", "g", 13.5, 38, "a")),
    (
        lambda r: r.geoadd("g", (1, 2, "a", 3, 4, b"b"), nx=True, ch=True),
        ("GEOADD", "g", "NX", "CH", 1, 2, "a", 3, 4, b"b"),
    ),
    (lambda r: r.geoadd("g", [1, 2, "a"], xx=True), ("GEOADD", "g", "XX", 1, 2, "a")),
    (lambda r: r.geodist("g", "a", b"b"), ("GEODIST", "g", "a", b"b")),
    (lambda r: r.geodist("g", "a", "b", "km"), ("GEODIST", "g", "a", "b", "km")),
    (lambda r: r.geodist("g", "a", "b", unit="mi"), ("GEODIST", "g", "a", "b", "mi")),
    (lambda r: r.geohash("g", "a", "b"), ("GEOHASH", "g", "a", "b")),
    (lambda r: r.geopos("g", "a", "b"), ("GEOPOS", "g", "a", "b")),
    (lambda r: r.geosearch("g", "a", radius=5), ("GEOSEARCH", "g", "FROMMEMBER", "a", "BYRADIUS", 5, "m")),
    (
        lambda r: r.geosearch("g", longitude=0, latitude=0.0, unit="km", width=3, height=4, sort="ASC", count=2),
        ("GEOSEARCH", "g", "FROMLONLAT", 0, 0.0, "BYBOX", 3, 4, "km", "ASC", "COUNT", 2),
    ),
    (
        lambda r: r.geosearch("g", "a", radius=0, count=2, any=True, withcoord=True, withdist=True, withhash=True),
        (
            *("GEOSEARCH", "g", "FROMMEMBER", "a", "BYRADIUS", 0, "m", "COUNT", 2, "ANY"),
            *("WITHCOORD", "WITHDIST", "WITHHASH"),
        ),
    ),
    (
        lambda r: r.geosearch("g", "a", radius=1, sort="DESC", withdist=True),
        ("GEOSEARCH", "g", "FROMMEMBER", "a", "BYRADIUS", 1, "m", "DESC", "WITHDIST"),
    ),
    (
        lambda r: r.geosearch("g", polygon=[(0, 0.5), (2, 0), (1, 3)], sort="ASC", withdist=True),
        ("GEOSEARCH", "g", "BYPOLYGON", 3, 0, 0.5, 2, 0, 1, 3, "ASC", "WITHDIST"),
    ),
    (
        lambda r: r.geosearchstore("d", "g", polygon=((0, 0), (2, 0), (1, 3)), storedist=True),
        ("GEOSEARCHSTORE", "d", "g", "BYPOLYGON", 3, 0, 0, 2, 0, 1, 3, "STOREDIST"),
    ),
    (
        lambda r: r.geosearchstore("d", "g", "a", radius=5),
        ("GEOSEARCHSTORE", "d", "g", "FROMMEMBER", "a", "BYRADIUS", 5, "m"),
    ),
    (
        lambda r: r.geosearchstore("d", "g", "a", radius=5, sort="ASC"),
        ("GEOSEARCHSTORE", "d", "g", "FROMMEMBER", "a", "BYRADIUS", 5, "m", "ASC"),
    ),
    (
        lambda r: r.geosearchstore(
            "d",
            "g",
            longitude=1.5,
            latitude=2.5,
            unit="ft",
            width=3,
            height=4,
            sort="DESC",
            count=2,
            any=True,
            storedist=True,
        ),
        (
            *("GEOSEARCHSTORE", "d", "g", "FROMLONLAT", 1.5, 2.5, "BYBOX", 3, 4, "ft"),
            *("DESC", "COUNT", 2, "ANY", "STOREDIST"),
        ),
    ),
]

CENTRE: Final = "GEOSEARCH: the centre is either member, or longitude and latitude"
AREA: Final = "GEOSEARCH: the area is either radius, or width and height"

REFUSED: Refused = [
    (lambda r: r.geoadd("g", []), ValueError, "GEOADD: values is empty"),
    (lambda r: r.geoadd("g", [1, 2, "a", 3]), ValueError, "GEOADD: values has 4 items, not three for each place"),
    (lambda r: r.geoadd("g", [1, 2, "a"], nx=True, xx=True), ValueError, "GEOADD: nx and xx exclude each other"),
    (lambda r: r.geohash("g"), ValueError, "GEOHASH: values is empty"),
    (lambda r: r.geopos("g"), ValueError, "GEOPOS: values is empty"),
    (lambda r: r.geosearch("g", radius=1), ValueError, CENTRE),
    (lambda r: r.geosearch("g", longitude=1, radius=1), ValueError, CENTRE),
    (lambda r: r.geosearch("g", "a", latitude=1, radius=1), ValueError, CENTRE),
    (lambda r: r.geosearch("g", "a", longitude=1, latitude=1, radius=1), ValueError, CENTRE),
    (lambda r: r.geosearch("g", "a"), ValueError, AREA),
    (lambda r: r.geosearch("g", "a", width=1), ValueError, AREA),
    (lambda r: r.geosearch("g", "a", radius=1, height=1), ValueError, AREA),
    (lambda r: r.geosearch("g", "a", radius=1, width=1, height=1), ValueError, AREA),
    (lambda r: r.geosearch("g", polygon=[(0, 0), (1, 1)]), ValueError, "GEOSEARCH: polygon has 2 corners, not three"),
    (
        lambda r: r.geosearch("g", "a", polygon=[(0, 0)] * 3),
        ValueError,
        "GEOSEARCH: polygon excludes member",
    ),
    (lambda r: r.geosearch("g", radius=1, polygon=[(0, 0)] * 3), ValueError, "latitude, radius, width and height"),
    (lambda r: r.geosearch("g", "a", radius=1, any=True), ValueError, "GEOSEARCH: any needs count"),
    (lambda r: r.geosearchstore("d", "g", radius=1), ValueError, "GEOSEARCHSTORE: the centre is either member, or"),
    (lambda r: r.geosearchstore("d", "g", "a"), ValueError, "GEOSEARCHSTORE: the area is either radius, or"),
    (lambda r: r.geosearchstore("d", "g", "a", radius=1, any=True), ValueError, "GEOSEARCHSTORE: any needs count"),
]

#: Where the places are that `g` has, as the server rounds it, with their hashes.
PALERMO: Final = (13.361389338970184, 38.1155563954963)
CATANIA: Final = (15.087267458438873, 37.50266842333162)
HASHES: Final = (3479099956230698, 3479447370796909)


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


async def test_geoadd(r: Client[Any], g: str) -> None:
    exactly(await r.geoadd(g, [1, 2, "a", 3, 4, "Palermo"], nx=True), 1)
    exactly(await r.geoadd(g, [1.5, 2.5, "a", 3, 4, "b"], xx=True), 0)
    exactly(await r.geoadd(g, [2, 3, "a"], ch=True), 1)
    exactly(await r.geopos(g, "Palermo", "b"), [PALERMO, None])


async def test_geodist(r: Client[Any], g: str) -> None:
    exactly(await r.geodist(g, "Palermo", "Catania"), 166274.1516)
    exactly(await r.geodist(g, "Palermo", "Catania", "km"), 166.2742)
    exactly(await r.geodist(g, "Palermo", "Rome"), None)


async def test_geohash(r: Client[Any], text: Text, g: str) -> None:
    exactly(await r.geohash(g, "Palermo", "Rome"), ["sqc8b49rny0", None])


async def test_geopos(r: Client[Any], g: str) -> None:
    exactly(await r.geopos(g, "Catania", "Rome", "Palermo"), [CATANIA, None, PALERMO])
    exactly(await r.geopos(f"{g}2", "a"), [None])


async def test_geosearch(r: Client[Any], text: Text, g: str) -> None:
    exactly(await r.geosearch(g, "Palermo", radius=500, unit="km", sort="ASC"), text(["Palermo", "Catania"]))
    exactly(await r.geosearch(g, longitude=15, latitude=37, width=200, height=200, unit="km"), text(["Catania"]))
    exactly(await r.geosearch(g, "Catania", radius=500, unit="km", sort="DESC", count=1), text(["Palermo"]))
    exactly(len(await r.geosearch(g, "Catania", radius=500, unit="km", count=1, any=True)), 1)
    exactly(await r.geosearch(f"{g}2", longitude=15, latitude=37, radius=1), [])


async def test_geosearch_with_more(r: Client[Any], text: Text, g: str) -> None:
    async def near(**wanted: bool) -> Any:
        return await r.geosearch(g, "Palermo", radius=500, unit="km", sort="ASC", **wanted)  # type: ignore[call-overload]

    palermo, catania = text("Palermo"), text("Catania")
    exactly(await near(withdist=True), [Place(palermo, 0.0, None, None), Place(catania, 166.2742, None, None)])
    exactly(await near(withhash=True), [Place(palermo, None, HASHES[0], None), Place(catania, None, HASHES[1], None)])
    exactly(await near(withcoord=True), [Place(palermo, None, None, PALERMO), Place(catania, None, None, CATANIA)])
    exactly(
        await near(withcoord=True, withdist=True, withhash=True),
        [Place(palermo, 0.0, HASHES[0], PALERMO), Place(catania, 166.2742, HASHES[1], CATANIA)],
    )


async def test_geosearchstore(r: Client[Any], text: Text, g: str) -> None:
    stored = f"{g}2"
    exactly(await r.geosearchstore(stored, g, "Palermo", radius=500, unit="km"), 2)
    exactly(await r.geopos(stored, "Palermo"), [PALERMO])
    exactly(
        await r.geosearchstore(
            stored, g, longitude=15, latitude=37, width=200, height=200, unit="km", sort="ASC", count=1, storedist=True
        ),
        1,
    )
    exactly(await r.geosearch(stored, longitude=0, latitude=0, radius=1), [])  # distances are no places
    exactly(await r.geosearchstore(stored, g, longitude=0, latitude=0, radius=1), 0)


async def test_polygon(r: Client[Any], text: Text, g: str, since: Since) -> None:
    since(valkey=(9, 0))
    sicily = [(12, 36), (17, 36), (17, 39), (12, 39)]
    exactly(await r.geosearch(g, polygon=sicily, sort="ASC"), text(["Catania", "Palermo"]))
    (place,) = await r.geosearch(g, polygon=sicily, sort="ASC", count=1, withdist=True)
    exactly(place.member, text("Catania"))
    assert place.distance is not None
    assert 50_000 < place.distance < 55_000
    exactly(await r.geosearchstore(f"{g}2", g, polygon=sicily), 2)
