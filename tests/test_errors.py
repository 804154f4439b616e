"""What can go wrong: one root, the right class for each code, and never a value or a password in a message."""

from __future__ import annotations

import ast
import copy
import inspect
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aioresp
from aioresp import Client, Retry, errors
from aioresp.command import KEY_SHOWN
from aioresp.errors import (
    BY_CODE,
    BY_TEXT,
    ERROR_TYPES,
    ArgumentError,
    ArgumentTypeError,
    AskError,
    AuthenticationError,
    BusyError,
    BusyGroupError,
    ClientClosed,
    ClusterDownError,
    ClusterError,
    CommandRefused,
    CommandTimeout,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    CrossSlotError,
    DecodeError,
    ExecAbortError,
    LoadingError,
    MasterDownError,
    MaxClientsError,
    MovedError,
    NoGroupError,
    NoPermissionError,
    NoReplicasError,
    NoScriptError,
    OutOfMemoryError,
    PersistenceError,
    PoolTimeout,
    ProtocolError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TLSError,
    TryAgainError,
    UnblockedError,
    UnknownCommandError,
    WrongTypeError,
    copy_error,
    response_error,
)
from aioresp.testing import Server, server
from tests.cases import cases

SECRET = "s3cr3t"

KINDS: list[type[RedisError]] = [
    kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, RedisError)
]

#: The builtin classes that a caller may catch instead.
BUILTIN: dict[type[RedisError], set[type[Exception]]] = {
    ConnectError: {ConnectionError},
    TLSError: {ConnectionError},
    ConnectTimeout: {ConnectionError, TimeoutError},
    ConnectionLost: {ConnectionError},
    ProtocolError: {ConnectionError},
    CommandTimeout: {TimeoutError},
    PoolTimeout: {TimeoutError},
    DecodeError: {ValueError},
    ArgumentError: {ValueError},
    ArgumentTypeError: {ValueError, TypeError},
}

MESSAGES: list[tuple[str, type[ResponseError], str]] = [
    ("ERR syntax error", ResponseError, "ERR"),
    ("ERR", ResponseError, "ERR"),
    ("", ResponseError, ""),
    ("SOMETHINGNEW happened", ResponseError, "SOMETHINGNEW"),
    ("ASK 3999 127.0.0.1:6381", AskError, "ASK"),
    ("BUSY Redis is busy running a script.", BusyError, "BUSY"),
    ("BUSYGROUP Consumer Group name already exists", BusyGroupError, "BUSYGROUP"),
    ("BUSYKEY Target key name already exists.", ResponseError, "BUSYKEY"),
    ("CLUSTERDOWN The cluster is down", ClusterDownError, "CLUSTERDOWN"),
    ("CROSSSLOT Keys in request don't hash to the same slot", CrossSlotError, "CROSSSLOT"),
    ("EXECABORT Transaction discarded because of previous errors.", ExecAbortError, "EXECABORT"),
    ("LOADING Redis is loading the dataset in memory", LoadingError, "LOADING"),
    ("MASTERDOWN Link with MASTER is down", MasterDownError, "MASTERDOWN"),
    ("MISCONF Redis is configured to save RDB snapshots, but it's unable to", PersistenceError, "MISCONF"),
    ("MOVED 3999 127.0.0.1:6381", MovedError, "MOVED"),
    ("NOAUTH Authentication required.", AuthenticationError, "NOAUTH"),
    ("NOGROUP No such key 'k' or consumer group 'g'", NoGroupError, "NOGROUP"),
    ("NOPERM this user has no permissions to run the 'get' command", NoPermissionError, "NOPERM"),
    ("NOREPLICAS Not enough good replicas to write.", NoReplicasError, "NOREPLICAS"),
    ("NOSCRIPT No matching script. Please use EVAL.", NoScriptError, "NOSCRIPT"),
    ("OOM command not allowed when used memory > 'maxmemory'.", OutOfMemoryError, "OOM"),
    ("READONLY You can't write against a read only replica.", ReadOnlyError, "READONLY"),
    ("TRYAGAIN Multiple keys request during rehashing of slot", TryAgainError, "TRYAGAIN"),
    ("UNBLOCKED client unblocked via CLIENT UNBLOCK", UnblockedError, "UNBLOCKED"),
    ("WRONGPASS invalid username-password pair or user is disabled.", AuthenticationError, "WRONGPASS"),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", WrongTypeError, "WRONGTYPE"),
    ("ERR unknown command `X`", UnknownCommandError, "ERR"),
    ("ERR unknown subcommand 'X'. Try OBJECT HELP.", UnknownCommandError, "ERR"),
    ("ERR Unknown subcommand or wrong number of arguments for 'DOCS'. Try COMMAND HELP.", UnknownCommandError, "ERR"),
    ("ERR Unknown command 'X'", UnknownCommandError, "ERR"),
    ("ERR unknown or unsupported command 'X'", UnknownCommandError, "ERR"),
    ("ERR unsupported command", UnknownCommandError, "ERR"),
    ("unsupported command 'x'", UnknownCommandError, "unsupported"),
    ("ERR command not supported", UnknownCommandError, "ERR"),
    ("ERR max number of clients reached", MaxClientsError, "ERR"),
    ("ERR invalid password", AuthenticationError, "ERR"),
    ("ERR Client sent AUTH, but no password is set", AuthenticationError, "ERR"),
    ("ERR AUTH <password> called without any password configured", AuthenticationError, "ERR"),
]


