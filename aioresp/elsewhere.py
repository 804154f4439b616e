"""Attributes of other clients, redis-py above all, each with advice on what it is here.

Owns the advice of a client, and how an object gives advice when an unknown attribute is read: `advice` has that of all
other objects. Never stands between an attribute that exists and its caller.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NoReturn, TypeVar

from aioresp.hints import meant

K = TypeVar("K", bound=type)


class Absent:
    """An attribute that is not there: to read it raises AttributeError with advice."""

    __slots__ = ("_advice", "_name")

    def __init__(self, name: str, advice: str) -> None:
        self._name = name
        self._advice = advice

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}: {self._advice}")


def advising(advice: Mapping[str, str], python: tuple[int, int] = sys.version_info[:2]) -> Callable[[K], K]:
    """Return a decorator for a class whose instances give advice where an attribute of another client is read.

    hasattr() and the default of getattr() work as ever, and type checkers know nothing of it.
    """

    def decorate(kind: K) -> K:
        if python < (3, 12):
            # Before Python 3.12, `__getattr__` slows down every look-up that succeeds: a GET by a tenth. A
            # misspelt name then gets only what Python itself proposes in a traceback.
            known = set().union(*map(vars, kind.__mro__))
            for name, text in advice.items():
                if name not in known:
                    setattr(kind, name, Absent(name, text))
            return kind

        def __getattr__(self: Any, name: str) -> NoReturn:
            raise AttributeError(said_of(type(self).__name__, name), name=name)

        @lru_cache(maxsize=256)  # programs that probe for a name do so again and again
        def said_of(owner: str, name: str) -> str:
            said = f"{owner!r} object has no attribute {name!r}"
            if name[:1] == "_":  # probes of copy, pickle, mock and many others
                return said
            text = advice.get(name)
            return said + (meant(name, [n for n in dir(kind) if n[0] != "_"]) if text is None else f": {text}")

        setattr(kind, "__getattr__", __getattr__)  # noqa: B010  # checkers must not see it
        return kind

    return decorate


_CALL: Final = 'there are no methods for it yet: `call("'
_SENDS: Final = '", ...)` sends any command'
_BY_CALL: Final = """\
json: JSON.GET
ft: FT.SEARCH
ts: TS.ADD
bf: BF.ADD
cf: CF.ADD
cms: CMS.INCRBY
topk: TOPK.ADD
tdigest: TDIGEST.ADD
graph: GRAPH.QUERY
acl_help: ACL HELP
memory_help: MEMORY HELP
debug_object: DEBUG OBJECT
debug_segfault: DEBUG SEGFAULT
sentinel: SENTINEL MASTERS
sentinel_ckquorum: SENTINEL CKQUORUM
sentinel_failover: SENTINEL FAILOVER
sentinel_flushconfig: SENTINEL FLUSHCONFIG
sentinel_get_master_addr_by_name: SENTINEL GET-MASTER-ADDR-BY-NAME
sentinel_master: SENTINEL MASTER
sentinel_masters: SENTINEL MASTERS
sentinel_monitor: SENTINEL MONITOR
sentinel_remove: SENTINEL REMOVE
sentinel_reset: SENTINEL RESET
sentinel_sentinels: SENTINEL SENTINELS
sentinel_set: SENTINEL SET
sentinel_slaves: SENTINEL REPLICAS"""
_OWN: Final = "it is the client's own; `stats()` has its figures"
_CODEC: Final = "text is UTF-8; `with_options(decode_responses=False)` gives bytes"

#: What a client, a lease and a pipeline have under other names.
COMMON: Final[dict[str, str]] = {
    "execute_command": 'it is `call("GET", "key")` here',
    "send_command": 'it is `call("GET", "key")` here',
    "execute_raw": 'it is `call("GET", "key")` here',
    **{name: _CALL + command + _SENDS for name, _, command in (line.partition(": ") for line in _BY_CALL.splitlines())},
    "stralgo": "it is `lcs` here",
    "vset": "its commands are methods here: `vadd`, `vsim`, ...",
    "object": "there is one method for each: `object_encoding`, `object_freq`, `object_idletime`, `object_refcount`",
    "del_": "it is `delete` here",
    "remove": "it is `delete` here",
    "set_response_callback": "replies have the types that the methods declare; `call` returns them unconverted",
    "response_callbacks": "replies have the types that the methods declare; `call` returns them unconverted",
    "parse_response": "each method returns its own reply",
    "get_encoder": _CODEC,
    "encoder": _CODEC,
    "client_tracking_on": "it is `client_tracking()` here",
    "client_tracking_off": "it is `client_tracking(False)` here",
    "client_reply": "the client needs every reply",
    "sync": "the client is not a replica",
    "psync": "the client is not a replica",
    "script_debug": "the debugger needs a connection of another kind: use redis-cli --ldb",
    "digest_local": "`digest` asks the server",
    "cluster": "it is `cluster_info`, `cluster_slots`, ... here",
    "cluster_save_config": "it is `cluster_saveconfig` here",
    "cluster_get_keys_in_slot": "it is `cluster_getkeysinslot` here",
    "cluster_count_failure_report": "it is `cluster_count_failure_reports` here",
    "cluster_setslot_stable": 'it is `cluster_setslot(slot, "STABLE")` here',
    "himport_discard_all": "it is `himport_discardall` here",
    "load_external_module": "replies of modules come unconverted, by `call`",
}

#: Advice on locks.
LOCK: Final = "it is `from aioresp.recipes import Lock` here, and `async with Lock(client, name, ttl=10) as held`"

#: What a client and a lease have under other names.
SHARED: Final[dict[str, str]] = {
    **COMMON,
    "pubsub": "it is `async with client.subscribe(...) as s` here, and `async for message in s`",
    "lock": LOCK,
    "enqueue_job": "jobs are another object's: `from aioresp.recipes import Queue`, and `await task.enqueue(...)`",
    "keyspace_notifications": "it is `keyspace_events(...)` here",
    "client": "it is `async with client.connection() as c` here",
    "watch": "it belongs to a pipeline: `async with client.pipeline() as p`, then `await p.watch(...)`",
    "unwatch": "it belongs to a pipeline: `async with client.pipeline() as p`, then `await p.unwatch()`",
    "multi": "it is `async with client.pipeline(transaction=True) as p` here",
    "multi_exec": "it is `async with client.pipeline(transaction=True) as p` here",
    "exec": "it is the end of `async with client.pipeline(transaction=True) as p` here",
    "discard": "leave the block of `client.pipeline(transaction=True)` by an exception, or call `await p.reset()`",
    "close": "it is `await client.aclose()` here",
    "disconnect": "it is `await client.aclose()` here",
    "wait_closed": "it is `await client.aclose()` here, which waits",
}

#: Advice of a client.
CLIENT: Final[dict[str, str]] = {
    **SHARED,
    "connection_pool": _OWN,
    "pool": _OWN,
    "get_connection_kwargs": "the options are those of `Client(...)`; `repr()` shows them",
    "get_retry": "the option is `retry`; `with_options(retry=...)` gives a view with another",
    "set_retry": "it is `with_options(retry=...)` here, which returns a view",
    "get_cache": "there is no client-side caching yet; aioresp.recipes.Cache caches what functions return",
    "initialize": "none is needed: a client connects at its first command",
    "connect": "none is needed: a client connects at its first command",
    "from_pool": "a client has its own pool: make one client, and use it everywhere",
    "single_connection_client": "it is `async with client.connection() as c` here",
    "auto_close_connection_pool": "it is the client's own, and is closed with it",
    "himport_registry": "prepare fields on a leased connection, by `himport_prepare`",
}


def chained(names: list[str]) -> Callable[[K], K]:
    """Return a decorator for the handle of a queued command: the names of commands say that these are not chained."""
    advice = (
        "a queued command is a handle: write `p.{0}(...)` as a statement of its own, and await the handle afterwards"
    )
    return advising({name: advice.format(name) for name in names})
