"""Attributes of other clients, redis-py above all, each with advice on what it is here.

Owns the advice, and how an object gives it when an unknown attribute is read. Never stands between an attribute that
exists and its caller.
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


_CALL: Final = 'there are no methods for it yet: `call("{}", ...)` sends any command'
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
_COMMON: Final[dict[str, str]] = {
    "execute_command": 'it is `call("GET", "key")` here',
    "send_command": 'it is `call("GET", "key")` here',
    "execute_raw": 'it is `call("GET", "key")` here',
    **{name: _CALL.format(command) for name, _, command in (line.partition(": ") for line in _BY_CALL.splitlines())},
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

_LOCK: Final = (
    "there is no lock yet: `set(name, token, nx=True, px=...)` takes one, and `delifeq` or a script gives it back"
)

_SHARED: Final[dict[str, str]] = {
    **_COMMON,
    "pubsub": "it is `async with client.subscribe(...) as s` here, and `async for message in s`",
    "lock": _LOCK,
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
    **_SHARED,
    "connection_pool": _OWN,
    "pool": _OWN,
    "get_connection_kwargs": "the options are those of `Client(...)`; `repr()` shows them",
    "get_retry": "the option is `retry`; `with_options(retry=...)` gives a view with another",
    "set_retry": "it is `with_options(retry=...)` here, which returns a view",
    "get_cache": "there is no cache yet",
    "initialize": "none is needed: a client connects at its first command",
    "connect": "none is needed: a client connects at its first command",
    "from_pool": "a client has its own pool: make one client, and use it everywhere",
    "single_connection_client": "it is `async with client.connection() as c` here",
    "auto_close_connection_pool": "it is the client's own, and is closed with it",
    "himport_registry": "prepare fields on a leased connection, by `himport_prepare`",
}

_BY_TIPS: Final = "a command without a key goes to a random primary, or to all nodes that it concerns"
_BY_NODE: Final = "call the command on the clients that `await cluster.primaries()`, `replicas()` and `nodes()` return"

#: Advice of a cluster client.
CLUSTER: Final[dict[str, str]] = {
    **CLIENT,
    "get_primaries": "it is `await cluster.primaries()` here: each of them is a client",
    "get_replicas": "it is `await cluster.replicas()` here: each of them is a client",
    "get_nodes": "it is `await cluster.nodes()` here: each of them is a client",
    "get_node": "it is one of `await cluster.nodes()` here",
    "get_node_from_key": "it is `await cluster.near(key)` here, a client",
    "get_nodes_from_slot": "it is `cluster.topology().shard_of(slot)` here",
    **dict.fromkeys(("nodes_manager", "startup_nodes"), "`cluster.topology()` has the shards, with their nodes"),
    **dict.fromkeys(("ALL_NODES", "PRIMARIES", "REPLICAS", "RANDOM", "DEFAULT_NODE", "NODE_FLAGS"), _BY_NODE),
    **dict.fromkeys(("COMMAND_FLAGS", "SEARCH_COMMANDS", "command_flags", "node_flags", "get_special_nodes"), _BY_TIPS),
    **dict.fromkeys(
        (
            *("get_default_node", "set_default_node", "replace_default_node", "get_random_node"),
            *("get_random_primary_node", "get_random_primary_or_all_nodes"),
        ),
        _BY_TIPS,
    ),
    "read_from_replicas": "the option is `read_from`; `with_options(read_from=...)` gives a view with another",
    "retry": "the option is `retry`; `with_options(retry=...)` gives a view with another",
    "connection_kwargs": "the options are those of `Cluster(...)`; `repr()` shows them",
}

#: Advice of a leased connection.
LEASE: Final[dict[str, str]] = {
    **{name: advice for name, advice in _SHARED.items() if name != "unwatch"},
    **dict.fromkeys(("subscribe", "psubscribe", "ssubscribe", "monitor"), "it is a method of the client"),
    **dict.fromkeys(("close", "aclose", "disconnect", "release"), "the end of `async with` gives the connection back"),
    **dict.fromkeys(("watch", "multi", "exec", "discard"), "`pipeline()` of the lease has it, or `call`"),
    "with_options": "lease from a view: `client.with_options(...).connection()`",
    "transaction": "it is a method of the client; `pipeline(transaction=True)` of the lease queues one",
}

#: Advice of a pipeline.
PIPELINE: Final[dict[str, str]] = {
    **_COMMON,
    "immediate_execute_command": "between `watch()` and `multi()` commands are sent at once",
    "pipeline_execute_command": 'it is `call("GET", "key")` here',
    "command_stack": "`len(pipeline)` is the number of queued commands",
    "discard": "it is `await p.reset()` here",
    "exec": "it is `await p.execute()` here",
    "load_scripts": "none is needed: a script is sent with its first call",
    "raise_first_error": "it is `execute(raise_on_error=True)`, by default",
    "register_script": "register it on the client, and call it with `client=pipeline`",
    "pipeline": "a pipeline has none of its own",
    "pubsub": "subscribe on the client",
    "lock": _LOCK,
    **dict.fromkeys(("subscribe", "psubscribe", "ssubscribe", "monitor"), "it is a method of the client"),
    **dict.fromkeys(("close", "aclose"), "it is `await p.reset()` here, or the end of `async with`"),
    "transaction": "it is a method of the client",
}

#: Advice of a subscription.
SUBSCRIPTION: Final[dict[str, str]] = {
    "get_message": "it is `get(timeout=...)` here",
    "get_sharded_message": "it is `get(timeout=...)` here",
    "listen": "it is `async for message in s` here",
    "run": "it is `async for message in s` here",
    "run_in_thread": "it is a task with `async for message in s` here",
    "handle_message": "it is `async for message in s` here",
    "parse_response": "it is `get()` here",
    "channels": "its repr tells how many there are",
    "patterns": "its repr tells how many there are",
    "subscribed": "it is subscribed within `async with`",
    "ping": "none is needed: a dead connection is found and replaced",
    "check_health": "none is needed: a dead connection is found and replaced",
    "connect": "it is `async with` here",
    **dict.fromkeys(("close", "aclose", "reset"), "it is the end of `async with` here"),
    "execute_command": "it is a method of the client, called `call`",
    "publish": "it is a method of the client",
}

#: Advice of a monitor.
MONITOR: Final[dict[str, str]] = {
    "listen": "it is `async for command in m` here",
    "next_command": "it is `await m.get()` here",
    "connect": "it is `async with` here",
    **dict.fromkeys(("close", "aclose"), "it is the end of `async with` here"),
}

#: Advice of a Sentinel.
SENTINEL: Final[dict[str, str]] = {
    "sentinels": "connect to one by `Client(host=..., port=26379)`",
    "filter_slaves": "it is `discover_replicas(name)` here",
    "check_master_state": "none is needed: servers that are down are left out",
    "execute_command": "connect to a sentinel by `Client(host=..., port=26379)`, and `call` it",
    "close": "it is `await sentinel.aclose()` here",
    "from_url": "it is `Client('redis+sentinel://host:26379/name')` here",
}

#: Modules of the package that it does not import itself.
_MODULES: Final = ("events", "otel", "testing")

#: Advice of the package.
PACKAGE: Final[dict[str, str]] = {
    **dict.fromkeys(("Redis", "StrictRedis", "Valkey", "StrictValkey", "AsyncRedis"), "it is `Client` here"),
    **dict.fromkeys(
        ("from_url", "create_redis", "create_redis_pool"), "it is `Client(url)` here, or `Client.from_url`"
    ),
    "RedisCluster": "it is `Cluster` here",
    "MasterNotFoundError": "it is `ConnectError` here",
    "SlaveNotFoundError": "none is needed: without replicas the primary serves reads",
    "SentinelManagedConnection": "it is `Sentinel([...]).master_for(name)` here",
    **dict.fromkeys(
        ("ConnectionPool", "BlockingConnectionPool", "create_pool", "create_connection", "SentinelConnectionPool"),
        "the pool is the client's own: `Client(url, limit=...)`",
    ),
    **dict.fromkeys(
        ("Connection", "SSLConnection", "UnixDomainSocketConnection"), "connections are the client's own; see `Client`"
    ),
    "exceptions": "the errors are in the package itself, as in `aioresp.RedisError`",
    "asyncio": "the package itself is asynchronous: `from aioresp import Client`",
    "ConnectionError": "it is `ConnectError` or `ConnectionLost` here; both are the builtin ConnectionError, too",
    "TimeoutError": "it is `CommandTimeout` or `ConnectTimeout` here; both are the builtin TimeoutError, too",
    "DataError": "it is `ArgumentError` here",
    "BusyLoadingError": "it is `LoadingError` here",
    "InvalidResponse": "it is `ProtocolError` here",
    "PubSubError": "it is `SubscriptionClosed` here",
    "MaxConnectionsError": "it is `PoolTimeout` here, after a wait",
    "AuthorizationError": "it is `NoPermissionError` here",
    "RedisClusterException": "it is `ClusterError` here",
    "ClusterCrossSlotError": "it is `CrossSlotError` here",
    **dict.fromkeys(("Lock", "lock", "LockError", "LockNotOwnedError"), _LOCK),
    "backoff": "it is `Retry(base=..., cap=...)` here",
    "default_backoff": "it is `Retry()` here",
    "ExponentialBackoff": "it is `Retry(base=..., cap=...)` here",
    "UsernamePasswordCredentialProvider": "the option `credential_provider` takes a function that returns both",
    "PubSub": "it is `Client.subscribe` here",
    **dict.fromkeys(_MODULES, "import it by its whole name, as in `import aioresp.testing`"),
}


def chained(names: list[str]) -> Callable[[K], K]:
    """Return a decorator for the handle of a queued command: the names of commands say that these are not chained."""
    advice = (
        "a queued command is a handle: write `p.{0}(...)` as a statement of its own, and await the handle afterwards"
    )
    return advising({name: advice.format(name) for name in names})


def absent(package: str, name: str, offered: list[str]) -> Exception:
    """Return the error for a name that the package does not have."""
    said = f"module {package!r} has no attribute {name!r}"
    if name[:1] == "_":
        return AttributeError(said)
    if (text := PACKAGE.get(name)) is None:
        return AttributeError(said + meant(name, offered))
    # `from aioresp import Redis` asks whether there is such a name, and would drop the text of an AttributeError.
    if name not in _MODULES and _is_import(sys._getframe(2)):
        return ImportError(f"cannot import name {name!r} from {package!r}: {text}", name=package)
    return AttributeError(f"{said}: {text}")


def _is_import(frame: Any) -> bool:
    return frame.f_code.co_name == "_handle_fromlist" and "importlib" in frame.f_globals.get("__name__", "")
