"""States of the subscription hub: each transition of the table is walked against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import pytest

import aioresp
from aioresp import Client, Gap, Message
from aioresp.pubsub import hub as hubs
from aioresp.pubsub import states
from aioresp.pubsub.hub import Hub
from aioresp.pubsub.states import TRANSITIONS, Event, State
from aioresp.testing import Proxy
from tests.pubsub.listening import until

#: Steps that a hub took: the state it was in, and the event.
Steps: TypeAlias = list[tuple[State, Event]]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """All that the hub of the test goes through; there is one."""
    taken: Steps = []
    advance = Hub._advance

    def noted(self: Hub, event: Event) -> None:
        taken.append((self.state, event))
        advance(self, event)

    monkeypatch.setattr(Hub, "_advance", noted)
    return taken


def leave_unused(hub: Hub) -> None:
    """Have the hub find that its connection has been unused for long, and begin to close it."""
    hub._unused_since -= hubs.LINGER
    hub._life._look()
    assert hub.state is State.LEAVING


async def unused(proxy: Proxy, r: Client[str]) -> None:
    async with r.subscribe("c"):
        hub = r.node.hubs.here()
        assert hub.state is State.CONNECTED
    leave_unused(hub)
    await until(lambda: proxy.open == 0 and hub.state is State.IDLE)
    assert r.stats().open == 0


async def joined_while_leaving(proxy: Proxy, r: Client[str]) -> None:
    async with r.subscribe("c"):
        hub = r.node.hubs.here()
    leave_unused(hub)
    async with r.subscribe("c", gaps=True) as s:
        assert hub.state is State.CONNECTED
        await r.publish("c", "1")
        assert await s.get(5) == Message("c", "1")
        assert s.gaps == ()
    assert hub._made == 2


async def closed_while_leaving(proxy: Proxy, r: Client[str]) -> None:
    async with r.subscribe("c"):
        hub = r.node.hubs.here()
    leave_unused(hub)


async def lost(proxy: Proxy, r: Client[str]) -> None:
    async with r.subscribe("c", gaps=True) as s:
        hub = r.node.hubs.here()
        proxy.refuse()
        proxy.cut()
        await until(lambda: hub.state is State.CONNECTING)
        proxy.accept()
        assert isinstance(await s.get(5), Gap)
        assert hub.state is State.CONNECTED


async def lost_without_a_topic(proxy: Proxy, r: Client[str]) -> None:
    async with r.subscribe("c"):
        hub = r.node.hubs.here()
    proxy.cut()
    await until(lambda: hub.state is State.IDLE)


async def refused(proxy: Proxy, r: Client[str]) -> None:
    proxy.refuse()
    with pytest.raises(aioresp.ConnectError):
        async with r.subscribe("c"):
            pass
    assert r.node.hubs.here().state is State.IDLE
    assert r.node.hubs.here()._topics == {}


async def given_up_while_connecting(proxy: Proxy, r: Client[str]) -> None:
    """The attempt finds no topic left when it would begin."""
    entering = asyncio.ensure_future(r.subscribe("c").__aenter__())
    await asyncio.sleep(0)
    entering.cancel()
    hub = r.node.hubs.here()
    await until(lambda: hub.state is State.IDLE)
    assert proxy.connections == 0


async def closed_while_connecting(proxy: Proxy, r: Client[str]) -> None:
    proxy.stall()
    entering = asyncio.ensure_future(r.subscribe("c").__aenter__())
    await until(lambda: proxy.open == 1)
    await r.aclose()
    with pytest.raises(aioresp.ClientClosed):
        await entering


async def closed_unused(proxy: Proxy, r: Client[str]) -> None:
    assert r.node.hubs.here().state is State.IDLE


Scenario: TypeAlias = Callable[[Proxy, Client[str]], Awaitable[None]]

UP: Final = ((State.IDLE, Event.WANTED), (State.CONNECTING, Event.MADE))
DOWN: Final = ((State.CONNECTED, Event.SHUT), (State.CLOSING, Event.LOST))
UNUSED: Final = (State.CONNECTED, Event.UNUSED)
REFUSED: Final = ((State.IDLE, Event.WANTED), (State.CONNECTING, Event.NOT_MADE), (State.IDLE, Event.SHUT))

#: What happens, and the steps that the hub takes until its client is closed.
WALKS: Final[dict[Scenario, tuple[tuple[State, Event], ...]]] = {
    unused: (*UP, UNUSED, (State.LEAVING, Event.LOST), (State.IDLE, Event.SHUT)),
    joined_while_leaving: (*UP, UNUSED, (State.LEAVING, Event.LOST), *UP, *DOWN),
    closed_while_leaving: (*UP, UNUSED, (State.LEAVING, Event.SHUT), (State.CLOSING, Event.LOST)),
    lost: (*UP, (State.CONNECTED, Event.LOST), *UP, *DOWN),
    lost_without_a_topic: (*UP, (State.CONNECTED, Event.LOST), (State.IDLE, Event.SHUT)),
    refused: REFUSED,
    given_up_while_connecting: REFUSED,
    closed_while_connecting: (
        (State.IDLE, Event.WANTED),
        (State.CONNECTING, Event.SHUT),
        (State.CLOSING, Event.NOT_MADE),
    ),
    closed_unused: ((State.IDLE, Event.SHUT),),
}


def walked(steps: Steps) -> tuple[tuple[State, Event], ...]:
    """Return the steps without failed attempts in between: their number depends on the clock."""
    found = list(steps)
    retried = [(State.CONNECTING, Event.NOT_MADE), (State.IDLE, Event.WANTED)]
    for position in range(len(found) - 2, -1, -1):
        if found[position : position + 2] == retried:
            del found[position : position + 2]
    return tuple(found)


@pytest.mark.parametrize("scenario", WALKS, ids=lambda scenario: str(scenario.__name__))
async def test_a_walk(scenario: Scenario, proxy: Proxy, steps: Steps) -> None:
    async with asyncio.timeout(10):
        r = Client(proxy.url, retry=None, connect_timeout=60)  # longer than the test: closing waits for no attempt
        async with r:
            await scenario(proxy, r)
    assert walked(steps) == WALKS[scenario]
    assert TRANSITIONS[steps[-1]] is State.CLOSED


def test_all_transitions_are_walked() -> None:
    assert {step for walk in WALKS.values() for step in walk} == set(TRANSITIONS)


def test_the_table_in_words_is_the_table_in_data() -> None:
    rows = [line for line in (states.__doc__ or "").splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert {(State(state), Event(event)): State(following) for state, event, following, _ in cells} == TRANSITIONS
    assert len(cells) == len(TRANSITIONS)


def test_every_state_is_entered_and_only_closed_is_final() -> None:
    assert {*TRANSITIONS.values(), State.IDLE} == set(State)
    assert {state for state, _ in TRANSITIONS} == set(State) - {State.CLOSED}
