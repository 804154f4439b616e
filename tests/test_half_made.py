"""Objects whose constructor failed: they can be shown, as debuggers and tracebacks do, and collected without a word."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import aioresp
from aioresp import Client
from aioresp.contexts.iterators import Scan
from aioresp.contexts.pipeline import Queued
from aioresp.node import Node
from aioresp.pool.loops import PerLoop, _Keeper
from aioresp.pubsub.keyspace import KeyEvents
from aioresp.testing import Proxy, Server

KINDS: list[Any] = [
    Client,
    Node,
    Scan,
    aioresp.Lease,
    aioresp.Pipeline,
    Queued,
    aioresp.Subscription,
    KeyEvents,
    aioresp.Monitor,
    aioresp.StreamReader,
    aioresp.GroupReader,
    aioresp.Delivery,
    aioresp.Script,
    aioresp.Function,
    Server,
    Proxy,
]


pytestmark = pytest.mark.usefixtures("frozen")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_nothing_of_it_is_there(kind: Any) -> None:
    made = kind.__new__(kind)
    assert repr(made) == str(made) == f"{kind.__name__}(not made)"
    del made
    gc.collect()  # what __del__ raises is a warning, and warnings are errors


def test_loops() -> None:
    made: Any = PerLoop.__new__(PerLoop)
    assert repr(made)
    made.pools = {}  # and there it stopped
    del made
    made = _Keeper.__new__(_Keeper)
    del made
    gc.collect()


class Derived(Client[str]):
    """A client whose own constructor fails before that of its base, or after it."""

    def __init__(self, first: bool) -> None:
        if first:
            raise KeyError
        super().__init__()
        raise KeyError


@pytest.mark.parametrize("first", [False, True])
def test_a_constructor_of_a_subclass_that_fails(first: bool) -> None:
    with pytest.raises(KeyError):
        Derived(first)
    gc.collect()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_it_is_not_pickled_either(kind: Any) -> None:
    with pytest.raises(TypeError, match=f"a {kind.__name__} cannot be pickled or copied: "):
        pickle.dumps(kind.__new__(kind))


#: What takes arguments of any kind.
ANY: Any = Client

#: Constructors that raise, some of them late.
FAIL: list[Callable[[], Any]] = [
    lambda: ANY("redis://h/x"),
    lambda: ANY(limit=0),
    lambda: ANY(decode_responses=7),
    lambda: ANY().subscribe("c", buffer=0),
    lambda: ANY().subscribe(7),
    lambda: ANY().keyspace_events("k", db=-1),
    lambda: ANY().keyspace_events(7),
    lambda: ANY().monitor(buffer=0),
    lambda: ANY().stream_reader(),
    lambda: ANY().stream_reader("s", count=0),
    lambda: ANY().stream_reader("s", last_id="+"),
    lambda: ANY().group_reader("g", "c"),
    lambda: ANY().group_reader("g", "c", "s", min_idle=0),
    lambda: ANY().register_function("f", "return 1"),
    lambda: ANY().register_script(7),
    lambda: Server(config={"port": "1"}),
    lambda: ANY().pipeline().get(None),
]


@pytest.mark.parametrize("number", range(len(FAIL)))
def test_what_its_constructor_left(number: int) -> None:
    """Found by way of the traceback, whose frames hold it."""
    with pytest.raises((TypeError, ValueError)) as caught:
        FAIL[number]()
    frame = caught.value.__traceback__
    shown = 0
    while frame is not None:
        for thing in frame.tb_frame.f_locals.values():
            if type(thing).__module__.startswith("aioresp"):
                assert repr(thing)
                assert str(thing)
                shown += 1
        frame = frame.tb_next
    assert shown
    del frame, caught
    gc.collect()
