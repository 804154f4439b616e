"""Packing of commands that are a name and a key: the key is encoded once, for its slot and for the wire.

Owns the bytes around the key: `HEADS[name] + LENGTHS[len(key)] + key + END` is what `pack` returns, in half the time.
Joined where they are used, as a call would cost a quarter of that. Never checks an argument.
"""

from __future__ import annotations

from typing import Final

from aioresp.cluster.slots import ONE_KEY, SOLE_KEY


class _Lengths(dict[int, bytes]):
    """Lengths of keys as the wire has them; that of a long key is made each time."""

    def __missing__(self, length: int) -> bytes:
        return b"%d\r\n" % length


HEADS: Final[dict[object, bytes]] = {
    name: b"*2\r\n$%d\r\n%b\r\n$" % (len(name), name.encode())
    for name in (*ONE_KEY, *SOLE_KEY)
    if isinstance(name, str)
}
LENGTHS: Final = _Lengths((length, b"%d\r\n" % length) for length in range(256))
END: Final = b"\r\n"
