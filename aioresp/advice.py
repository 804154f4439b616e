"""Advice on attributes of other clients, for the objects of aioresp that not every program needs.

Owns the texts for leases, pipelines, subscriptions, clusters and Sentinels, and the errors for a name that the package
does not have, or whose extra is not installed. Never stands between an attribute that exists and its caller.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from aioresp.elsewhere import CLIENT, COMMON, LOCK, SHARED
from aioresp.hints import meant

_BY_TIPS: Final = "a command without a key goes to a random primary, or to all nodes that it concerns"
_BY_NODE: Final = "call the command on the clients that `await cluster.primaries()`, `replicas()` and `nodes()` return"

#: Option names of other clients, redis-py above all, each with advice on the option to use here.
OPTIONS: Final[dict[str, str]] = {
    "slow": "it is `slow_after` here",
    "around": "it is `middleware` here",
    # Connections and pools.
    **dict.fromkeys(
        (
            "max_connections",
            "max_connections_per_node",
            "maxsize",
            "pool_size",
            "pool_max_size",
            "max_size",
            "poolsize",
        ),
        "it is `limit` here",
    ),
    **dict.fromkeys(("minsize", "min_size", "pool_min_size"), "connections are opened when they are needed"),
    **dict.fromkeys(("max_idle_time", "idle_time"), "it is `idle_timeout` here"),
    **dict.fromkeys(("max_connection_age", "max_lifetime"), "it is `max_age` here"),
    **dict.fromkeys(
        ("connection_pool", "pool", "pool_cls", "pool_class", "connection_class", "connection_cls", "queue_class"),
        "the pool is the client's own; see `limit` and `concurrency`",
    ),
    "auto_close_connection_pool": "the pool is the client's own, and is closed with it",
    "single_connection_client": "`connection()` gives a connection of its own",
    "blocking": "callers always wait for a full pool; see `timeout`",
    # Time.
    **dict.fromkeys(("socket_timeout", "stream_timeout", "command_timeout", "read_timeout"), "it is `timeout` here"),
    **dict.fromkeys(
        ("socket_connect_timeout", "connection_timeout", "create_connection_timeout", "conn_timeout"),
        "it is `connect_timeout` here",
    ),
    "health_check_interval": "none is needed: deadlines find dead connections",
    **dict.fromkeys(
        ("retry_on_timeout", "retry_on_error", "retries", "max_retries", "cluster_error_retry_attempts"),
        "it is `retry=Retry(...)` here",
    ),
    # Addresses and credentials.
    **dict.fromkeys(("path", "socket_path", "unix_path", "socket"), "it is `unix_socket_path` here"),
    **dict.fromkeys(("user", "acl_user"), "it is `username` here"),
    **dict.fromkeys(("passwd", "auth"), "it is `password` here"),
    **dict.fromkeys(("database", "dbid"), "it is `db` here"),
    **dict.fromkeys(("hostname", "server"), "it is `host` here"),
    "address": "they are `host` and `port` here, or a URL",
    **dict.fromkeys(("resp_version", "protocol_version", "legacy_responses"), "it is `protocol` here"),
    "redis_connect_func": "the handshake is the client's own; `credential_provider` gives it user and password",
    # Texts.
    **dict.fromkeys(
        ("encoding", "encoding_errors", "errors", "charset", "encoder_class"),
        "replies are UTF-8; for others, `decode_responses=False`",
    ),
    **dict.fromkeys(("parser", "parser_class", "command_packer"), "the parser is the client's own"),
    "driver_info": "it is `lib_name` here",
    "lib_version": "the version is that of aioresp; `lib_name=None` tells the server neither name nor version",
    # Sockets.
    **dict.fromkeys(
        ("socket_keepalive", "socket_keepalive_options", "tcp_keepalive"), "none is needed: keepalive is on"
    ),
    **dict.fromkeys(("socket_type", "socket_read_size", "tcp_nodelay"), "none is needed: sockets are the client's own"),
    # TLS.
    "tls": "it is `ssl` here",
    **dict.fromkeys(("ssl_cafile", "ssl_ca_file", "tls_ca_cert"), "it is `ssl_ca_certs` here"),
    **dict.fromkeys(("ssl_cert_file", "ssl_cert", "tls_cert"), "it is `ssl_certfile` here"),
    **dict.fromkeys(("ssl_key_file", "ssl_key", "tls_key"), "it is `ssl_keyfile` here"),
    "ssl_cert_reqs": "certificates are verified; to verify none, give an `ssl_context`",
    **dict.fromkeys(
        (
            *("ssl_ca_data", "ssl_ca_path", "ssl_ciphers", "ssl_exclude_verify_flags", "ssl_include_verify_flags"),
            *("ssl_ocsp_context", "ssl_ocsp_expected_cert", "ssl_validate_ocsp", "ssl_validate_ocsp_stapled"),
        ),
        "give an `ssl_context`",
    ),
    # What is not there.
    **dict.fromkeys(
        ("cache", "cache_config"),
        "there is no client-side caching yet; aioresp.recipes.Cache caches what functions return",
    ),
    # Clusters.
    "startup_nodes": "they are the addresses of a URL here: `Cluster('redis+cluster://a:7000,b:7001')`",
    **dict.fromkeys(
        ("require_full_coverage", "skip_full_coverage_check"),
        "none is needed: calls fail only for slots that no node serves",
    ),
    **dict.fromkeys(("max_redirects", "max_redirections"), "none is needed: redirects are followed until `timeout`"),
    "non_atomic_cross_slot": "MGET, DEL, UNLINK, EXISTS and TOUCH are split; `mset_nonatomic()` sets keys of any slots",
    **dict.fromkeys(
        ("dynamic_startup_nodes", "reinitialize_steps", "nodemanager_follow_cluster"),
        "none is needed: the topology is kept true without it",
    ),
    **dict.fromkeys(("address_remap", "nat_map", "host_mapping", "nat_translator"), "it is `address_map` here"),
    "policy_resolver": "commands without a key follow the servers' own COMMAND tips",
    **dict.fromkeys(
        ("read_from_replicas", "readonly", "load_balancing_strategy", "scale_reads"), "it is `read_from` here"
    ),
    **dict.fromkeys(
        ("sentinels", "master_name", "service_name"),
        "it is `Client('redis+sentinel://host:26379/name')` here, or `Sentinel([...]).master_for(name)`",
    ),
    "sentinel_kwargs": "they are `sentinel_username`, `sentinel_password` and `sentinel_ssl` here",
    **dict.fromkeys(("min_other_sentinels", "force_master_ip"), "the newest word of all sentinels counts here"),
    **dict.fromkeys(
        ("maint_notifications_config", "maint_notifications_pool_handler", "oss_cluster_maint_notifications_handler"),
        "there are no notifications of maintenance",
    ),
    "event_dispatcher": "it is `events` here",
}

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
    **{name: advice for name, advice in SHARED.items() if name != "unwatch"},
    **dict.fromkeys(("subscribe", "psubscribe", "ssubscribe", "monitor"), "it is a method of the client"),
    **dict.fromkeys(("close", "aclose", "disconnect", "release"), "the end of `async with` gives the connection back"),
    **dict.fromkeys(("watch", "multi", "exec", "discard"), "`pipeline()` of the lease has it, or `call`"),
    "with_options": "lease from a view: `client.with_options(...).connection()`",
    "transaction": "it is a method of the client; `pipeline(transaction=True)` of the lease queues one",
}

#: Advice of a pipeline.
PIPELINE: Final[dict[str, str]] = {
    **COMMON,
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
    "lock": LOCK,
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
MODULES: Final = ("events", "otel", "recipes", "testing")

#: Names that users of recipes import from the package itself.
_RECIPES: Final = (
    *("Queue", "Job", "Task", "Worker", "Cache", "Limiter", "Hit", "Semaphore", "RecipeError", "running"),
    *("Again", "Snooze", "Discard", "JobError", "JobFailed", "JobCancelled", "JobGone"),
    *("LockLost", "LockTimeout", "LimitTimeout"),
)

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
    **dict.fromkeys(("Lock", "lock", "LockError", "LockNotOwnedError"), LOCK),
    **{name: f"it is `from aioresp.recipes import {name}` here" for name in _RECIPES},
    "RateLimiter": "it is `from aioresp.recipes import Limiter` here",
    "backoff": "it is `Retry(base=..., cap=...)` here",
    "default_backoff": "it is `Retry()` here",
    "ExponentialBackoff": "it is `Retry(base=..., cap=...)` here",
    "UsernamePasswordCredentialProvider": "the option `credential_provider` takes a function that returns both",
    "PubSub": "it is `Client.subscribe` here",
    **dict.fromkeys(MODULES, "import it by its whole name, as in `import aioresp.testing`"),
}


def absent(package: str, name: str, offered: list[str]) -> Exception:
    """Return the error for a name that the package does not have."""
    said = f"module {package!r} has no attribute {name!r}"
    if name[:1] == "_":
        return AttributeError(said)
    if (text := PACKAGE.get(name)) is None:
        return AttributeError(said + meant(name, offered))
    # `from aioresp import Redis` asks whether there is such a name, and would drop the text of an AttributeError.
    if name not in MODULES and _is_import(sys._getframe(2)):
        return ImportError(f"cannot import name {name!r} from {package!r}: {text}", name=package)
    return AttributeError(f"{said}: {text}")


def extra(name: str, error: ModuleNotFoundError, wanted: str) -> ModuleNotFoundError:
    """Return the error for a name whose module needs a package of an extra."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "aioresp"):
        return error
    return ModuleNotFoundError(f"{name} needs the package {package}: pip install 'aioresp[{wanted}]'", name=package)


def _is_import(frame: Any) -> bool:
    return frame.f_code.co_name == "_handle_fromlist" and "importlib" in frame.f_globals.get("__name__", "")