# --- Classes ---------------------------------------------------------------------------------------------------------


@cases("kind", KINDS)
def test_one_root_and_the_right_builtins(kind: type[Exception]) -> None:
    assert issubclass(kind, RedisError)
    builtins = {ConnectionError, TimeoutError, ValueError, TypeError} & set(kind.__mro__)
    assert builtins == BUILTIN.get(kind, set())
    assert issubclass(kind, OSError) == bool(builtins & {ConnectionError, TimeoutError})


@cases("kind", KINDS)
def test_every_class_is_public(kind: type[Exception]) -> None:
    assert getattr(aioresp, kind.__name__) is kind


@cases("kind", KINDS)
def test_every_class_says_what_it_means(kind: type[Exception]) -> None:
    assert kind.__doc__
    assert kind.__doc__ is not kind.__mro__[1].__doc__


def test_families() -> None:
    assert [kind for kind in KINDS if issubclass(kind, CommandTimeout)] == [CommandTimeout, PoolTimeout]
    assert {kind for kind in KINDS if issubclass(kind, ClusterError)} == {
        ClusterError, MovedError, AskError, TryAgainError, ClusterDownError, CrossSlotError
    }  # fmt: skip
    for kind in (ClientClosed, CommandRefused, ConnectError, ConnectionLost, DecodeError, CommandTimeout):
        assert not issubclass(kind, ResponseError)
    assert CommandTimeout("m").phase == "reply"
    assert PoolTimeout("m").phase == "pool"
    assert ConnectionLost("m").outcome == "unknown"
    assert ConnectionLost("m", "not sent").outcome == "not sent"
    assert ProtocolError("m").outcome == "unknown"


#: Modules whose own ValueError and TypeError are never raised to a caller for an argument: they judge replies and lines
#: of the server, are caught where they are raised, or belong to the testing kit and the command line.
NOT_OF_ARGUMENTS = {
    *("replies", "testing", "cli"),
    "typed.py",  # what stands in for the standard library raises what that would
    "recipes/encoding.py",  # hooks of msgspec, whose errors become ArgumentTypeError or DecodeError
    "misuse.py",  # a use that is wrong whatever the arguments are, as Python's own protocols report it
    *("facts/putback.py", "pubsub/monitor.py", "pubsub/requests.py", "pubsub/topics.py"),
}


def test_a_wrong_argument_is_an_argument_error_wherever_it_is_found() -> None:
    root = Path(aioresp.__file__).parent
    found = []
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root)
        if {place.parts[0], place.as_posix()} & NOT_OF_ARGUMENTS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            kind = node.exc.func if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) else None
            if kind is not None and ast.unparse(kind) in ("ValueError", "TypeError"):
                found.append(f"{place}: {ast.unparse(node)}")
    assert found == [
        "pubsub/keyspace.py: raise ValueError('more than was asked for')",  # a reply
        "url.py: raise ValueError(text) from None",  # caught by the reader of the URL
    ]


