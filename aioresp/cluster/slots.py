"""Hash slots: which of the 16,384 slots a key belongs to, and whether all keys of a command share one.

Owns the rule of hash tags. Never knows which node serves a slot.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable, Sequence
from typing import Any, Final

from aioresp.arguments import encoded
from aioresp.command import PLAIN, shown
from aioresp.errors import CrossSlotError, about
from aioresp.facts.catalogue import KEYS
from aioresp.facts.traits import Traits, movable

#: Number of slots of every cluster.
SLOTS: Final = 16_384

#: Names of commands whose only key is the first argument, in upper and in lower case.
ONE_KEY: Final[frozenset[object]] = frozenset(
    name
    for name in PLAIN
    if isinstance(name, str) and KEYS.get(name.upper()) == (1, 1, 1) and not movable(name.upper())
)

#: Names of commands of which every argument is a key.
SOLE_KEY: Final[frozenset[object]] = frozenset(
    name for name in PLAIN if isinstance(name, str) and KEYS.get(name.upper()) == (1, -1, 1)
)

#: The first byte of a hash tag. Bytes are searched for a number much faster than for bytes.
BRACE: Final = ord("{")


def slot_of(key: Any) -> int:
    """Return the slot of a key, which may be of any type that a command takes."""
    data = key.encode() if type(key) is str else key if type(key) is bytes else encoded(("", key))[1]
    return slot_of_bytes(data)


def slot_of_bytes(key: bytes) -> int:
    """Return the slot of a key: of the text between its first braces, unless that is empty."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    # The CRC16 of the servers (XModem), in C.
    return crc_hqx(key, 0) & 16_383


def slots_of(keys: Sequence[bytes | int | None]) -> list[int | None]:
    """Return the slots of many keys; an item that is a slot already, or None, is returned as it is."""
    try:
        tagged = BRACE in b"".join(keys)  # type: ignore[arg-type]  # or it raises
    except TypeError:
        tagged = True
    if not tagged:
        return [crc_hqx(key, 0) & 16_383 for key in keys]  # type: ignore[arg-type]  # all are bytes
    return [slot_of_bytes(key) if type(key) is bytes else key for key in keys]  # type: ignore[misc]  # likewise


def slot_of_command(facts: Traits) -> int | None:
    """Return the slot of all keys of a command; None if it has no key. Raises CrossSlotError."""
    return common_slot(facts.keys, facts.name)


def common_slot(keys: Iterable[Any], name: str) -> int | None:
    """Return the slot of all keys; None without keys. Raises CrossSlotError, which names two keys of two slots."""
    first: Any = None
    slot: int | None = None
    for key in keys:
        if slot is None:
            first, slot = key, slot_of(key)
        elif slot_of(key) != slot:
            raise across(name, first, key)
    return slot


def across(name: str, one: Any, other: Any) -> CrossSlotError:
    """Return the error for two keys that belong to different slots."""
    advice = _ADVICE.get(name, "keys with a common tag in braces, as in {user:7}:name, share a slot")
    error = CrossSlotError(f"the keys {shown(one)} and {shown(other)} belong to different slots: {advice}")
    error.code = "CROSSSLOT"
    return about(error, name)


_ADVICE: Final = {
    "MSET": "`mset_nonatomic()` sets keys of any slots, each slot at its own time",
}
