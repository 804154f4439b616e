"""Streams of bytes to fuzz with: RESP, nearly RESP, and what has nothing to do with it; and how they are cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st

#: What a count may be: right, wrong, or absurd.
counts = st.one_of(
    st.integers(-2, 12).map(str),
    st.sampled_from(["", "-", "-1", "00", "01", "+1", "1e3", "?", " 1", "1 ", "9" * 31, "9" * 40]),
    st.sampled_from([9_999, 10_000, 99_999, 10**6, 10**8 - 1, 10**8, 2**31, 2**32, 2**62, 2**63, -(2**63)]).map(str),
).map(str.encode)

texts = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"", b"\r\n", b"\r\n%2\r\n", b"\r\n>12345\r\n", b"*99999\r\n", b"~", b"%", b"\xff\xfe", b"100 %"]),
    st.integers(0, 70_000).map(lambda size: b"x%\r\n*>" * (size // 6)),
)

lines = st.binary(max_size=20).map(lambda data: data.replace(b"\r", b"").replace(b"\n", b""))


def header(kind: bytes, count: int) -> bytes:
    return b"%b%d\r\n" % (kind, count)


def joined(kind: bytes, parts: list[bytes], each: int = 1) -> bytes:
    return header(kind, len(parts) // each) + b"".join(parts)


#: Replies as a server could send them.
scalars = st.one_of(
    st.sampled_from([b"_\r\n", b"#t\r\n", b"#f\r\n", b"$-1\r\n", b"*-1\r\n", b",inf\r\n", b",nan\r\n", b",-0.0\r\n"]),
    st.integers(-(2**63), 2**63 - 1).map(lambda n: b":%d\r\n" % n),
    st.floats(allow_nan=False).map(lambda f: b",%b\r\n" % repr(f).encode()),
    st.integers().map(lambda n: b"(%d\r\n" % n),
    lines.map(lambda text: b"+%b\r\n" % text),
    lines.map(lambda text: b"-ERR %b\r\n" % text),
    texts.map(lambda text: b"$%d\r\n%b\r\n" % (len(text), text)),
    st.binary(min_size=0, max_size=9).map(lambda text: b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text)),
)
replies = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5).map(lambda parts: joined(b"*", parts)),
        st.lists(inner, max_size=5).map(lambda parts: joined(b"~", parts)),
        st.lists(inner, min_size=1, max_size=4).map(lambda parts: joined(b">", parts)),
        st.lists(st.tuples(inner, inner), max_size=4).map(lambda pairs: joined(b"%", [a + b for a, b in pairs])),
    ),
    max_leaves=10,
)

#: Headers with any count, and what is no reply at all.
headers = st.tuples(st.sampled_from([b"*", b"~", b">", b"%", b"$", b"=", b":", b"|", b"!", b"("]), counts).map(
    lambda pair: b"%b%b\r\n" % pair
)
garbage = st.one_of(
    headers,
    st.lists(headers, min_size=1, max_size=20).map(b"".join),
    st.tuples(headers, st.integers(1, 1100)).map(lambda pair: pair[0] * pair[1]),
    st.binary(min_size=1, max_size=40),
    st.sampled_from(
        [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x01\x02", b"$?\r\n;4\r\nabcd\r\n;0\r\n", b"*?\r\n"]
    ),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Replies, now and then garbage, now and then a byte that was changed, lost or doubled."""
    pieces = draw(st.lists(st.one_of(replies, replies, replies, garbage), max_size=8))
    stream = b"".join(pieces)
    for _ in range(draw(st.integers(0, 3)) if draw(st.booleans()) else 0):
        if not stream:
            break
        place = draw(st.integers(0, len(stream) - 1))
        change = draw(st.one_of(st.sampled_from([b"", b"\r\n", stream[place : place + 1] * 2]), st.binary(max_size=2)))
        stream = stream[:place] + change + stream[place + 1 :]
    return stream


#: Where to cut a stream, by `cut`.
places = st.tuples(st.booleans(), st.lists(st.integers(0, 2**16), max_size=10))


def cut(stream: bytes, where: tuple[bool, list[int]]) -> list[bytes]:
    """Return the stream in pieces, none of them empty: cut anywhere, or where it hurts; for `[0]` in single bytes."""
    hurting, numbers = where
    if numbers == [0] and len(stream) < 3000:
        return [stream[place : place + 1] for place in range(len(stream))]
    found = [place + 1 for place in range(min(len(stream), 3000)) if stream[place] in b"\r\n*~>%$"] if hurting else []
    ends: Sequence[int] = found or range(len(stream) + 1)
    return [stream[a:b] for a, b in pairwise(sorted({0, len(stream), *(ends[n % len(ends)] for n in numbers)}))]
