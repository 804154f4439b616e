"""An asyncio-native client for Redis and Valkey."""

from typing import TYPE_CHECKING

from aioresp.client import Client
from aioresp.command import Handle, Key, Result, Value
from aioresp.contexts.scripts import Function, Script
from aioresp.errors import (
    ArgumentError,
    ArgumentTypeError,
    AskError,
    AuthenticationError,
    BusyError,
    BusyGroupError,
    ClientClosed,
    ClusterDownError,
    ClusterError,
    CommandRefused,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    CrossSlotError,
    DecodeError,
    ExecAbortError,
    LoadingError,
    MasterDownError,
    MaxClientsError,
    MovedError,
    NoGroupError,
    NoPermissionError,
    NoReplicasError,
    NoScriptError,
    NotificationsDisabled,
    OutOfMemoryError,
    PersistenceError,
    PoolTimeout,
    ProtocolError,
    ReadOnlyError,
    RedisError,
    ReplyTooLarge,
    ResponseError,
    SubscriptionClosed,
    SubscriptionOverflow,
    TLSError,
    TryAgainError,
    UnblockedError,
    UnexpectedReply,
    UnknownCommandError,
    WatchError,
    WrongTypeError,
)
from aioresp.node import NodeStats, Stats
from aioresp.pool.resource import PoolStats
from aioresp.retry import Retry
from aioresp.version import VERSION as __version__
from aioresp.wire.credentials import CredentialProvider, Credentials

if TYPE_CHECKING:
    from aioresp.cluster.client import Cluster
    from aioresp.cluster.topology import ClusterNode, Shard, Topology
    from aioresp.contexts.lease import Lease
    from aioresp.contexts.pipeline import Pipeline
    from aioresp.facts.putback import Lost
    from aioresp.pubsub.keyspace import KeyEvent
    from aioresp.pubsub.monitor import Monitor, MonitoredCommand
    from aioresp.pubsub.pushes import Push, Pushes
    from aioresp.pubsub.subscription import Subscription
    from aioresp.pubsub.topics import Gap, Message
    from aioresp.sentinel import Sentinel
    from aioresp.streams.delivery import Delivery
    from aioresp.streams.group import GroupReader
    from aioresp.streams.reader import StreamEntry, StreamReader
else:
    _LATER = {  # imported at first use, because many programs do not need them
        "aioresp.cluster.client": ("Cluster",),
        "aioresp.cluster.topology": ("ClusterNode", "Shard", "Topology"),
        "aioresp.streams.delivery": ("Delivery",),
        "aioresp.streams.group": ("GroupReader",),
        "aioresp.pubsub.keyspace": ("KeyEvent",),
        "aioresp.contexts.lease": ("Lease",),
        "aioresp.pubsub.monitor": ("Monitor", "MonitoredCommand"),
        "aioresp.contexts.pipeline": ("Pipeline",),
        "aioresp.streams.reader": ("StreamEntry", "StreamReader"),
        "aioresp.pubsub.pushes": ("Push", "Pushes"),
        "aioresp.pubsub.subscription": ("Subscription",),
        "aioresp.pubsub.topics": ("Gap", "Message"),
        "aioresp.facts.putback": ("Lost",),
        "aioresp.sentinel": ("Sentinel",),
    }

    def __getattr__(name):
        for module, names in _LATER.items():
            if name in names:
                return getattr(__import__(module, fromlist=names), name)
        from aioresp.advice import absent  # noqa: PLC0415 (needed for a mistake only)

        raise absent(__name__, name, __all__)

    def __dir__():
        return sorted(__all__)


__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "AskError",
    "AuthenticationError",
    "BusyError",
    "BusyGroupError",
    "Client",
    "ClientClosed",
    "Cluster",
    "ClusterDownError",
    "ClusterError",
    "ClusterNode",
    "CommandRefused",
    "CommandTimeout",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionLost",
    "CredentialProvider",
    "Credentials",
    "CrossSlotError",
    "DecodeError",
    "Delivery",
    "ExecAbortError",
    "Function",
    "Gap",
    "GroupReader",
    "Handle",
    "Key",
    "KeyEvent",
    "Lease",
    "LoadingError",
    "Lost",
    "MasterDownError",
    "MaxClientsError",
    "Message",
    "Monitor",
    "MonitoredCommand",
    "MovedError",
    "NoGroupError",
    "NoPermissionError",
    "NoReplicasError",
    "NoScriptError",
    "NodeStats",
    "NotificationsDisabled",
    "OutOfMemoryError",
    "PersistenceError",
    "Pipeline",
    "PoolStats",
    "PoolTimeout",
    "ProtocolError",
    "Push",
    "Pushes",
    "ReadOnlyError",
    "RedisError",
    "ReplyTooLarge",
    "ResponseError",
    "Result",
    "Retry",
    "Script",
    "Sentinel",
    "Shard",
    "Stats",
    "StreamEntry",
    "StreamReader",
    "Subscription",
    "SubscriptionClosed",
    "SubscriptionOverflow",
    "TLSError",
    "Topology",
    "TryAgainError",
    "UnblockedError",
    "UnexpectedReply",
    "UnknownCommandError",
    "Value",
    "WatchError",
    "WrongTypeError",
    "__version__",
]
