"""Cache as its users see it: keys, types, methods, errors, refreshing, and the words for wrong use."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import inspect
import math
import threading
import traceback
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, NewType

import anyio
import msgspec
import pytest

from aioresp import Client, WrongTypeError
from aioresp.errors import ArgumentError, ArgumentTypeError, DecodeError
from aioresp.recipes import Cache, Cached, LoadCancelled, RecipeError
from aioresp.testing import Server
from tests.rest import until

if TYPE_CHECKING:
    from fractions import Fraction


@dataclass
class User:
    id: int
    name: str
    seen: datetime | None = None


class Pair(NamedTuple):
    a: object
    b: object


class Color(enum.Enum):
    RED = 1


class Point(msgspec.Struct):
    x: int
    y: int = 0


calls = 0


async def count(*args: Any, **kwargs: Any) -> int:
    global calls
    calls += 1
    return calls


@pytest.fixture(autouse=True)
def no_calls() -> None:
    global calls
    calls = 0


@pytest.fixture
def cache(r: Client[str], prefix: str) -> Cache:
    return Cache(r, prefix=prefix, ttl=20)


async def test_values_come_back_in_their_types(cache: Cache) -> None:
    """C5: the same under both protocols, for the first caller and for those who find it cached."""
    when = datetime(2026, 1, 2, tzinfo=UTC)

    @cache
    async def user(id: int) -> User:
        return User(id, "ada", when)

    @cache(ttl=timedelta(minutes=5))
    async def points(count: int) -> dict[str, list[Point]]:
        return {"all": [Point(n) for n in range(count)]}

    @cache()
    async def nothing() -> None:
        await count()

    @cache
    async def plain(a):  # type: ignore[no-untyped-def]
        return (a, b"\xff")

    first = await user(3)
    assert first == await user(3) == User(3, "ada", when)
    assert first is not await user(3)  # a caller may change what it gets
    assert await points(2) == await points(2) == {"all": [Point(0), Point(1)]}
    assert [await nothing(), await nothing(), calls] == [None, None, 1]  # type: ignore[func-returns-value]
    assert await plain(1) == await plain(1) == [1, "/w=="]  # without an annotation: as JSON has it
    assert isinstance(user, Cached)
    assert (getattr(user, "__name__", ""), user.__module__) == ("user", __name__)
    assert list(inspect.signature(user).parameters) == ["id"]
    assert repr(user) == f"<cached {__name__}.test_values_come_back_in_their_types.<locals>.user>"


async def test_equal_calls_have_equal_keys(cache: Cache, prefix: str) -> None:
    @cache
    async def f(a: int, b: str = "x", *, c: float | None = None) -> int:
        return await count()

    assert {await f(1), await f(1, "x"), await f(a=1), await f(1, b="x", c=None)} == {1}
    assert await f(1, c=0.5) == 2
    assert await f(b="x", a=2) == await f(2) == 3
    assert f.key(1) == f'{prefix}{__name__}.test_equal_calls_have_equal_keys.<locals>.f:1,"x",null'

    @cache
    async def g(*args: Any, **kwargs: Any) -> int:
        return await count()

    assert g.key(1, 2, a=1, b=2) == g.key(1, 2, b=2, a=1) != g.key(1, 2, a=1)
    given: list[Any] = [1, "1", True, None, 1.5, b"MQ==", "MQ==", [1], {"a": 1}, Point(1)]
    number = uuid.UUID(int=1)
    given += [number, str(number), timedelta(1), datetime(2026, 1, 1)]
    given += [1.0, math.nan, math.inf, -math.inf, "nan", [math.nan], [None], 0.5, "", [], {}, {"a": True}]
    given += [{1: "a"}, {"1": "a"}, {"builtins.bytes": "MQ=="}, {1: 2, "1": 2}, User(True, "x"), User(1, "x")]
    given += [frozenset({b"a"}), frozenset({"YQ=="}), Point(1, 2), Point(True, 2), Color.RED, Pair(1, b"MQ==")]
    given += [Pair(1, "MQ=="), Decimal(1), Decimal(2)]
    assert len({g.key(each) for each in given}) == len(given)
    assert g.key(User(1, "a")) == g.key(User(1, "a"))
    assert g.key({1: 2, "b": {3, 4, "5"}}) == g.key({"b": {"5", 4, 3}, 1: 2})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ArgumentTypeError, match=r"the argument args is tuple, .*: nested too deep"):
        g.key(endless)
    assert len(g.key("x" * 100_000)) < 200
    assert g.key("x" * 1000) != g.key("x" * 1001)


UserId = NewType("UserId", int)


async def test_unusual_types_come_back(cache: Cache) -> None:
    given: list[tuple[Any, Any]] = [
        (dict[int, str], {2: "b", 1: "a"}),
        (dict[datetime, User], {datetime(2026, 1, 1, tzinfo=UTC): User(1, "a")}),
        (dict[Color, int], {Color.RED: 1}),
        (User | None, None),
        (int | str | None, "1"),
        (Decimal, Decimal("1.10")),
        (bytes, b"\xff"),
        (UserId, 3),
        (list[tuple[int, ...]], [(1, 2), ()]),
        (set[str], {"a", "b"}),
        (Color, Color.RED),
        (timedelta, timedelta(days=-1, microseconds=1)),
        (Pair, Pair(1, "a")),
        (None, None),
    ]
    for number, (kind, value) in enumerate(given):

        async def load(value: Any = value) -> Any:
            return value

        assert [await cache.get(str(number), load, type=kind) for _ in range(2)] == [value, value], kind


@pytest.mark.parametrize("days", [100, 116, 5_000])
async def test_it_may_be_stale_for_long(cache: Cache, days: int) -> None:
    @cache(stale=timedelta(days=days))
    async def f() -> int:
        return await count()

    assert [await f(), await f(), calls] == [1, 1, 1]


async def test_a_key_of_ones_own(cache: Cache, other: Client[str], prefix: str) -> None:
    @cache(key=lambda id, session=None: f"user:{id}")
    async def user(id: int, session: object = None) -> int:
        return await count()

    assert await user(3, object()) == await user(3, session=object()) == 1
    assert await other.exists(f"{prefix}user:3")

    class Users:
        def __init__(self, tenant: str) -> None:
            self.tenant = tenant

        @cache(key=lambda self, id: f"{self.tenant}:{id}")
        async def find(self, id: int) -> str:
            await count()
            return f"{self.tenant} {id}"

    a, b = Users("a"), Users("b")
    assert [await a.find(1), await b.find(1), await a.find(id=1)] == ["a 1", "b 1", "a 1"]
    await a.find.invalidate(1)
    assert [await a.find(1), await b.find(1), calls] == ["a 1", "b 1", 4]


async def test_invalidate_and_refresh(cache: Cache, other: Client[str]) -> None:
    @cache
    async def f(a: int) -> int:
        await asyncio.sleep(0.01)
        return await count()

    assert await f(1) == 1
    await f.invalidate(1)
    await f.invalidate(a=2)
    assert await f(1) == 2
    refreshing = asyncio.gather(*(f.refresh(1) for _ in range(3)))
    assert await f(1) == 2  # meanwhile
    assert await refreshing == [3, 3, 3]
    assert await f(a=1) == 3
    assert await f.refresh(7) == 4


async def test_a_refresh_begins_after_its_call(cache: Cache, server: Server, prefix: str) -> None:
    """A load that had begun before, in this process or in another, is not taken for the new one."""
    go, begun = asyncio.Event(), asyncio.Event()
    version = 1

    async def load() -> int:
        found = version
        begun.set()
        await go.wait()
        return found

    async with Client(server.url) as r2:
        for one in (cache, Cache(r2, prefix=prefix, ttl=20)):
            f, g = one(key=lambda: "k")(load), cache(key=lambda: "k")(load)
            begun.clear()
            go.clear()
            version = 1
            first = asyncio.create_task(f())
            await begun.wait()
            begun.clear()
            version = 2
            second = asyncio.create_task(g.refresh())
            await begun.wait()
            go.set()
            assert [await first, await second, await f()] == [1, 2, 2]
            await cache.delete("k")


async def test_get_set_delete(cache: Cache, other: Client[str], prefix: str) -> None:
    async def load() -> User:
        await count()
        return User(1, "ada")

    assert await cache.get("k", load, ttl=5) == await cache.get("k", load) == User(1, "ada")
    assert 4 < await other.ttl(f"{prefix}k") <= 5
    assert await cache.get("n", lambda: count()) == 2
    assert await cache.get("p", lambda: count(), type=float) == 3.0
    await cache.set("k", User(2, "eve"), ttl=100, stale=50)
    assert await cache.get("k", load) == User(2, "eve")
    assert 148 < await other.ttl(f"{prefix}k") <= 150
    assert await cache.delete("k", "n", "none") == 2
    assert await cache.get("k", load) == User(1, "ada")
    assert await cache.delete() == 0


async def test_a_set_beats_a_load(cache: Cache) -> None:
    go = asyncio.Event()

    async def load() -> int:
        await count()
        await go.wait()
        return 1

    task = asyncio.create_task(cache.get("k", load))
    await until(lambda: calls)
    await cache.set("k", 2)
    go.set()
    assert await task == 1
    assert await cache.get("k", load) == 2


async def test_a_value_that_fits_no_more_is_loaded_again(
    r: Client[str], cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a deploy that has changed a class: a miss, logged once, and no error."""

    async def load() -> User:
        await count()
        return User(1, "ada")

    for name in ("a", "b"):
        await cache.set(name, {"id": "secret"})
    assert [await cache.get(name, load) for name in ("a", "a", "b")] == [User(1, "ada")] * 3
    assert calls == 2
    (said,) = [record.getMessage() for record in caplog.records if record.name == "aioresp"]
    assert said.startswith("the value of load does not fit its type: Expected `int`, got `str`")
    assert "secret" not in said