def test_one_class_catches_both() -> None:
    assert issubclass(ArgumentTypeError, ArgumentError)
    options: Any
    for options in ({"limit": "10"}, {"limt": 10}):
        with pytest.raises(ArgumentTypeError):
            Client(**options)
    with pytest.raises(ArgumentTypeError):
        Client().with_options(**options)
    wrong: tuple[Callable[[], object], ...] = (lambda: Client(limit=0), lambda: Client("localhost"), lambda: Retry(0))
    for make in wrong:
        with pytest.raises(ArgumentError) as caught:
            make()
        assert not isinstance(caught.value, TypeError)


# --- Codes -----------------------------------------------------------------------------------------------------------


@cases("message, kind, code", MESSAGES, ids=[line[0].partition(" ")[0] for line in MESSAGES])
def test_response_error(message: str, kind: type[ResponseError], code: str) -> None:
    error = response_error(message)
    assert type(error) is kind
    assert error.code == code
    assert message[:40].rstrip() in str(error)


def test_every_line_of_the_tables_is_tried() -> None:
    assert {code for _, kind, code in MESSAGES if kind is not ResponseError} - {"ERR", "unsupported"} == BY_CODE.keys()
    for start, kind in BY_TEXT:
        assert any(message.startswith(f"ERR {start}") and kind is found for message, found, _ in MESSAGES)
    assert frozenset({kind for _, kind, _ in MESSAGES}) == ERROR_TYPES


# --- Messages --------------------------------------------------------------------------------------------------------


@cases("kind", KINDS)
def test_the_message_tells_command_and_key(kind: type[RedisError]) -> None:
    error = kind("it broke")
    assert str(error) == "it broke"
    assert (error.command, error.key) == (None, None)
    error.command = "GET"
    assert str(error) == "it broke [GET]"
    error.key = "'k'"
    assert str(error) == "it broke [GET 'k']"
    assert error.args == ("it broke",)


@cases("kind", KINDS)
@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_copy_says_the_same(kind: type[RedisError], clone: Any) -> None:
    error = kind("it broke")
    error.command, error.key = "GET", "'k'"
    if isinstance(error, ResponseError):
        error.code = "NEW"
    if isinstance(error, ConnectionLost):
        error.outcome = "not sent"
    error.index, error.deadline = 3, 7.5
    error.add_note("on the way to work")
    again = clone(error)
    assert type(again) is kind
    assert again is not error
    assert str(again) == "it broke [GET 'k']"
    assert again.args == error.args
    assert vars(again) == vars(error)


