"""Vector sets: what is sent, and what comes back."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from aioresp import Client
from aioresp.replies.vectors import links_with_scores, similar
from tests.commands.exact import Since, Text, exactly
from tests.recorder import Call, Refused, Wire, check_refused, refused, sent, wire

FP32 = struct.pack("<2f", 1, 0)

WIRE: Wire = [
    (lambda r: r.vadd("k", [1, 0.5], "e"), ("VADD", "k", "VALUES", 2, 1, 0.5, "e")),
    (lambda r: r.vadd("k", FP32, "e", reduce_dim=3, cas=True), ("VADD", "k", "REDUCE", 3, "FP32", FP32, "e", "CAS")),
    (
        lambda r: r.vadd("k", (1,), 7, quantization="NOQUANT", ef=100, attributes='{"a": 1}', numlinks=8),
        ("VADD", "k", "VALUES", 1, 1, 7, "NOQUANT", "EF", 100, "SETATTR", '{"a": 1}', "M", 8),
    ),
    (lambda r: r.vadd("k", [1], "e", quantization="BIN"), ("VADD", "k", "VALUES", 1, 1, "e", "BIN")),
    (lambda r: r.vadd("k", [1], "e", quantization="Q8"), ("VADD", "k", "VALUES", 1, 1, "e", "Q8")),
    (lambda r: r.vadd("k", [1], "e", attributes=b"{}"), ("VADD", "k", "VALUES", 1, 1, "e", "SETATTR", b"{}")),
    (lambda r: r.vcard("k"), ("VCARD", "k")),
    (lambda r: r.vdim("k"), ("VDIM", "k")),
    (lambda r: r.vemb("k", "e"), ("VEMB", "k", "e")),
    (lambda r: r.vemb("k", "e", raw=True), ("VEMB", "k", "e", "RAW")),
    (lambda r: r.vgetattr("k", "e"), ("VGETATTR", "k", "e")),
    (lambda r: r.vinfo("k"), ("VINFO", "k")),
    (lambda r: r.vismember("k", "e"), ("VISMEMBER", "k", "e")),
    (lambda r: r.vlinks("k", "e"), ("VLINKS", "k", "e")),
    (lambda r: r.vlinks("k", "e", with_scores=True), ("VLINKS", "k", "e", "WITHSCORES")),
    (lambda r: r.vrandmember("k"), ("VRANDMEMBER", "k")),
    (lambda r: r.vrandmember("k", count=-2), ("VRANDMEMBER", "k", -2)),
    (lambda r: r.vrange("k"), ("VRANGE", "k", "-", "+")),
    (lambda r: r.vrange("k", "[a", end=b"(b", count=5), ("VRANGE", "k", "[a", b"(b", 5)),
    (lambda r: r.vrem("k", "e"), ("VREM", "k", "e")),
    (lambda r: r.vsetattr("k", "e"), ("VSETATTR", "k", "e", "")),
    (lambda r: r.vsetattr("k", "e", '{"a": [1]}'), ("VSETATTR", "k", "e", '{"a": [1]}')),
    (lambda r: r.vsim("k", "e"), ("VSIM", "k", "ELE", "e")),
    (lambda r: r.vsim("k", FP32, with_scores=True), ("VSIM", "k", "FP32", FP32, "WITHSCORES")),
    (
        lambda r: r.vsim("k", [1, 0], True, True, 5, 100, ".a > 1", 50, truth=True, no_thread=True, epsilon=0.5),
        (
            *("VSIM", "k", "VALUES", 2, 1, 0, "WITHSCORES", "WITHATTRIBS", "COUNT", 5, "EPSILON", 0.5),
            *("EF", 100, "FILTER", ".a > 1", "FILTER-EF", 50, "TRUTH", "NOTHREAD"),
        ),
    ),
]

REFUSED: Refused = [
    (lambda r: r.vadd("k", [], "e"), ValueError, "VADD: vector is empty"),
    (lambda r: r.vsim("k", []), ValueError, "VSIM: vector is empty"),
]


@wire(WIRE)
def test_wire(call: Call, arguments: tuple[object, ...]) -> None:
    exactly(sent(call), arguments)


@refused(REFUSED)
def test_refused(call: Call, error: type[Exception], message: str) -> None:
    check_refused(call, error, message)


def test_replies() -> None:
    both = similar(True, True)
    exactly(both({"a": [1.0, "{}"], "b": [0.5, None]}), [("a", 1.0, "{}"), ("b", 0.5, None)])
    exactly(both(["a", "1", "{}", "b", "0.5", None]), [("a", 1.0, "{}"), ("b", 0.5, None)])
    exactly(similar(False, True)(["a", "{}", "b", None]), [("a", "{}"), ("b", None)])
    exactly(links_with_scores([{"a": 1.0}]), links_with_scores([["a", "1"]]))


@pytest.fixture
async def v(r: Client[Any], prefix: str, since: Since) -> str:
    since(8, 0)
    if (await r.info("server")).get("redis_version", "0") < "8" or not (await r.call("COMMAND", "INFO", "VADD"))[0]:
        pytest.skip("this server was built without vector sets")
    key = f"{prefix}v"
    assert await r.vadd(key, [1, 0], "right", attributes='{"n": 1}', quantization="NOQUANT") is True
    assert await r.vadd(key, FP32, "right", quantization="NOQUANT") is False
    assert await r.vadd(key, [0, 1], "up", quantization="NOQUANT") is True
    assert await r.vadd(key, [-1, 0], "left", quantization="NOQUANT") is True
    return key


async def test_vector_sets(r: Client[Any], text: Text, v: str) -> None:
    exactly(await r.vadd(v, [0, -1], "down", quantization="NOQUANT"), True)
    exactly(await r.vrem(v, "down"), True)
    exactly(await r.vcard(v), 3)
    exactly(await r.vdim(v), 2)
    exactly(await r.vemb(v, "up"), [0.0, 1.0])
    exactly(await r.vemb(v, "none"), None)
    raw = await r.vemb(v, "up", raw=True)
    assert raw is not None
    exactly((raw.quantization, raw.raw, raw.l2), ("f32", struct.pack("<2f", 0, 1), 1.0))
    exactly(await r.vsetattr(v, "up", '{"n": 2}'), True)
    exactly(await r.vsetattr(v, "none", "{}"), False)
    exactly(await r.vgetattr(v, "up"), text('{"n": 2}'))
    exactly(await r.vsetattr(v, "up"), True)
    exactly(await r.vgetattr(v, "up"), None)
    info = await r.vinfo(v)
    assert info is not None
    exactly((info.quant_type, info.vector_dim, info.size), ("f32", 2, 3))
    exactly(await r.vinfo(f"{v}2"), None)
    assert await r.vrandmember(v) in text(["right", "up", "left"])
    exactly(sorted(await r.vrandmember(v, 5)), text(["left", "right", "up"]))
    exactly(await r.vrandmember(f"{v}2"), None)
    exactly(await r.vrem(v, "left"), True)
    exactly(await r.vrem(v, "left"), False)


async def test_similarity(r: Client[Any], text: Text, v: str) -> None:
    exactly(await r.vsim(v, [1, 0.1]), text(["right", "up", "left"]))
    exactly(await r.vsim(v, "up", count=1), text(["up"]))
    exactly(await r.vsim(v, FP32, with_scores=True, truth=True), text([("right", 1.0), ("up", 0.5), ("left", 0.0)]))
    await r.vsetattr(v, "up", '{"n": 5}')
    exactly(await r.vsim(v, "right", filter=".n > 1"), text(["up"]))
    (layer, *_) = await r.vlinks(v, "up") or []
    assert set(layer) <= set(text(["right", "left"]))
    (scored, *_) = await r.vlinks(v, "up", with_scores=True) or []
    exactly(scored, [(element, 0.5) for element in layer])
    exactly(await r.vlinks(v, "none"), None)


async def test_vismember(r: Client[Any], v: str, since: Since) -> None:
    since(8, 2)
    exactly(await r.vismember(v, "up"), True)
    exactly(await r.vismember(v, "none"), False)


async def test_vsim_with_attributes(r: Client[Any], text: Text, v: str, since: Since) -> None:
    since(8, 2)
    exactly(await r.vsim(v, "right", True, True, count=1), [(text("right"), 1.0, text('{"n": 1}'))])
    exactly(await r.vsim(v, "right", with_attribs=True, count=1), [(text("right"), text('{"n": 1}'))])


async def test_vrange(r: Client[Any], text: Text, v: str, since: Since) -> None:
    since(8, 4)
    exactly(await r.vrange(v), text(["left", "right", "up"]))
    exactly(await r.vrange(v, "(left", "+", 1), text(["right"]))
