"""Testing kit: a real server for each test run, and a proxy that breaks the network on command."""

from __future__ import annotations

from aioresp.testing.executables import ServerNotFound
from aioresp.testing.process import ServerFailed
from aioresp.testing.proxy import Proxy
from aioresp.testing.servers import Server, server

__all__ = ["Proxy", "Server", "ServerFailed", "ServerNotFound", "server"]