@pytest.mark.parametrize(
    "message",
    [
        f"ERR unknown command `FOO`, with args beginning with: `key`, `{SECRET}`, ",
        f"ERR unknown command 'FOO', with args beginning with: 'key' '{SECRET}' ",
        f"ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `{SECRET}`, ",
        f"ERR Error in ACL SETUSER modifier '{SECRET}': Syntax error",
        f"ERR Error in ACL SETUSER modifier '>{SECRET}': {SECRET}': Syntax error",
        f"ERR Error in ACL SETUSER modifier '+{SECRET}': Unknown command or category name in ACL",
        f"ERR Error in ACL SETUSER modifier '{SECRET}",
        f"ERR /etc/users.acl:1: Error in ACL SETUSER modifier '#{SECRET}': Syntax error. /etc/users.acl:2: no",
        f"ERR /etc/users.acl:1: Error in applying operation '#{SECRET}': Syntax error. /etc/users.acl:2: no",
        f"ERR '/etc/users.acl:1: username '{SECRET}' contains invalid characters. ",
        f"ERR Unmatched parenthesis in acl selector starting at '({SECRET}'.",
        f"ERR Invalid argument '{SECRET}' for CONFIG SET 'requirepass' - no",
        f"ERR Unsupported CONFIG parameter: {SECRET}",
        f"ERR Unknown option or number of arguments for CONFIG SET - '{SECRET}'",
        f"ERR Syntax error in HELLO option '{SECRET}'",
        f"ERR unknown argument: {SECRET}",
        f"ERR Error running script (call to f_1): @user_script:1: ERR Invalid argument '{SECRET}' for CONFIG SET 'x'",
    ],
)
def test_values_that_the_server_repeats_are_left_out(message: str) -> None:
    error = response_error(message)
    assert SECRET not in str(error)
    assert SECRET not in repr(error)
    assert (type(error) is UnknownCommandError) == ("unknown command" in message)
    assert message[4:12] in str(error)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("ERR unknown command `HEXPIRE`, with args beginning with: `k`, ", "HEXPIRE needs Redis 7.4 or Valkey 9.0"),
        ("ERR unknown command 'lcs', with args beginning with: 'k' ", "LCS needs Redis 7.0 or Valkey"),
        ("ERR unknown subcommand 'no-touch'. Try CLIENT HELP.", "CLIENT NO-TOUCH needs Redis 7.2 or Valkey"),
        ("ERR unknown subcommand 'GET'. Try COMMANDLOG HELP.", "COMMANDLOG GET needs Valkey 8.1 (not in Redis 8.10)"),
        ("ERR unknown command 'XDELEX', with args beginning with: ", "XDELEX needs Redis 8.2 (not in Valkey 9.1)"),
        (
            "ERR Unknown subcommand or wrong number of arguments for 'DOCS'. Try COMMAND HELP.",
            "COMMAND DOCS needs Redis 7.0 or Valkey",
        ),
    ],
)
def test_an_unknown_command_says_which_version_has_it(said: str, message: str) -> None:
    error = response_error(said)
    assert type(error) is UnknownCommandError
    assert error.code == "ERR"
    assert str(error) == f"{message}; the server said: {said.partition(', with')[0]}"


@pytest.mark.parametrize("name", ["TRACKING", "KILL", "NOSUCH", "it's"])
def test_wrong_arguments_are_no_unknown_command(name: str) -> None:
    """Redis up to 6.2 says the same of both: only a subcommand that came later is unknown for certain."""
    said = f"ERR Unknown subcommand or wrong number of arguments for '{name}'. Try CLIENT HELP."
    error = response_error(said)
    assert type(error) is ResponseError
    assert str(error) == said


# --- On a real server ------------------------------------------------------------------------------------------------


async def failure(call: Any) -> RedisError:
    with pytest.raises(RedisError) as caught:
        await call
    return caught.value


BROKEN: list[tuple[Callable[[Any, str], Any], type[RedisError], str, bool]] = [
    (lambda r, k: r.lpush(k, SECRET), WrongTypeError, "LPUSH", True),
    (lambda r, k: r.set(k, SECRET, ex=0), ResponseError, "SET", True),
    (lambda r, k: r.set(k.encode(), SECRET, ex=0), ResponseError, "SET", True),
    (lambda r, k: r.set(memoryview(k.encode()), SECRET, ex=0), ResponseError, "SET", True),
    (lambda r, k: r.call("SET", bytearray(k.encode()), SECRET, "EX", 0), ResponseError, "SET", True),
    (lambda r, k: r.setex(k, 0, SECRET), ResponseError, "SETEX", True),
    (lambda r, k: r.incr(k), ResponseError, "INCRBY", True),
    (lambda r, k: r.hset(k, SECRET, SECRET), WrongTypeError, "HSET", True),
    (lambda r, k: r.call("eval", "return {}", -1, SECRET), ResponseError, "EVAL", False),
    (lambda r, k: r.call("EVAL", "return redis.call('nothing')", 0, SECRET), ResponseError, "EVAL", False),
    (lambda r, k: r.call("EVAL", "return redis.call('incr', KEYS[1])", 1, k, SECRET), ResponseError, "EVAL", True),
    (lambda r, k: r.call("EVALSHA", "0" * 40, "0", SECRET), ResponseError, "EVALSHA", False),
    (lambda r, k: r.call("XGROUP", "CREATE", k, "g", SECRET), ResponseError, "XGROUP", True),
    (lambda r, k: r.blpop(k, 0), WrongTypeError, "BLPOP", True),
    (lambda r, k: r.call("OBJECT", "ENCODING"), ResponseError, "OBJECT", False),
    (lambda r, k: r.config_set("no-such-thing", SECRET), ResponseError, "CONFIG", False),
    (lambda r, k: r.call("NOSUCHCOMMAND", k, SECRET), UnknownCommandError, "NOSUCHCOMMAND", False),
]