async def test_foreign_keys_are_left_alone(cache: Cache, other: Client[str], prefix: str) -> None:
    await other.set(f"{prefix}text", "mine")
    await other.rpush(f"{prefix}list", "mine")
    for how in (cache.get("text", count), cache(key=lambda: "text")(count).refresh()):
        with pytest.raises((RecipeError, Exception), match=r"no cache has written|not an entry"):
            await how
    with pytest.raises(WrongTypeError):
        await cache.get("list", count)
    assert (await other.get(f"{prefix}text"), await other.llen(f"{prefix}list")) == ("mine", 1)


async def test_what_a_loader_returns_must_fit(cache: Cache, other: Client[str], prefix: str) -> None:
    @cache
    async def wrong() -> int:
        return "text"  # type: ignore[return-value]

    @cache
    async def impossible() -> object:
        return object()

    with pytest.raises(DecodeError, match=r"the result of .*wrong does not fit its type: Expected `int`, got `str`"):
        await wrong()
    with pytest.raises(ArgumentTypeError, match=r"the result of .*impossible is object, which cannot be written"):
        await impossible()
    assert not await other.keys(f"{prefix}*")
    with pytest.raises(ArgumentTypeError, match="load returned int, which is not awaitable"):
        await cache.get("k", lambda: 5)  # type: ignore[arg-type, return-value]


