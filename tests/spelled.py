"""Ways to give a word to a client: types, subclasses that lie about what they are, and what the server reads alike."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Final


class LyingBytes(bytes):
    """Says by each of its methods that it is something else."""

    def __len__(self) -> int:
        return 2

    def __bytes__(self) -> bytes:
        return b"LIE"

    def __getitem__(self, where: Any) -> Any:
        return b"LIE"[where]

    def __iter__(self) -> Any:
        return iter(b"LIE")

    def __eq__(self, other: object) -> bool:
        return other == b"LIE"

    def __hash__(self) -> int:
        return hash(b"LIE")

    def __buffer__(self, flags: int) -> memoryview:  # asked since 3.12
        return memoryview(b"LIE" * 100)

    def decode(self, *_: Any, **__: Any) -> str:
        return "LIE"

    def upper(self) -> bytes:
        return b"LIE"


class LyingBuffer(bytearray):
    """The same as a bytearray."""

    def __len__(self) -> int:
        return 2

    def __bytes__(self) -> bytes:
        return b"LIE"

    def __getitem__(self, where: Any) -> Any:
        return b"LIE"[where]

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(b"LIE" * 100)

    def copy(self) -> bytearray:
        return bytearray(b"LIE")


class LyingStr(str):
    """The same as a str."""

    __slots__ = ()

    def __len__(self) -> int:
        return 2

    def __str__(self) -> str:
        return "LIE"

    def __repr__(self) -> str:
        raise RuntimeError

    def __format__(self, spec: str) -> str:
        return "LIE"

    def __eq__(self, other: object) -> bool:
        return other == "LIE"

    def __hash__(self) -> int:
        return hash("LIE")

    def encode(self, *_: Any, **__: Any) -> bytes:
        return b"LIE"

    def upper(self) -> str:
        return "LIE"

    def isascii(self) -> bool:
        return False

    def split(self, *_: Any, **__: Any) -> Any:
        return ["LIE"]


class ClaimingStr(str):
    """In each look-up it is whatever is looked for."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("GET")


class ClaimingBytes(bytes):
    """The same of bytes."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("GET")


class LyingInt(int):
    """The same as an int."""

    def __int__(self) -> int:
        return 666

    def __index__(self) -> int:
        return 666

    def __str__(self) -> str:
        return "666"

    def __repr__(self) -> str:
        raise RuntimeError

    def bit_length(self) -> int:
        return 1


class LyingFloat(float):
    """The same as a float; hiredis, which asks for the text without looking, ends the process at this."""

    def __float__(self) -> float:
        return 666.0

    def __repr__(self) -> str:
        raise RuntimeError


class Impostor:
    """Says that it is a str."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return str


def member(value: str | bytes, base: Any = enum.Enum) -> Any:
    """Return a member of an Enum whose members are str, or bytes."""
    kinds = {} if base is enum.StrEnum else {"type": type(value)}
    return base("Word", {"LIE": value}, **kinds)["LIE"]


def strided(data: bytes) -> memoryview:
    return memoryview(b"".join(bytes([byte, 0]) for byte in data))[::2]


#: A word, as it may be given; all of these are the same word to the server.
SPELLED: Final[dict[str, Callable[[str], Any]]] = {
    "str": str,
    "lower": str.lower,
    "title": str.title,
    "bytes": str.encode,
    "lower bytes": lambda word: word.lower().encode(),
    "bytearray": lambda word: bytearray(word.encode()),
    "memoryview": lambda word: memoryview(word.encode()),
    "memoryview of a bytearray": lambda word: memoryview(bytearray(word.encode())),
    "memoryview with strides": lambda word: strided(word.encode()),
    "bytes that lie": lambda word: LyingBytes(word.encode()),
    "a bytearray that lies": lambda word: LyingBuffer(word.encode()),
    "a str that lies": LyingStr,
    "an Enum of str": lambda word: member(word.lower()),
    "an Enum of bytes": lambda word: member(word.encode()),
    "a StrEnum": lambda word: member(word.title(), enum.StrEnum),
}

#: The same, and found in every set that has "GET".
CLAIMED: Final[dict[str, Callable[[str], Any]]] = {
    "a str that claims to be another": ClaimingStr,
    "bytes that claim to be others": lambda word: ClaimingBytes(word.encode()),
}

#: The same to a server that compares C strings.
CUT: Final[dict[str, Callable[[str], Any]]] = {
    "cut by a zero": lambda word: f"{word}\0",
    "cut bytes": lambda word: word.encode() + b"\0and-more",
    "cut, and long": lambda word: f"{word.lower()}\0{'x' * 1000}",
}