@cases("leased", [False, True], ids=["shared", "leased"])
@cases("call, kind, command, has_key", BROKEN, ids=[f"{line[2]}-{number}" for number, line in enumerate(BROKEN)])
async def test_errors_carry_command_and_key_and_no_value(
    server: Server,
    call: Callable[[Any, str], Any],
    kind: type[RedisError],
    command: str,
    has_key: bool,
    leased: bool,
) -> None:
    k = f"errors:{os.urandom(4).hex()}"
    async with Client(server.url) as client, client.connection() as lease:
        await client.set(k, "text")
        error = await failure(call(lease if leased else client, k))
        assert isinstance(error, kind)
        assert error.command == command
        if not has_key:
            assert error.key is None
            assert str(error).endswith(f" [{command}]")
        else:
            assert error.key == repr(k)
            assert str(error).endswith(f" [{command} {k!r}]")
        assert SECRET not in str(error)
        assert SECRET not in repr(vars(error))


async def test_a_long_key_is_shortened(server: Server, prefix: str) -> None:
    key = prefix + "x" * 1000
    async with Client(server.url) as r:
        await r.set(key, "text")
        error = await failure(r.lpush(key, 1))
        assert error.key is not None
        assert len(error.key) <= KEY_SHOWN + 3
        assert error.key.endswith("...")
        assert error.key.startswith(repr(key)[:KEY_SHOWN])
        await r.delete(key)
        huge = prefix + "x" * 1_000_000
        await r.set(huge, "text")
        error = await failure(r.lpush(huge, 1))
        assert len(str(error)) < 500
        await r.delete(huge)


async def test_a_key_that_is_no_text(server: Server, prefix: str) -> None:
    key = prefix.encode() + b"\xff\r\n"
    async with Client(server.url) as r:
        await r.set(key, "text")
        error = await failure(r.lpush(key, 1))
        assert error.key is not None
        assert "xff" in error.key
        assert "\n" not in str(error)


async def test_no_password_in_what_authentication_raises(server: Server) -> None:
    async with Client(server.url, username="nobody", password=SECRET) as r:
        error = await failure(r.ping())
        assert isinstance(error, AuthenticationError)
        assert SECRET not in str(error)
    async with Client(server.url) as r, r.connection() as lease:
        error = await failure(lease.call("AUTH", "nobody", SECRET))
        assert isinstance(error, AuthenticationError)
        assert (error.command, error.key) == ("AUTH", None)
        assert SECRET not in str(error)
        error = await failure(lease.call("HELLO", 3, "AUTH", "nobody", SECRET))
        assert (error.command, error.key) == ("HELLO", None)
        assert SECRET not in str(error)


async def test_no_password_in_the_log_of_a_server_without_hello(caplog: pytest.LogCaptureFixture) -> None:
    """Such a server answers HELLO with a line that repeats its arguments."""
    caplog.set_level("DEBUG")
    with server(config={"rename-command": "HELLO nothing", "requirepass": SECRET}) as old:
        async with Client(old.url, password=SECRET) as r:
            assert await r.ping() is True
    assert SECRET not in caplog.text


def test_an_error_anew_is_the_same_with_a_life_of_its_own() -> None:
    lost = ConnectionLost("gone", outcome="not sent")
    lost.__cause__ = OSError(111, "refused")
    lost.command = "GET"
    own = copy_error(lost)
    assert (type(own), str(own), own.outcome, own.__cause__) == (
        ConnectionLost,
        "gone [GET]",
        "not sent",
        lost.__cause__,
    )
    assert own.__suppress_context__
    own.command = "SET"
    assert lost.command == "GET"
    refused = copy_error(OSError(111, "refused"))
    assert (type(refused), refused.errno, refused.__cause__) == (ConnectionRefusedError, 111, None)
