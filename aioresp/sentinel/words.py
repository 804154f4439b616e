"""Words of a sentinel: its replies and messages as values.

Owns their reading. Never asks. Sentinels answer with maps under RESP3, and with flat lists under RESP2.
"""

from __future__ import annotations

from typing import Any, Final

from aioresp.addresses import is_ip
from aioresp.errors import ResponseError
from aioresp.record import Record
from aioresp.replicated.places import Address

#: Flags of a replica that is not fit to serve.
_DOWN: Final = frozenset(("s_down", "o_down", "disconnected"))


class Word(Record):
    """One sentinel's answer about one primary."""

    primary: Address
    epoch: tuple[int, bool]
    """Its config-epoch, and whether it has begun to name another primary, by a failover that has not ended."""
    replicas: tuple[Address, ...]
    """Replicas that are up, and linked to this primary."""
    sentinels: tuple[Address, ...]
    """The other sentinels that it knows."""
    failing: bool = False
    """Whether it leads a failover, and has not begun to name the new primary."""


def fields(reply: Any) -> dict[str, str]:
    """Return the fields of one server in a reply."""
    if isinstance(reply, list):
        reply = dict(zip(reply[::2], reply[1::2], strict=False))
    return {str(name): str(value) for name, value in reply.items()} if isinstance(reply, dict) else {}


def address(said: dict[str, str]) -> Address | None:
    """Return the address in the fields of a server; None if it is not known."""
    port = said.get("port", "")
    if not said.get("ip") or said["ip"] == "?" or not port.isdecimal() or not 0 < int(port) < 65536:
        return None
    return Address(said["ip"], int(port))


def read(master: Any, current: Any, replicas: Any, sentinels: Any) -> Word:
    """Return a word from the replies to MASTER, GET-MASTER-ADDR-BY-NAME, REPLICAS and SENTINELS.

    Raises the server's error if the first one is one, and ResponseError for an answer that makes no sense.
    """
    if isinstance(master, Exception):
        raise master
    said = fields(master)
    named = address(said)
    epoch = said.get("config-epoch", "")
    if isinstance(current, list) and len(current) == 2:
        current = address({"ip": str(current[0]), "port": str(current[1])})
    else:
        current = named
    if named is None or current is None:
        raise ResponseError("it names no address of the primary")
    found = [fields(each) for each in replicas] if isinstance(replicas, list) else []
    others = [fields(each) for each in sentinels] if isinstance(sentinels, list) else []
    healthy = [each for each in found if _fit(each) and _follows(each, current)]
    return Word(
        current,
        (int(epoch) if epoch.isdecimal() else 0, current != named),
        tuple(at for each in healthy if (at := address(each)) is not None and at != current),
        tuple(at for each in others if (at := address(each)) is not None),
        "failover_in_progress" in said.get("flags", "") and current == named,
    )


def _fit(replica: dict[str, str]) -> bool:
    flags = set(replica.get("flags", "").split(","))
    return not flags & _DOWN and replica.get("master-link-status", "ok") == "ok"


def _follows(replica: dict[str, str], primary: Address) -> bool:
    """Return whether a replica says that it follows the primary. A name may stand for any address.

    Sentinels make it follow their primary again, and wait for minutes before.
    """
    host, port = replica.get("master-host", "?"), replica.get("master-port", "0")
    if host == "?" or port == "0":  # the sentinel has not asked it yet
        return True
    return port == str(primary.port) and (host == primary.host or not (is_ip(host) and is_ip(primary.host)))


class News(Record):
    """One message of a sentinel about one primary."""

    name: str
    """The name of the primary."""
    to: Address | None = None
    """The new primary, in a message of a switch."""
    before: Address | None = None
    """The former primary, in the same."""


def news(channel: str, data: str) -> News | None:
    """Return what a message says; None if it makes no sense."""
    if channel == "+switch-master":
        words = data.split(" ")
        before, to = (
            (address({"ip": words[at], "port": words[at + 1]}) for at in (1, 3)) if len(words) == 5 else (None, None)
        )
        return None if to is None else News(words[0], to, before)
    own, at, of = data.partition(" @ ")
    words = (of if at else own).split(" ")
    if at:
        return News(words[0])
    return News(words[1]) if len(words) > 1 else None
