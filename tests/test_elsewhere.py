"""Attributes of other clients: each says what it is here, and nothing that asks whether there is one is misled."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final
from unittest import mock

import pytest

import aioresp
from aioresp import Client, Cluster, Sentinel, recipes
from aioresp.advice import CLUSTER, LEASE, MONITOR, PACKAGE, PIPELINE, SENTINEL, SUBSCRIPTION
from aioresp.contexts.lease import Lease
from aioresp.contexts.pipeline import Pipeline, Queued
from aioresp.elsewhere import CLIENT, advising
from aioresp.pubsub.monitor import Monitor
from aioresp.pubsub.subscription import Subscription
from tests.cases import cases

TABLES: Final[dict[type, dict[str, str]]] = {
    Client: CLIENT,
    Cluster: CLUSTER,
    Sentinel: SENTINEL,
    Lease: LEASE,
    Pipeline: PIPELINE,
    Subscription: SUBSCRIPTION,
    Monitor: MONITOR,
}

#: Makes an object of each class.
MADE: Final[dict[type, Callable[[], Any]]] = {
    Client: Client,
    Cluster: Cluster,
    Sentinel: lambda: Sentinel(["s1"]),
    Lease: lambda: Client().connection(),
    Pipeline: lambda: Client().pipeline(),
    Subscription: lambda: Client().subscribe("a"),
    Monitor: lambda: Client().monitor(),
}


@cases(
    "kind, name",
    [(kind, name) for kind, table in TABLES.items() for name in table],
)
async def test_each_name_gives_its_advice(kind: type, name: str) -> None:
    made = MADE[kind]()
    advice = re.escape(TABLES[kind][name])
    with pytest.raises(AttributeError, match=f"^'{kind.__name__}' object has no attribute '{name}': {advice}$"):
        getattr(made, name)
    assert not hasattr(made, name)
    assert getattr(made, name, None) is None


def test_no_advice_for_what_is_there() -> None:
    """A method that comes later makes its advice wrong."""
    for kind, table in TABLES.items():
        for name in table:
            there = [base for base in kind.__mro__ if callable(getattr(base, name, None))]
            assert there == [], f"{kind.__name__}.{name} is there: remove the advice"


def test_every_attribute_of_redis_py_is_there_or_has_advice() -> None:
    redis = pytest.importorskip("redis.asyncio")
    names = [name for name in dir(redis.Redis) if name[0] != "_" and "internal" not in name]
    assert len(names) > 300
    assert [name for name in names if not hasattr(Client, name) and name not in CLIENT] == []
    names = [name for name in dir(redis.client.PubSub) if name[0] != "_" and name.islower()]
    assert [name for name in names if not hasattr(Subscription, name) and name not in SUBSCRIPTION] == ["on_connect"]


def test_every_attribute_of_redis_pys_cluster_is_there_or_has_advice() -> None:
    kind = pytest.importorskip("redis.asyncio").RedisCluster
    own = {"CLUSTER_COMMANDS_RESPONSE_CALLBACKS", "ERRORS_ALLOW_RETRY", "RESULT_CALLBACKS", "RedisClusterRequestTTL"}
    own |= {"commands_parser", "maint_notifications_config", "on_connect", "reinitialize_counter", "reinitialize_steps"}
    own |= {"result_callbacks"}
    names = [name for name in dir(kind) if name[0] != "_" and "internal" not in name]
    assert sorted(name for name in names if not hasattr(Cluster, name) and name not in CLUSTER) == sorted(own)


async def test_commands_of_a_pipeline_are_not_chained() -> None:
    p = Client().pipeline()
    handle: Any = p.set("a", 1)
    for name in ("get", "set", "execute", "hset", "zadd", "expire"):
        with pytest.raises(
            AttributeError, match=rf"a queued command is a handle: write `p.{name}\(...\)` as a statement"
        ):
            getattr(handle, name)
        assert not hasattr(handle, name)
    await p.reset()


async def test_what_is_there_stays() -> None:
    p = Client().pipeline()
    handle = p.set("a", 1)
    assert inspect.isawaitable(handle)
    assert callable(handle.send)
    assert callable(handle.close)
    assert "Queued" in repr(handle)
    await p.reset()
    assert callable(p.multi)
    assert callable(p.reset)
    assert callable(Client().register_script)
    assert Client.from_url("redis://host").node.settings.endpoint.host == "host"


def test_names_of_the_package() -> None:
    for name, advice in PACKAGE.items():
        if name in vars(aioresp):
            continue  # a module that somebody has imported
        with pytest.raises(AttributeError, match=f"^module 'aioresp' has no attribute '{name}': {re.escape(advice)}$"):
            getattr(aioresp, name)
        assert not hasattr(aioresp, name)
    assert not set(PACKAGE) & set(aioresp.__all__)


@pytest.mark.parametrize(
    "name", ["Redis", "StrictRedis", "from_url", "exceptions", "ConnectionError", "Queue", "Lock", "Cache", "JobFailed"]
)
def test_an_import_from_the_package(name: str) -> None:
    with pytest.raises(ImportError, match=f"^cannot import name '{name}' from 'aioresp': {re.escape(PACKAGE[name])}$"):
        exec(f"from aioresp import {name}")
    with pytest.raises(ImportError, match="cannot import name 'nonsense' from 'aioresp'"):
        exec("from aioresp import nonsense")
    assert importlib.import_module("aioresp.testing") is not None
    exec("from aioresp import testing, events")


def test_names_of_recipes_are_those_of_recipes() -> None:
    for name, advice in PACKAGE.items():
        if found := re.search(r"from aioresp\.recipes import (\w+)` here", advice):
            assert found[1] in recipes.__all__, name


def test_a_recipe_without_its_extra() -> None:
    program = "import sys; sys.modules['msgspec'] = None; from aioresp.recipes import Queue"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    said = "ModuleNotFoundError: aioresp.recipes.Queue needs the package msgspec: pip install 'aioresp[recipes]'"
    assert done.stderr.splitlines()[-1] == said


def test_a_misspelt_name_of_the_package() -> None:
    with pytest.raises(AttributeError, match=r"did you mean `Client`\?$"):
        _ = aioresp.Clent  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


#: Before 3.12 `__getattr__` costs time at every look-up, and Python's own proposal in a traceback has to do.
HOOKED: Final = sys.version_info >= (3, 12)


def test_a_misspelt_attribute() -> None:
    class Thing:
        def get(self) -> None: ...

        def connection(self) -> None: ...

    made: Any = advising({"pubsub": "advice"}, (3, 12))(Thing)()
    for name, other in (("gett", "get"), ("conection", "connection"), ("Get", "get")):
        with pytest.raises(
            AttributeError, match=rf"^'Thing' object has no attribute '{name}': did you mean `{other}`\?$"
        ):
            getattr(made, name)
    with pytest.raises(AttributeError, match=r"^'Thing' object has no attribute 'pubsub': advice$"):
        _ = made.pubsub
    with pytest.raises(AttributeError, match=r"^'Thing' object has no attribute 'nonsense'$"):
        _ = made.nonsense
    with pytest.raises(AttributeError, match=r"^'Thing' object has no attribute '_gett'$"):
        _ = made._gett
    if HOOKED:
        client: Any = Client()
        with pytest.raises(AttributeError, match=r"did you mean `hgetall`\?$"):
            _ = client.hgetal


def test_a_lookup_that_succeeds_is_not_slowed_down() -> None:
    assert hasattr(Client, "__getattr__") == HOOKED
    assert hasattr(Pipeline, "__getattr__") == HOOKED
    assert hasattr(Queued, "__getattr__") == HOOKED


def test_an_attribute_of_ones_own() -> None:
    class Mine(Client[str]):
        def lock(self) -> str:
            return "mine"

    made: Any = Mine()
    assert made.lock() == "mine"
    made.json = "mine, too"
    assert made.json == "mine, too"
    assert made.with_options().json == "mine, too"


def test_probes() -> None:
    client: Any = Client()
    for name in ("__deepcopy__", "__len__", "__array__", "_repr_html_", "_ipython_display_"):
        assert getattr(client, name, None) is None
    for probe in (copy.copy, copy.deepcopy, pickle.dumps):
        try:
            probe(client)
        except AttributeError:
            raise
        except Exception:
            pass  # whether a client may be copied is another question
    fake = mock.AsyncMock(spec=Client)
    assert not hasattr(fake, "nonsense")
    mock.create_autospec(Client, instance=True)
    assert len(inspect.getmembers(Client)) > 300