class OddError(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code


async def test_errors_do_not_grow(cache: Cache) -> None:
    """Also those that cannot be copied."""
    original = OddError(code=5)
    go = asyncio.Event()

    async def fail() -> None:
        await go.wait()
        raise original

    tasks = [asyncio.create_task(cache.get("k", fail)) for _ in range(30)]
    await asyncio.sleep(0.05)
    go.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(error, OddError) and error.code == 5 for error in errors)

    async def broken() -> None:
        try:
            raise OSError("the database")
        except OSError as error:
            failed = ValueError("no user")
            failed.add_note("of the loader")
            raise failed from error

    results = await asyncio.gather(*(cache.get("b", broken) for _ in range(30)), return_exceptions=True)
    for error in (*errors, *results):
        assert isinstance(error, Exception)
        frames = traceback.extract_tb(error.__traceback__)
        assert len(frames) < 8
        assert frames[-1].name in ("fail", "broken")
        error.add_note("of a caller")
        assert error.__notes__.count("of a caller") == 1 or error is original
    assert all(isinstance(error, ValueError) and isinstance(error.__cause__, OSError) for error in results)


async def test_an_abandoned_load_is_cancelled_if_asked_for(r: Client[str], prefix: str) -> None:
    cache = Cache(r, prefix=prefix, lease=30, cancel_abandoned=True)
    cancelled = asyncio.Event()

    async def load() -> int:
        await count()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return 0

    callers = [asyncio.create_task(cache.get("k", load)) for _ in range(3)]
    await until(lambda: calls)
    for caller in callers[:2]:
        caller.cancel()
    await asyncio.sleep(0.02)
    assert not cancelled.is_set()
    callers[2].cancel()
    async with asyncio.timeout(10):
        assert await cache.get("k", count) == 2  # who comes later does not wait for the lease
    assert cancelled.is_set()


async def test_a_loader_that_cancels_itself(cache: Cache) -> None:
    async def load() -> int:
        raise asyncio.CancelledError

    with pytest.raises(LoadCancelled, match=r"the load of '.*k' was cancelled"):
        await cache.get("k", load)
    assert await cache.get("k", count) == 1


async def test_a_load_has_the_context_of_its_first_caller(cache: Cache) -> None:
    tenant = contextvars.ContextVar("tenant", default="")

    async def load() -> str:
        found = tenant.get()
        tenant.set("changed")
        return found

    tenant.set("a")
    assert await cache.get("k", load) == "a"
    assert tenant.get() == "a"


