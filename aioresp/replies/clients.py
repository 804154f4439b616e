"""Replies about connections: CLIENT LIST, CLIENT TRACKINGINFO and the server's greeting."""

from __future__ import annotations

from typing import Any, Final

from aioresp.command import AnyStr, Converter
from aioresp.record import Record
from aioresp.replies import lines, mapping, record, required, shown, string, words
from aioresp.replies.server import Module, modules
from aioresp.typed import Generic


class ClientInfo(Record):
    """A connection, as the server sees it. Fields that may be None came with 6.0 or later, `capa` with Valkey 9.0.

    `age` and `idle` are seconds, `tot_net_in` and `tot_net_out` bytes, as are all figures of buffers and memory.
    Servers of other makes leave out more: a number that they do not tell is -1, and a word is "".
    `extra` has what newer servers say beside.
    """

    id: int
    addr: str
    laddr: str | None
    fd: int
    name: str
    age: int
    idle: int
    flags: str
    capa: str | None
    db: int
    sub: int
    psub: int
    ssub: int | None
    multi: int
    watch: int | None
    qbuf: int
    qbuf_free: int
    argv_mem: int | None
    multi_mem: int | None
    rbs: int | None
    rbp: int | None
    obl: int
    oll: int
    omem: int
    tot_mem: int | None
    events: str
    cmd: str
    user: str | None
    redir: int | None
    resp: int | None
    lib_name: str | None
    lib_ver: str | None
    io_thread: int | None
    tot_net_in: int | None
    tot_net_out: int | None
    tot_cmds: int | None
    extra: dict[str, str]


class TrackingInfo(Record, Generic[AnyStr]):
    """Tracking state of a connection; `redirect` is the id of the notified client (0 for itself, -1 for none)."""

    flags: set[str]
    redirect: int
    prefixes: list[AnyStr]


class Hello(Record):
    """Greeting of the server: its name and version, and this connection's id. `availability_zone` is of Valkey 8.1."""

    server: str
    version: str
    proto: int
    id: int
    mode: str
    role: str
    modules: list[Module]
    availability_zone: str | None


_FIELDS: Final = {name: name.replace("_", "-") for name in ClientInfo.record_fields if name != "extra"}
_NUMBERS: Final = frozenset(name for name, kind in ClientInfo.__annotations__.items() if kind.startswith("int"))
_OPTIONAL: Final = frozenset(_FIELDS) - frozenset(required(ClientInfo))
#: Fields without which a line tells of no connection.
_ESSENTIAL: Final = frozenset(("id", "addr"))

_LADDR: Final = " laddr="


def client_info(value: Any) -> ClientInfo:
    """Return a connection from its line in CLIENT INFO, CLIENT LIST or ACL LOG."""
    line = shown(value).strip("\r\n ")
    said: dict[str, Any] = {}
    before, found, rest = line.partition(" addr=")
    addresses, also_found, behind = rest.rpartition(" fd=")
    if found and also_found:
        said["addr"], said["laddr"] = _addresses(addresses)
        line = f"{before} fd={behind}"
    for part in line.split(" "):
        name, equals, text = part.partition("=")
        if equals:
            said[name] = text
    return ClientInfo(**{field: _field(said, field, spelled) for field, spelled in _FIELDS.items()}, extra=said)


def _field(said: dict[str, Any], field: str, spelled: str) -> Any:
    """Take a field out of a line; a number that is none stays there."""
    text = said.get(spelled)
    try:
        value = int(text) if field in _NUMBERS and text is not None else text
    except ValueError:
        value = None
    if value is not None:
        del said[spelled]
    elif field in _ESSENTIAL:
        raise ValueError("neither a number nor an address of a connection")
    elif field not in _OPTIONAL:
        return -1 if field in _NUMBERS else ""
    return value


def _addresses(both: str) -> tuple[str, str | None]:
    """Return both addresses of a connection. For a unix socket they are the same path, which may hold anything."""
    length = (len(both) - len(_LADDR)) // 2
    if length > 0 and both == f"{both[:length]}{_LADDR}{both[:length]}":
        return both[:length], both[:length]
    addr, found, laddr = both.partition(_LADDR)
    return addr, laddr if found else None


def client_infos(value: Any) -> list[ClientInfo]:
    """Return the connections of CLIENT LIST."""
    return [client_info(line) for line in lines(value)]


tracking_info: Converter[TrackingInfo[Any]] = record(TrackingInfo, flags=words)
_hello: Converter[Hello] = record(
    Hello, server=string, version=string, mode=string, role=string, modules=modules, availability_zone=string
)


def hello(value: Any) -> Hello:
    """Return the server's greeting; one that does not name its modules has none."""
    return _hello({b"modules": [], **{string(name).encode(): item for name, item in mapping(value).items()}})
