"""aiogram: conversations of a bot with many users, whose states, data and locks are in RedisStorage."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from aiogram import Bot, Dispatcher, F
from aiogram.filters import Command
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.fsm.storage.base import DefaultKeyBuilder, StorageKey
from aiogram.fsm.storage.redis import RedisStorage
from aiogram.types import Chat, Message, Update, User
from stage import kill_connections, repeated

USERS = 50


class Order(StatesGroup):
    dish = State()
    count = State()


async def order(message: Message, state: FSMContext) -> None:
    await state.set_state(Order.dish)
    await state.set_data({"seen": 1})


async def dish(message: Message, state: FSMContext) -> None:
    await state.update_data(dish=message.text)
    await state.set_state(Order.count)


async def count(message: Message, state: FSMContext) -> None:
    assert message.text
    data = await state.update_data(count=int(message.text))
    ordered.append((data["dish"], data["count"]))
    await state.set_state(None)


async def add(message: Message, state: FSMContext) -> None:
    """Read and write with a pause between, which loses updates unless the events of one user are isolated."""
    data = await state.get_data()
    await asyncio.sleep(0.001)
    await state.set_data({**data, "added": data.get("added", 0) + 1})


ordered: list[tuple[str, int]] = []
updates = iter(range(1, 1_000_000))


def said(user: int, text: str) -> Update:
    return Update(
        update_id=next(updates),
        message=Message(
            message_id=1,
            date=datetime.now(UTC),
            chat=Chat(id=user, type="private"),
            from_user=User(id=user, is_bot=False, first_name="User"),
            text=text,
        ),
    )


async def main(url: str) -> None:
    storage = RedisStorage.from_url(url, key_builder=DefaultKeyBuilder(with_bot_id=True), state_ttl=600, data_ttl=600)
    dispatcher = Dispatcher(
        storage=storage, events_isolation=storage.create_isolation(lock_kwargs={"timeout": 60, "sleep": 0.01})
    )
    dispatcher.message.register(order, Command("order"))
    dispatcher.message.register(dish, Order.dish)
    dispatcher.message.register(count, Order.count, F.text.isdigit())
    dispatcher.message.register(add, F.text == "add")
    bot = Bot("42:TEST")
    users = range(1, USERS + 1)

    async def talk(*texts: str) -> None:
        async def one(user: int) -> None:
            for text in texts:
                await repeated(lambda text=text: dispatcher.feed_update(bot, said(user, text.format(user=user))))

        await asyncio.gather(*(one(user) for user in users))

    def key(user: int) -> StorageKey:
        return StorageKey(bot_id=42, chat_id=user, user_id=user)

    await talk("/order", "dish {user}")
    assert {await storage.get_state(key(user)) for user in users} == {"Order:count"}
    await kill_connections()
    await talk("{user}")
    assert sorted(ordered, key=lambda each: each[1]) == [(f"dish {user}", user) for user in users]
    assert {await storage.get_state(key(user)) for user in users} == {None}
    data: dict[str, Any] = await storage.get_data(key(7))
    assert data == {"seen": 1, "dish": "dish 7", "count": 7}
    assert 0 < await storage.redis.ttl("fsm:42:7:7:data") <= 600

    # Ten events at once of each of five users, one after the other by their lock.
    await asyncio.gather(*(dispatcher.feed_update(bot, said(user, "add")) for user in list(users)[:5] * 10))
    assert [(await storage.get_data(key(user)))["added"] for user in list(users)[:5]] == [10] * 5

    # Of a handler that is cancelled, at whatever point, nobody else gets a reply.
    for turns in range(0, 60, 3):
        task = asyncio.ensure_future(dispatcher.feed_update(bot, said(9, "add")))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await storage.get_data(key(7)))["dish"] == "dish 7"
        # A lock whose acquisition was cancelled may stand until its time is over.
        await storage.redis.delete("fsm:42:9:9:lock")
    await dispatcher.feed_update(bot, said(9, "/order"))
    assert await storage.get_state(key(9)) == "Order:dish"

    await asyncio.gather(*(storage.set_data(key(user), {}) for user in users))
    assert await storage.redis.keys("fsm:*:data") == []
    await storage.close()
    await bot.session.close()
