"""Testing kit: a real server for each test run, and a proxy that breaks the network on command."""

from __future__ import annotations

from aioresp.testing.cluster import ClusterServers
from aioresp.testing.executables import ServerNotFound
from aioresp.testing.member import Member
from aioresp.testing.migration import Migration, MigrationFailed
from aioresp.testing.node import ClusterNode
from aioresp.testing.process import ServerFailed
from aioresp.testing.proxy import Proxy
from aioresp.testing.sentinels import SentinelNode, SentinelServers
from aioresp.testing.servers import Server, server
from aioresp.testing.talk import ErrorReply

__all__ = [
    "ClusterNode",
    "ClusterServers",
    "ErrorReply",
    "Member",
    "Migration",
    "MigrationFailed",
    "Proxy",
    "SentinelNode",
    "SentinelServers",
    "Server",
    "ServerFailed",
    "ServerNotFound",
    "server",
]
