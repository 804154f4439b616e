"""Cache in front of slow functions, shared by all processes: each value is loaded once, and never stale after a delete.

Owns keys, types, and when a value is loaded early. Never serves a value that was deleted.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect
import logging
import math
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    TypeAlias,
    TypeVar,
    get_type_hints,
    overload,
)

from aioresp.errors import ArgumentError, ArgumentTypeError, DecodeError
from aioresp.misuse import Bound
from aioresp.recipes import checks
from aioresp.recipes.encoding import Decoder, encode
from aioresp.recipes.entries import TOKEN, Entries, Lease, Value
from aioresp.recipes.loads import Job, Loads
from aioresp.recipes.outage import AWAY, Outage
from aioresp.recipes.wake import Wake

if TYPE_CHECKING:
    from datetime import timedelta

    from aioresp.client import Client

log: Final = logging.getLogger("aioresp")

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")

Seconds: TypeAlias = "float | timedelta"

#: Most characters of the arguments in a key; longer ones are replaced by their hash.
_LONGEST: Final = 200

#: Most seconds between two looks at an entry that others load, in case a word is lost.
_LOOK: Final = 1.0

#: Seconds before the next look if the server was away.
_POLL: Final = 0.05

#: Types whose JSON no other type has, so that keys need not name them.
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})

#: Those of them of which that is true of each value.
_EASY: Final = _PLAIN - {float}

_ANY: Final = Decoder[Any](Any)

#: Seconds after an error of the server in which functions are called without asking it.
_PAUSE: Final = 1.0


class _Away:
    """Answer of a server that is away."""


class Cache(Bound):
    """Cache of values in Redis: `@cache` before a coroutine function, or `await cache.get(key, load)`.

    Of all callers, in all processes, one loads a value, and the others wait for it. A value that is about to expire is
    loaded again in the background. After `invalidate` or `delete` has returned, nobody gets a value whose load had
    begun before. Values travel as JSON and come back in the type of the annotation. Each caller gets an object of
    its own.

    Args:
        redis: client of a server, a cluster or Sentinel.
        prefix: beginning of all keys.
        ttl: seconds, or a timedelta, for which a value is fresh.
        stale: seconds after `ttl` in which the old value is served while a new one is loaded, or cannot be.
        lease: seconds after which others load, if the process that loads has died; a load may take longer.
        early: whether a value is loaded again in the background before it expires.
        cancel_abandoned: whether a load is cancelled when no caller waits for it any more.
        on_error: what happens while the server is away: "load" calls the function, "raise" raises the error.
        timeout: seconds that the server may take for an answer; by default as the client says.

    Raises ArgumentError, naming the argument, for a value that does not fit.
    """

    _instead = "make one in each process, on that process's client"

    def __init__(
        self,
        redis: Client[Any],
        *,
        prefix: str = "cache:",
        ttl: Seconds = 60,
        stale: Seconds = 0,
        lease: Seconds = 5,
        early: bool = True,
        cancel_abandoned: bool = False,
        on_error: Literal["load", "raise"] = "load",
        timeout: Seconds | None = None,
    ) -> None:
        view = checks.client(redis).with_options(decode_responses=False, idempotent=True)
        if timeout is not None:
            view = view.with_options(timeout=checks.seconds("timeout", timeout))
        self._view = view
        self._prefix = checks.text("prefix", prefix)
        self._ttl = checks.seconds("ttl", ttl)
        self._stale = checks.seconds("stale", stale, 0)
        self._is_early = checks.flag("early", early)
        self._is_strict = checks.choice("on_error", on_error, ("load", "raise")) == "raise"
        self._entries = Entries(view)
        self._outage = Outage(f"the cache {prefix}", "values are loaded and not stored")
        self._loads = Loads(
            self._entries,
            self._outage,
            checks.seconds("lease", lease, 0.1, 3600),
            is_strict=self._is_strict,
            cancels_abandoned=checks.flag("cancel_abandoned", cancel_abandoned),
        )
        self._unfit: set[str] = set()  # what was logged not to fit its type

    def __repr__(self) -> str:
        if not hasattr(self, "_unfit"):  # its constructor failed
            return "Cache(not made)"
        return f"Cache({self._prefix!r}, ttl {self._ttl:g} s)"

    @overload
    def __call__(self, function: Callable[P, Awaitable[T]], /) -> Cached[P, T]: ...
    @overload
    def __call__(
        self,
        function: None = None,
        /,
        *,
        ttl: Seconds | None = None,
        stale: Seconds | None = None,
        key: Callable[..., str] | None = None,
    ) -> Callable[[Callable[P, Awaitable[T]]], Cached[P, T]]: ...
    def __call__(
        self,
        function: Any = None,
        /,
        *,
        ttl: Seconds | None = None,
        stale: Seconds | None = None,
        key: Callable[..., str] | None = None,
    ) -> Any:
        """Cache the results of a coroutine function: `@cache`, `@cache(ttl=300)`.

        An entry's key is the prefix, the function's module and name, and all arguments, defaults included. `key` makes
        another one: a function of the same arguments that returns the part behind the prefix.
        """
        terms = self._times(ttl, stale)
        if key is not None and not callable(key):
            raise ArgumentTypeError(f"key is {type(key).__name__}, not a function of the arguments")
        if function is None:
            return lambda function: Cached(self, function, *terms, key)
        return Cached(self, function, *terms, key)

    async def get(
        self,
        key: str,
        load: Callable[[], Awaitable[T]],
        *,
        ttl: Seconds | None = None,
        stale: Seconds | None = None,
        type: Any = None,
    ) -> T:
        """Return the value of a key, or what `load()` returns, which is stored then.

        The value comes back as `type`, by default as the annotation of `load` says.
        """
        name = self._name(key)
        if not callable(load):
            raise ArgumentTypeError(f"load is {load.__class__.__name__}, not a function: pass it without calling it")
        decoder: Decoder[Any] = _result_of(load) if type is None else Decoder(type)
        found: T = await self._find(Job(name, load, (), {}, decoder, "the value of load", *self._times(ttl, stale)))
        return found

    async def set(self, key: str, value: object, *, ttl: Seconds | None = None, stale: Seconds | None = None) -> None:
        """Store a value, and refuse that of a load that is under way."""
        name = self._name(key)
        payload = encode(value, "value")
        fresh, old = self._times(ttl, stale)
        await self._entries.store(name, os.urandom(TOKEN), payload, fresh, old, 0.0, always=True)
        self._loads.forget(name)

    async def delete(self, *keys: str) -> int:
        """Delete values, and return how many there were; what is being loaded under these keys is not stored."""
        return sum([await self._forget(name) for name in [self._name(key) for key in keys]])

    # --- Calls of a cached function -----------------------------------------------------------------------------------

    async def _find(self, job: Job) -> Any:
        """Return the value of an entry, loaded if need be."""
        while True:
            found = await self._look(job.key)
            load = self._loads.find(job.key)
            if isinstance(found, Value):
                try:
                    value = job.decoder.decode(found.payload, job.where)
                except DecodeError as error:
                    self._note_unfit(job.where, error)
                    job.unfit = found.token
                else:
                    if load is None and self._is_due(found, job.ttl):
                        self._loads.begin(job, "early")
                    return value
            if isinstance(found, _Away):
                if load is None or load.is_obsolete or load.how == "early":
                    load = self._loads.begin(job, "away")
            elif load is None or not load.may_be_joined(found.token if isinstance(found, Lease) else b""):
                if isinstance(found, Lease):
                    await self._word(job.key, found)
                    continue
                load = self._loads.begin(job, "miss")
            payload = await self._loads.join(load)
            if payload is not None:
                return job.decoder.decode(payload, job.where)

    async def _replace(self, job: Job) -> Any:
        """Load a value, whatever is there, and return it."""
        while True:
            load = self._loads.find(job.key)
            if load is None or load.has_begun or load.how != "force":
                load = self._loads.begin(job, "force")
            payload = await self._loads.join(load)
            if payload is not None:
                return job.decoder.decode(payload, job.where)

    async def _forget(self, name: str) -> bool:
        """Delete an entry; the load that is under way is not stored."""
        try:
            return await self._entries.forget(name)
        finally:
            self._loads.forget(name)

    async def _look(self, name: str) -> Value | Lease | _Away | None:
        if not self._is_strict and self._outage.pauses:
            return _Away()
        try:
            found = await self._entries.read(name)
        except AWAY as error:
            if self._is_strict:
                raise
            self._outage.begin(error, _PAUSE)
            return _Away()
        if self._outage.lasts:
            self._outage.end()
        return found

    async def _word(self, name: str, lease: Lease) -> None:
        """Wait until another process has loaded an entry, or its lease ends, or for a second."""
        try:
            async with Wake(self._view, name.encode()) as wake:
                found = await self._entries.read(name)  # it may have been loaded before the subscription began
                if isinstance(found, Lease) and found.token == lease.token:
                    await wake.wait(min(found.left + 0.001, _LOOK))
        except AWAY:
            await asyncio.sleep(_POLL)  # the next look says what becomes of the call

    def _is_due(self, found: Value, ttl: float) -> bool:
        """Return whether this read should start a new load, so that no read waits for one when the value expires.

        The likelihood grows as the end comes near: among many readers one begins in time, and few begin too early. The
        longer a load takes, the earlier that is (XFetch).
        """
        if found.is_refreshing or not self._is_early or found.fresh <= 0:
            return found.fresh <= 0 and not found.is_refreshing
        scale = max(2 * found.took, min(0.05, ttl / 20))
        if found.fresh > min(2 * scale, max(ttl / 2, 1.5 * found.took)):
            return False
        return found.fresh <= -scale * math.log(1.0 - random.random())

    # --- Parts --------------------------------------------------------------------------------------------------------

    def _name(self, key: str) -> str:
        return self._prefix + checks.text("key", key)

    def _times(self, ttl: Seconds | None, stale: Seconds | None) -> tuple[float, float]:
        return (
            self._ttl if ttl is None else checks.seconds("ttl", ttl),
            self._stale if stale is None else checks.seconds("stale", stale, 0),
        )

    def _note_unfit(self, where: str, error: DecodeError) -> None:
        if where not in self._unfit:
            self._unfit.add(where)
            log.warning("%s; it is loaded again", error.args[0])


class Cached(Bound, Generic[P, T]):
    """A coroutine function whose results are cached: `await user(3)`, `await user.invalidate(3)`."""

    def __init__(
        self,
        cache: Cache,
        function: Callable[P, Awaitable[T]],
        ttl: float,
        stale: float,
        key: Callable[..., str] | None,
    ) -> None:
        if not inspect.iscoroutinefunction(function) or not hasattr(function, "__qualname__"):
            raise ArgumentTypeError(
                f"{getattr(function, '__qualname__', type(function).__name__)} is no coroutine function: a cache needs"
                " `async def`"
            )
        self._cache = cache
        self._function = function
        self._times = ttl, stale
        self._key = key
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._signature = inspect.signature(function)
        self._decoder: Decoder[T] | None = None
        self._where = f"the result of {function.__qualname__}"
        self._owner: tuple[Any, ...] = ()
        parameters = self._signature.parameters
        names = list(parameters)
        #: Most arguments of a call by position alone, fewest, and defaults. -1 if not all parameters can be so given.
        self._most = -1
        if all(each.kind <= each.POSITIONAL_OR_KEYWORD for each in parameters.values()):
            self._most = len(names)
        self._needed = sum(each.default is each.empty for each in parameters.values())
        self._defaults = tuple(each.default for each in parameters.values())
        if key is None and names and names[0] in ("self", "cls"):
            raise ArgumentError(
                f"{function.__qualname__} is a method, and {names[0]} cannot be part of a key: give `key`, as in"
                f' @cache(key=lambda {", ".join(names[:2])}: f"...")'
            )
        functools.update_wrapper(self, function)
        if mark := getattr(inspect, "markcoroutinefunction", None):
            mark(self)

    def __repr__(self) -> str:
        return f"<cached {self._name}>"

    @overload
    def __get__(self, owner: None, kind: type, /) -> Cached[P, T]: ...
    @overload
    def __get__(self: Cached[Concatenate[Any, Q], T], owner: object, kind: type | None = None, /) -> Cached[Q, T]: ...
    def __get__(self, owner: Any, kind: type | None = None, /) -> Any:
        """Bind a method to its object."""
        if owner is None:
            return self
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound._owner = (owner,)
        return bound

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the cached result of a call, or call the function and store its result."""
        found: T = await self._cache._find(self._job(args, kwargs))
        return found

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function, store its result and return it. Meanwhile others get the old one."""
        found: T = await self._cache._replace(self._job(args, kwargs))
        return found

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Delete the result of a call. From now on nobody gets a result whose call had begun before."""
        await self._cache._forget(self.key(*args, **kwargs))

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of the result in Redis."""
        return self._full(*self._bound(args, kwargs))

    def _job(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job:
        args, kwargs, values = self._bound(args, kwargs)
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = _result_of(self._function)
        return Job(self._full(args, kwargs, values), self._function, args, kwargs, decoder, self._where, *self._times)

    def _bound(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], Sequence[Any]]:
        """Return the arguments of a call with all defaults, by position and by name, and all in order."""
        args = (*self._owner, *args)
        if not kwargs and self._needed <= len(args) <= self._most:
            args += self._defaults[len(args) :]
            return args, kwargs, args
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentTypeError(f"{self._function.__qualname__}(): {error}") from None
        bound.apply_defaults()
        return bound.args, bound.kwargs, list(bound.arguments.values())

    def _full(self, args: tuple[Any, ...], kwargs: dict[str, Any], values: Sequence[Any]) -> str:
        prefix = self._cache._prefix
        if self._key is not None:
            return prefix + checks.text("the result of key", self._key(*args, **kwargs))
        try:
            text = encode([value if type(value) in _EASY else _typed(value) for value in values], "")
        except (ArgumentTypeError, RecursionError):
            for place, value in zip(self._signature.parameters, values, strict=True):  # again, to name the argument
                encode(value, f"{self._function.__qualname__}(): the argument {place}")
            raise
        arguments = text[1:-1].decode()
        if len(arguments) > _LONGEST:
            arguments = hashlib.blake2b(text, digest_size=16).hexdigest()
        return f"{prefix}{self._name}:{arguments}"


def _typed(value: Any) -> Any:
    """Return a value with the names of the types that JSON does not tell apart, as bytes and str."""
    kind = type(value)
    if kind is float and not math.isfinite(value):
        value = str(value)  # JSON writes null
    elif kind in _PLAIN:
        return value
    elif kind is list or kind is tuple:
        return [_typed(each) for each in value]
    elif isinstance(value, (list, tuple)):
        value = [_typed(each) for each in value]
    elif isinstance(value, dict):
        value = sorted(([_typed(key), _typed(each)] for key, each in value.items()), key=_order)
    elif isinstance(value, (set, frozenset)):
        value = sorted(map(_typed, value), key=_order)
    elif fields := getattr(kind, "__struct_fields__", None) or getattr(kind, "__dataclass_fields__", None):
        value = {name: _typed(getattr(value, name)) for name in fields if hasattr(value, name)}
    return {f"{kind.__module__}.{kind.__qualname__}": value}


def _order(value: Any) -> bytes:
    return encode(value, "")


def _result_of(function: Callable[..., Any]) -> Decoder[Any]:
    """Return the decoder of what a function returns, which is read from its annotation when all names exist."""
    if isinstance(function, functools.partial):
        function = function.func
    try:
        annotations: dict[str, Any] = getattr(function, "__annotations__", {})
        if "return" not in annotations:
            return _ANY
        holder = type("Holder", (), {"__annotations__": {"return": annotations["return"]}})
        scope = getattr(inspect.unwrap(function), "__globals__", {})
        return Decoder(get_type_hints(holder, globalns=scope, localns=scope, include_extras=True)["return"])
    except NameError as error:
        raise ArgumentError(
            f"{getattr(function, '__qualname__', function)}: an annotation cannot be read at run time: {error}; import"
            " its name outside of `if TYPE_CHECKING`"
        ) from None
