"""A call that is never awaited: Python's warning names the method."""

from __future__ import annotations

import asyncio
import gc
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from aioresp import Client
from aioresp.command import method_name
from aioresp.commands import Commands
from tests.cases import cases

pytestmark = [pytest.mark.quick, pytest.mark.usefixtures("frozen")]


class Mine(Client[str]):
    """A client of a user."""


async def around(arguments: Any, send: Any) -> Any:
    return await send()


#: A client whose forgotten calls types report.
ANY: Any = Client()

METHODS = sorted(name for name in dir(Commands) if not name.startswith("_") and name != "execute")

#: Methods that send what another one sends, too.
SAME: dict[str, str] = {
    "acl_log_reset": "acl_log",
    "cluster_migration_cancel": "cluster_migration",
    "cluster_migration_import": "cluster_migration",
    "cluster_migration_status": "cluster_migration",
    "decrby": "decr",
    "incrby": "incr",
    "xpending_range": "xpending",
}

FORGOTTEN: dict[str, Callable[[], Any]] = {
    "Client.get": lambda: ANY.get("k"),
    "Client.set": lambda: ANY.set("ok", "secret"),
    "Client.delete": lambda: ANY.delete("a", "b"),
    "Client.config_get": lambda: ANY.config_get("maxmemory"),
    "Client.object_encoding": lambda: ANY.call("OBJECT ENCODING", "k"),
    "Client.client_no_evict": lambda: ANY.client_no_evict("ON"),
    "Client.blpop": lambda: ANY.blpop("k"),
    "Client.incr": lambda: ANY.incr("k"),
    "Client.decr": lambda: ANY.decr("k"),
    "Client.call": lambda: ANY.call("SECRET.WORD", "k"),
    "Client.mget": lambda: ANY.with_options(decode_responses=False, timeout=None).mget("a"),
    "Client.exists": lambda: ANY.with_options(idempotent=True).exists("a"),
    "Client.ping": lambda: Client(middleware=around).ping(),
    "Client.transaction": lambda: ANY.transaction(lambda p: p),
    "Client.aclose": lambda: ANY.aclose(),
    "Mine.llen": lambda: Mine().llen("k"),
    "Lease.select": lambda: ANY.connection().select(1),
    "Lease.call": lambda: Client(middleware=around).connection().call("WATCH", "k"),
    "Script.__call__": lambda: ANY.register_script("return 1")(["k"]),
    "Function.__call__": lambda: ANY.register_function("f", "#!lua name=l")(["k"]),
    "Pipeline.execute": lambda: ANY.pipeline().execute(),
    "Pipeline.watch": lambda: ANY.pipeline().watch("k"),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_the_warning_names_the_method(name: str) -> None:
    with pytest.warns(RuntimeWarning) as caught:
        FORGOTTEN[name]()
        gc.collect()
    assert [str(warning.message).splitlines()[0] for warning in caught] == [f"coroutine '{name}' was never awaited"]
    assert caught[0].filename == __file__


@cases("method", METHODS)
def test_all_methods(method: str) -> None:
    """The name of each method, or of the one that sends the same command."""
    function = getattr(Commands, method)
    sent: list[Any] = []

    class Recorder(Commands[str]):
        def execute(self, arguments: Any, reply: Any) -> Any:
            sent.append(arguments)

    needed = [one for one in inspect.signature(function).parameters.values() if one.default is one.empty]
    for value in ("v", 2, ["v", "w"], {"v": 1}, "LEFT"):
        try:
            function(Recorder(), *[value for one in needed[1:] if one.kind is not one.VAR_KEYWORD])
        except (TypeError, ValueError, AttributeError):
            continue
        break
    if sent:
        assert SAME.get(method, method) == method_name(sent[0])


def test_no_word_of_a_caller_is_shown() -> None:
    words: list[Any] = ["get", b"GET", "SECRET", ""]
    for word in words:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                ANY.call(word, "k")
            except TypeError:
                continue
        assert "secret" not in str(caught[0].message).lower()


async def test_a_task_that_has_not_begun_tells_it_too() -> None:
    task = asyncio.create_task(ANY.get("k"))
    assert "coro=<Client.get() running at " in repr(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "Client._execute()" in repr(task)


def test_it_is_a_plain_name_elsewhere() -> None:
    name = Client._execute.__qualname__
    assert name == str(name) == f"{name}" == "Client._execute"
    coro: Any
    for coro in (None, 7, [], "text"):
        assert f"{name}" == "Client._execute", coro
    coro = ANY.get("k")
    assert f"{name:>20}".strip() == "Client.get"
    coro.close()
    assert f"{name}" == "Client._execute"