async def test_stale(r: Client[str], prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(r, prefix=prefix, ttl=0.05, stale=30, early=False)
    assert await cache.get("k", count) == 1
    await asyncio.sleep(0.06)
    assert await cache.get("k", count) == 1
    await until(lambda: calls == 2)
    while await cache.get("k", count) == 1:
        await asyncio.sleep(0.005)

    async def fail() -> int:
        raise OSError("secret")

    await cache.set("f", 1)
    await asyncio.sleep(0.06)
    assert [await cache.get("f", fail) for _ in range(3)] == [1] * 3
    await until(lambda: [record for record in caplog.records if record.name == "aioresp"])
    (said,) = [record.getMessage() for record in caplog.records if record.name == "aioresp"]
    assert "could not be loaded again, the old value is served: OSError" in said
    assert "secret" not in said


async def test_loops_in_several_threads(r: Client[str], cache: Cache) -> None:
    """One loads, and the others wait for the word of another loop."""

    async def load() -> int:
        await asyncio.sleep(0.2)
        return await count()

    found: list[int] = []

    def run() -> None:
        found.append(asyncio.run(in_thread()))

    async def in_thread() -> int:
        return await cache.get("k", load)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert await cache.get("k", load) == 1
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert found == [1] * 3


def test_it_runs_in_a_runner_of_anyio(server: Server, prefix: str) -> None:
    async def main() -> None:
        async with Client(server.url) as r:
            cache = Cache(r, prefix=prefix)

            async def load() -> int:
                await anyio.sleep(0.1)
                return await count()

            with anyio.move_on_after(0.05) as scope:
                await cache.get("k", load)
            assert scope.cancelled_caught
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(cache.get, "k", load)
            assert calls == 1

    anyio.run(main)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ttl": 0}, "ttl is 0, not"),
        ({"ttl": -1}, "ttl is -1, not"),
        ({"ttl": "60"}, "ttl is str, not seconds"),
        ({"ttl": float("inf")}, "ttl is inf, not"),
        ({"stale": -1}, "stale is -1, not"),
        ({"lease": 0}, "lease is 0, not 0.1 to 3600"),
        ({"prefix": None}, "prefix is NoneType, not str"),
        ({"on_error": "allow"}, "on_error is 'allow', not one of load, raise"),
        ({"timeout": 0}, "timeout is 0, not"),
        ({"ttl": 10**400}, r"ttl is .*, not 0.001 to 1e\+09 seconds"),
        ({"ttl": float("nan")}, "ttl is nan, not"),
        ({"early": 1}, "early is int, not bool"),
        ({"cancel_abandoned": None}, "cancel_abandoned is NoneType, not bool"),
    ],
)
async def test_wrong_options(options: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Cache(Client("redis://localhost"), **options)


async def test_wrong_use() -> None:
    with pytest.raises(ArgumentError, match="redis is str, not a Client"):
        Cache("redis://localhost")  # type: ignore[arg-type]
    cache = Cache(Client("redis://localhost"))
    assert repr(cache) == "Cache('cache:', ttl 60 s)"
    with pytest.raises(ArgumentTypeError, match="plain is no coroutine function: a cache needs `async def`"):
        cache(plain)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="int is no coroutine function"):
        cache(5)  # type: ignore[call-overload]
    with pytest.raises(ArgumentError, match="ttl is 0"):
        cache(ttl=0)
    with pytest.raises(ArgumentTypeError, match="key is str, not a function"):
        cache(key="k")  # type: ignore[call-overload]
    with pytest.raises(ArgumentError, match=r"find is a method, and self cannot be part of a key: give `key`"):

        class Users:
            @cache
            async def find(self, id: int) -> int:
                return id

    @cache
    async def f(a: int) -> int:
        return a

    with pytest.raises(ArgumentTypeError, match=r"f\(\): missing a required argument: 'a'"):
        await f()  # type: ignore[call-arg]
    with pytest.raises(ArgumentTypeError, match=r"f\(\): too many positional"):
        await f.invalidate(1, 2)  # type: ignore[call-arg]
    with pytest.raises(ArgumentTypeError, match=r"f\(\): the argument a is object, which cannot be written as JSON"):
        f.key(object())  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match=r"the result of key is int, not str"):
        cache(key=lambda a: a)(f.__wrapped__).key(1)  # type: ignore[attr-defined]
    with pytest.raises(ArgumentTypeError, match="key is int, not str"):
        await cache.get(1, count)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="load is int, not a function"):
        await cache.get("k", 5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="value is object, which cannot be written"):
        await cache.set("k", object())

    @cache
    async def unknown() -> Fraction:
        raise NotImplementedError

    with pytest.raises(ArgumentError, match="an annotation cannot be read at run time: name 'Fraction' is not defined"):
        await unknown()
    with pytest.raises(TypeError, match="cannot be pickled"):
        cache.__reduce__()


def plain(a: int) -> int:
    return a
