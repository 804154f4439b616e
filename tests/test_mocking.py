"""Mocks of clients: what is awaited tells so, and what returns a handle or an iterator does not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any
from unittest.mock import AsyncMock, MagicMock, create_autospec, patch

import pytest

import aioresp
from aioresp import Client, ConnectionLost, Function, Lease, Pipeline, Script
from aioresp.commands import Commands

pytestmark = pytest.mark.quick

#: A test that calls what types refuse.
ANY: Any = Client

MOCKS: dict[str, Callable[[], Any]] = {
    "AsyncMock of the class": lambda: AsyncMock(spec=Client),
    "AsyncMock of a client": lambda: AsyncMock(spec=Client()),
    "MagicMock of the class": lambda: MagicMock(spec_set=Client),
    "MagicMock of a client": lambda: MagicMock(spec=Client()),
    "autospec of the class": lambda: create_autospec(Client)(),
    "autospec of an instance": lambda: create_autospec(Client, instance=True),
    "autospec of a client": lambda: create_autospec(Client()),
    "autospec of a view": lambda: create_autospec(Client().with_options(timeout=1)),
    "autospec of a lease": lambda: create_autospec(Lease, instance=True),
}


def declared(kind: type, *results: str) -> dict[str, Any]:
    """Return the functions of a class whose declared result begins with one of these words."""
    found = {}
    for name in dir(kind):
        function = inspect.getattr_static(kind, name)
        if name[0] == "_" and name != "__call__":
            continue
        if isinstance(function, FunctionType) and str(function.__annotations__.get("return")).startswith(results):
            found[name] = function
    return found


@pytest.mark.parametrize("kind", [Client, Lease, Commands, Script, Function], ids=lambda kind: kind.__name__)
def test_all_that_is_awaited_tells_so(kind: type) -> None:
    methods = declared(kind, "Result[", "Coroutine[", "Awaitable[")
    assert len(methods) > 400 or list(methods) == ["__call__"]
    assert [name for name, method in methods.items() if not inspect.iscoroutinefunction(method)] == []


@pytest.mark.parametrize("kind", [Client, Lease, Pipeline], ids=lambda kind: kind.__name__)
def test_nothing_else_tells_so(kind: type) -> None:
    others = declared(
        *(kind, "AsyncIterator", "Subscription", "Monitor", "Pipeline", "Lease", "Script", "Function"),
        *("StreamReader", "GroupReader", "Client", "Stats"),
    )
    assert [name for name, method in others.items() if inspect.iscoroutinefunction(method)] == []


def test_a_queued_command_does_not_tell_so() -> None:
    queued = {name for name in declared(Commands, "Result[") if name != "execute"}
    told = {name for name in queued if inspect.iscoroutinefunction(getattr(Pipeline, name))}
    assert told == {"reset"}  # Pipeline.reset(), which is no command
    assert inspect.iscoroutinefunction(Pipeline.execute)
    assert inspect.iscoroutinefunction(Pipeline.watch)


def test_marks_change_nothing_else() -> None:
    for name in declared(Commands, "Result["):
        if name == "execute" or (name in vars(Pipeline) and inspect.iscoroutinefunction(getattr(Pipeline, name))):
            continue
        marked, copy = getattr(Commands, name), getattr(Pipeline, name)
        assert inspect.signature(marked) == inspect.signature(copy), name
        for what in ("__doc__", "__name__", "__qualname__", "__module__", "__defaults__", "__kwdefaults__"):
            assert getattr(marked, what) == getattr(copy, what), name


async def test_plain_functions_still() -> None:
    """A bad argument fails in the call, before anything is awaited, and a result is sent when it is first awaited."""
    p = Client().pipeline()
    with pytest.raises(TypeError):
        p.get(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="exclude each other"):
        _ = Client().set("k", "v", nx=True, xx=True)


@pytest.mark.turns(2)
@pytest.mark.parametrize("make", MOCKS.values(), ids=MOCKS)
async def test_a_mock_is_awaited(make: Callable[[], Any]) -> None:
    r = make()
    r.get.return_value = "v"
    assert await r.get("k") == "v"
    r.get.assert_awaited_once_with("k")
    r.set.side_effect = ConnectionLost("the server closed the connection")
    with pytest.raises(ConnectionLost):
        await r.set("k", "v")
    assert await r.call("ECHO", "x") is not None
    for plain in (r.scan_iter(), r.pipeline(), r.register_script("return 1")):
        assert not inspect.isawaitable(plain)
    r.scan_iter.return_value.__aiter__.return_value = ["a", "b"]
    assert [key async for key in r.scan_iter()] == ["a", "b"]
    async with r:
        pass
    with pytest.raises(AttributeError):
        r.gett  # noqa: B018


async def test_methods_of_the_client_alone() -> None:
    r = create_autospec(Client, instance=True)
    await r.aclose()
    await r.transaction(lambda p: p)
    for plain in (r.subscribe("c"), r.stream_reader("s"), r.connection(), r.monitor(), r.stats(), r.with_options()):
        assert not inspect.isawaitable(plain)


async def test_autospec_checks_arguments() -> None:
    r = create_autospec(Client, instance=True)
    with pytest.raises(TypeError):
        await r.get("k", "another")
    with pytest.raises(TypeError):
        await r.set("k", "v", exx=1)


async def test_patched() -> None:
    r = Client()
    with patch.object(r, "get", return_value="v") as get:
        assert await r.get("k") == "v"
        get.assert_awaited_once_with("k")
    with patch.object(Client, "get", autospec=True, return_value="v") as get:
        assert await r.get("k") == "v"
        get.assert_awaited_once_with(r, "k")
    with patch.object(ANY, "scan_iter", autospec=True) as scan:
        scan.return_value.__aiter__.return_value = ["a"]
        assert [key async for key in r.scan_iter()] == ["a"]
    assert "get" not in vars(r)


@pytest.mark.parametrize("make", [lambda: AsyncMock(spec=Pipeline), lambda: create_autospec(Pipeline, instance=True)])
async def test_a_mock_of_a_pipeline_returns_what_was_set(make: Callable[[], Any]) -> None:
    p = make()
    p.get.return_value = "handle"
    p.execute.return_value = ["v"]
    assert p.get("k") == "handle"
    assert await p.execute() == ["v"]
    async with p:
        pass


async def test_a_mock_of_a_script() -> None:
    script = AsyncMock(spec=Client().register_script("return 1"), return_value=7)
    assert await script(keys=["k"]) == 7
    assert inspect.iscoroutinefunction(aioresp.Script.__call__)
