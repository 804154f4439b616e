"""What a client can be told: every form of URL, every keyword, and what does not fit."""

from __future__ import annotations

import inspect
import re
import ssl
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from aioresp import ArgumentError, ArgumentTypeError, Client
from aioresp.advice import OPTIONS as ELSEWHERE
from aioresp.options import DEFAULTS, OPTIONS, SPELLINGS, Options, Settings, check, settings
from aioresp.retry import Retry
from aioresp.url import parse_url
from aioresp.wire.endpoint import Endpoint
from tests.cases import cases

SECRET = "s3cr3t"


def endpoint(url: str | None, **options: Any) -> Endpoint:
    return settings(url, options).endpoint  # type: ignore[arg-type]  # any keywords, as callers have them


# --- URLs ------------------------------------------------------------------------------------------------------------

URLS: list[tuple[str, Endpoint]] = [
    ("redis://", Endpoint()),
    ("redis://localhost", Endpoint()),
    ("valkey://cache.example", Endpoint(host="cache.example")),
    ("REDIS://Cache.Example:6380", Endpoint(host="cache.example", port=6380)),
    ("redis://:6380", Endpoint(port=6380)),
    ("redis://host/", Endpoint(host="host")),
    ("redis://host/7", Endpoint(host="host", db=7)),
    ("redis://host?db=7", Endpoint(host="host", db=7)),
    ("redis://host/?db=7", Endpoint(host="host", db=7)),
    ("redis://host:6380/3?client_name=worker", Endpoint(host="host", port=6380, db=3, client_name="worker")),
    ("redis://127.0.0.1:6380", Endpoint(host="127.0.0.1", port=6380)),
    ("redis://[::1]", Endpoint(host="::1")),
    ("redis://[::1]:6380/2", Endpoint(host="::1", port=6380, db=2)),
    ("redis://:pw@[2001:db8::7]:6380", Endpoint(host="2001:db8::7", port=6380, password="pw")),
    ("redis://:pw@host", Endpoint(host="host", password="pw")),
    ("redis://me:pw@host", Endpoint(host="host", username="me", password="pw")),
    ("redis://me:pw@", Endpoint(username="me", password="pw")),
    ("redis://m%40e:p%3Aw%2F%23%3F%40%25@host", Endpoint(host="host", username="m@e", password="p:w/#?@%")),
    ("redis://:gr%C3%BC%C3%9F@host", Endpoint(host="host", password="grüß")),
    ("redis://:a+b@host", Endpoint(host="host", password="a+b")),
    ("redis://me:@host", Endpoint(host="host", username="me", password="")),
    ("redis://host?username=me&password=p%40w", Endpoint(host="host", username="me", password="p@w")),
    # A plus sign is one, everywhere: it means a blank in forms only.
    ("redis://host?password=a+b", Endpoint(host="host", password="a+b")),
    ("redis://host?password=a%20b%2Bc", Endpoint(host="host", password="a b+c")),
    ("redis://host?username=a+b&password=%2B", Endpoint(host="host", username="a+b", password="+")),
    ("redis://a+b:c+d@host?client_name=e+f", Endpoint("host", username="a+b", password="c+d", client_name="e+f")),
    ("redis://host?password=a=b;c&db=1", Endpoint(host="host", password="a=b;c", db=1)),
    ("redis://host?&db=1&", Endpoint(host="host", db=1)),
    ("unix:///run/a+b.sock?password=a+b", Endpoint(unix_socket_path="/run/a+b.sock", password="a+b")),
    ("redis://host?protocol=2", Endpoint(host="host", protocol=2)),
    ("redis://host?port=6380", Endpoint(host="host", port=6380)),
    ("unix:///run/redis.sock", Endpoint(unix_socket_path="/run/redis.sock")),
    ("unix:///run/redis.sock?db=3", Endpoint(unix_socket_path="/run/redis.sock", db=3)),
    ("unix:///run/with%20space.sock", Endpoint(unix_socket_path="/run/with space.sock")),
    ("unix:/run/redis.sock", Endpoint(unix_socket_path="/run/redis.sock")),
    ("unix://:pw@/run/redis.sock", Endpoint(unix_socket_path="/run/redis.sock", password="pw")),
    (
        "unix://me:p%40w@/run/redis.sock?protocol=2",
        Endpoint(unix_socket_path="/run/redis.sock", username="me", password="p@w", protocol=2),
    ),
]


@cases("url, expected", URLS, ids=[url for url, _ in URLS])
def test_url(url: str, expected: Endpoint) -> None:
    assert endpoint(url) == expected


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_url_with_tls(scheme: str) -> None:
    found = endpoint(f"{scheme}://me:pw@host:6380/2")
    assert (found.host, found.port, found.username, found.password, found.db) == ("host", 6380, "me", "pw", 2)
    assert found.tls is not None
    assert found.tls.check_hostname
    assert found.tls.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(("text", "checked"), [("false", False), ("0", False), ("No", False), ("true", True)])
def test_url_with_tls_options(text: str, checked: bool) -> None:
    found = endpoint(f"rediss://host?ssl_check_hostname={text}")
    assert found.tls is not None
    assert found.tls.check_hostname is checked


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("limit=5", "limit", 5),
        ("concurrency=1", "concurrency", 1),
        ("idle_timeout=2.5", "idle_timeout", 2.5),
        ("idle_timeout=none", "idle_timeout", None),
        ("max_age=600", "max_age", 600.0),
        ("max_age=none", "max_age", None),
        ("timeout=0.2", "timeout", 0.2),
        ("timeout=None", "timeout", None),
        ("connect_timeout=7", "connect_timeout", 7.0),
        ("connect_timeout=none", "connect_timeout", None),
        ("max_reply=1000", "max_reply", 1000),
        ("max_reply=none", "max_reply", None),
    ],
)
def test_url_with_options(query: str, name: str, value: object) -> None:
    assert getattr(settings(f"redis://host?{query}", {}), name) == value


@pytest.mark.parametrize(
    ("query", "name"), [("", "aioresp"), ("?lib_name=celery(aioresp)", "celery(aioresp)"), ("?lib_name=none", None)]
)
def test_the_name_of_the_library(query: str, name: str | None) -> None:
    assert endpoint(f"redis://host{query}").lib_name == name
    assert endpoint(None, lib_name=name).lib_name == name
    assert endpoint(f"redis://host{query}", lib_name=None).lib_name is None
    with pytest.raises(ValueError, match=r"^lib_name is something else, not printable ASCII"):
        endpoint(None, lib_name="a b")


def test_several_options_in_a_url() -> None:
    found = settings("redis://host/1?limit=5&concurrency=1&timeout=0.5", {})
    assert found == Settings(
        Endpoint(host="host", db=1),
        limit=5,
        concurrency=1,
        idle_timeout=300.0,
        timeout=0.5,
        connect_timeout=5.0,
        max_reply=536_870_912,
        retry=Retry(),
    )


BAD_URLS: list[tuple[str, str]] = [
    ("", "scheme"),
    ("localhost", "scheme"),
    ("localhost:6379", "scheme"),
    ("http://host", "'http'.* it is redis:// here"),
    ("redis+tls://host", r"'redis\+tls': it is rediss:// here"),
    ("redis+unix:///run/redis.sock", r"'redis\+unix': it is unix:// here"),
    ("redis+socket:///run/redis.sock", r"'redis\+socket': it is unix:// here"),
    ("redis+sentinel://host", "names no primary: .*redis\\+sentinel://host:26379/mymaster/0"),
    ("redis+sentinel://host//", "names no primary"),
    ("redis+sentinel://a,b:x/m", "'port'"),
    ("redis+sentinel://a,/m", "several hosts, and one of them is empty"),
    ("redis+sentinel://host/m/x", "'db'"),
    ("redis-sentinel://host/m", "it is redis\\+sentinel:// here"),
    ("redis+sentinel://host/m?sentinel_username=me", "sentinel_username needs sentinel_password"),
    ("redis://host?sentinel_password=x", "sentinel_password needs Sentinel"),
    ("redis://host?read_from=replica", "read_from needs replicas"),
    ("redis://a,b?read_from=slave", "'read_from' in the URL is not primary, replica"),
    ("localhost:6379", "write redis://host:6379, or give `host` and `port` as keywords"),
    ("redis:/localhost", "followed by two slashes: redis://host"),
    ("redis:localhost", "followed by two slashes"),
    ("rediss:/localhost:6379/0", "followed by two slashes"),
    ("unix://", "path"),
    ("unix://run/redis.sock", "three slashes are meant: unix:///run/redis.sock"),
    ("unix://redis.sock", "three slashes are meant"),
    ("unix://:pw@run/redis.sock", "three slashes are meant"),
    ("unix://./redis.sock?db=1", "three slashes are meant"),
    ("redis://host/x", "'db'.* is not a number.*redis://host:6379/0"),
    ("redis:///localhost", "'db'.*behind the host and a slash"),
    ("redis://host/1/2", "'db'"),
    ("redis://host/-1", "db"),
    ("redis://host?db=x", "'db'"),
    ("redis://host:port", "'port'.*is not a number"),
    ("redis://host:", "'port'"),
    ("redis://host:0", "port"),
    ("redis://host:70000", "port"),
    ("redis://[::1", "URL"),
    ("redis://host?limt=5", "'limt' in the URL: did you mean `limit`"),
    ("redis://host?connect_timout=5", "did you mean `connect_timeout`"),
    ("redis://host?Limit=5", "did you mean `limit`"),
    ("redis://host?limit=", "'limit'"),
    ("redis://host?limit=many", "'limit'.*of another kind"),
    ("redis://host?limit=0", "limit"),
    ("redis://host?concurrency=0", "concurrency"),
    ("redis://host?timeout=soon", "'timeout'.*not a number of seconds or none"),
    ("redis://host?timeout=5s", "'timeout'.*not a number of seconds or none"),
    ("redis://host?limit=10.0", "'limit'.*not a whole number"),
    ("redis://host?max_reply=1MB", "'max_reply'.*not a number of bytes or none"),
    ("rediss://host?ssl_check_hostname=maybe", "not true or false"),
    ("rediss://host?ssl_min_version=1.1", "not 1.2 or 1.3"),
    ("redis://host?timeout=0", "timeout"),
    ("redis://host?timeout=-1", "timeout"),
    ("redis://host?timeout=nan", "timeout"),
    ("redis://host?timeout=inf", "timeout"),
    ("redis://host?idle_timeout=x", "'idle_timeout'"),
    ("redis://host?connect_timeout=x", "'connect_timeout'"),
    ("redis://host?protocol=4", "protocol"),
    ("redis://host?protocol=x", "'protocol'"),
    ("redis://host?client_name=", "client_name"),
    ("redis://host?client_name=two%20words", "client_name"),
    ("redis://host?decode_responses=false", "decode_responses.*keyword"),
    ("redis://host?ssl=true", "'ssl'.* the URL begins with rediss://"),
    ("redis://host?middleware=x", "'middleware' cannot stand in the URL: give it as a keyword"),
    ("redis://host;db=1", "host"),
    ("redis://a,", "several hosts, and one of them is empty"),
    ("redis://a,b c", "malformed"),
    ("redis://a,b;c", "host"),
    ("rediss://host?ssl_check_hostname=maybe", "'ssl_check_hostname'"),
    ("redis://host?ssl_ca_certs=ca.pem", "ssl_ca_certs needs ssl=True or a rediss:// URL"),
    ("redis://host?unix_socket_path=/run/redis.sock", "'unix_socket_path'"),
    ("redis://me@host", "username needs a password.*redis://:password@host"),
    ("redis://host?username=me", "username needs a password.*redis://:password@host"),
    ("redis://host:" + "9" * 5000, "option 'port' in the URL does not fit"),
    ("redis://host/" + "9" * 5000, "option 'db' in the URL does not fit"),
]


@cases("url, message", BAD_URLS, ids=[url[:80] for url, _ in BAD_URLS])
def test_bad_url(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(url, {})


@pytest.mark.parametrize("url", [7, b"redis://localhost", ["redis://localhost"], 1.5], ids=repr)
def test_what_is_no_url(url: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"(?i)url"):
        settings(url, {})


# --- No password is shown, however the URL is broken -----------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"http://me:{SECRET}@host",
        f"redis://me:{SECRET}@host:port",
        f"redis://me:{SECRET}@host:0",
        f"redis://me:{SECRET}@host/x",
        f"redis://me:{SECRET}@host?limt=5",
        f"redis://me:{SECRET}@host?limit=0",
        f"redis://host?password={SECRET}&limit=0",
        f"unix://me:{SECRET}@",
        # Not percent-encoded, as it should be: a mistake that many make, and whose message goes into many logs.
        f"redis://me:{SECRET}/x@host",
        f"redis://me:{SECRET}#x@host",
        f"redis://me:{SECRET}?x@host",
        f"redis://me:12/{SECRET}@host",
        f"redis://me:12?{SECRET}@host",
        f"redis://me:x[{SECRET}]x@host",
        f"redis://me:{SECRET}[x@host",
        f"redis://me:{SECRET}\N{CARE OF}x@host",
        f"redis:me:{SECRET}@host",
    ],
    ids=lambda url: str(url).replace(SECRET, "..."),
)
def test_no_password_in_a_message(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        settings(url, {})
    error: BaseException | None = caught.value
    while error is not None:  # a traceback shows these too
        assert SECRET not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize(
    "client",
    [
        lambda: Client(f"redis://me:{SECRET}@host"),
        lambda: Client(f"redis://host?password={SECRET}"),
        lambda: Client(username="me", password=SECRET),
        lambda: Client(f"unix://:{SECRET}@/run/redis.sock", decode_responses=False),
    ],
    ids=["user", "query", "keyword", "unix"],
)
def test_no_password_in_a_repr(client: Any) -> None:
    made = client()
    for shown in (
        made,
        made.with_options(timeout=1),
        made.connection(),
        made.node.settings,
        made.node.settings.endpoint,
    ):
        assert SECRET not in repr(shown)
        assert SECRET not in str(shown)
    assert made.node.settings.endpoint.password == SECRET


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"username": SECRET}, ValueError),  # many give it where the password belongs
        ({"password": SECRET.encode()}, TypeError),
        ({"password": [SECRET]}, TypeError),
        ({"username": SECRET.encode(), "password": "x"}, TypeError),
    ],
)
def test_no_password_in_a_message_about_keywords(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        endpoint(None, **options)
    assert SECRET not in str(caught.value)
    assert "username" in str(caught.value) or "password" in str(caught.value)


# --- Keywords --------------------------------------------------------------------------------------------------------


@cases("value", [10**5000, -(10**5000), 10**400], ids=["huge", "negative", "beyond floats"])
@cases(
    "name",
    [
        *("limit", "concurrency", "max_reply", "db", "port", "timeout"),
        *("connect_timeout", "idle_timeout", "max_age", "slow_after", "protocol"),
    ],
)
def test_a_huge_int_is_named_and_not_shown(name: str, value: int) -> None:
    options: Any = {name: value}
    with pytest.raises(ValueError, match=f"^{name} is a huge int, not "):
        settings(None, options)


@pytest.mark.parametrize("name", ["timeout", "connect_timeout", "idle_timeout", "max_age", "slow_after"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0])
def test_durations_that_are_none(name: str, value: float) -> None:
    options: Any = {name: value}
    with pytest.raises(ValueError, match=f"^{name} is {value}, not a number of seconds above 0"):
        settings(None, options)


def test_defaults() -> None:
    assert settings(None, {}) == Settings(
        Endpoint(host="localhost", port=6379, db=0, protocol=3),
        limit=100,
        concurrency=5000,
        idle_timeout=300.0,
        timeout=10.0,
        connect_timeout=5.0,
        max_reply=536_870_912,
        retry=Retry(),
    )
    assert set(DEFAULTS) <= set(Options.__annotations__)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"host": "other"}, Endpoint(host="other", port=6380, username="me", password="pw", db=1, client_name="a")),
        ({"port": 7000}, Endpoint(host="host", port=7000, username="me", password="pw", db=1, client_name="a")),
        ({"db": 0}, Endpoint(host="host", port=6380, username="me", password="pw", db=0, client_name="a")),
        ({"username": "you"}, Endpoint(host="host", port=6380, username="you", password="pw", db=1, client_name="a")),
        ({"username": None}, Endpoint(host="host", port=6380, password="pw", db=1, client_name="a")),
        ({"password": "new"}, Endpoint(host="host", port=6380, username="me", password="new", db=1, client_name="a")),
        ({"username": None, "password": None}, Endpoint(host="host", port=6380, db=1, client_name="a")),
        ({"client_name": "b"}, Endpoint(host="host", port=6380, username="me", password="pw", db=1, client_name="b")),
        ({"client_name": None}, Endpoint(host="host", port=6380, username="me", password="pw", db=1)),
        (
            {"protocol": 2},
            Endpoint(host="host", port=6380, username="me", password="pw", db=1, client_name="a", protocol=2),
        ),
    ],
    ids=repr,
)
def test_keywords_override_the_url(options: dict[str, Any], expected: Endpoint) -> None:
    assert endpoint("redis://me:pw@host:6380/1?client_name=a", **options) == expected


#: Options of pools that are no numbers.
WORDS = {"on_lost", "retry", "events", "slow_after", "middleware", "read_from", "availability_zone", "address_map"}


@pytest.mark.parametrize("name", sorted(set(DEFAULTS) - WORDS))
def test_keywords_override_the_options_of_the_url(name: str) -> None:
    url = "redis://host?limit=5&concurrency=5&idle_timeout=5&timeout=5&connect_timeout=5&max_reply=5&max_age=5"
    assert getattr(settings(url, {}), name) == 5
    options: Any = {name: 6}
    assert getattr(settings(url, options), name) == 6


def test_several_hosts_are_read() -> None:
    found = settings("redis://:pw@A,b:1,[::1]:2,b:1/3", {"read_from": "replica"})
    assert found.seeds == (("a", 6379), ("b", 1), ("::1", 2))
    assert (found.endpoint.host, found.endpoint.password, found.endpoint.db) == ("a", "pw", 3)
    assert (found.master, found.sentinel, found.read_from) == (None, None, "replica")
    found = settings("rediss+sentinel://me:pw@a,b:1/my%20master/2?sentinel_password=s", {})
    assert (found.seeds, found.master) == ((("a", 26379), ("b", 1)), "my master")
    assert found.sentinel is not None
    assert found.sentinel.tls is found.endpoint.tls is not None
    assert (found.sentinel.username, found.sentinel.password, found.sentinel.db) == (None, "s", 0)
    plain = settings("rediss+sentinel://a/m?sentinel_ssl=false", {}).sentinel
    assert plain is not None
    assert plain.tls is None
    for wrong in ({"host": "x"}, {"port": 1}, {"unix_socket_path": "/run/x"}):
        with pytest.raises(ArgumentError, match="exclude several hosts"):
            settings("redis://a,b", wrong)  # type: ignore[arg-type]


def test_keywords_override_where_the_url_points() -> None:
    assert endpoint("redis://host", unix_socket_path="/run/a.sock") == Endpoint(
        host="host", unix_socket_path="/run/a.sock"
    )
    assert endpoint("unix:///run/a.sock", unix_socket_path="/run/b.sock").unix_socket_path == "/run/b.sock"
    assert endpoint("unix:///run/a.sock", unix_socket_path=None, host="host") == Endpoint(host="host")


def test_a_host_overrides_the_unix_socket_of_the_url() -> None:
    assert endpoint("unix:///run/a.sock", host="other") == Endpoint(host="other")
    assert endpoint("unix:///run/a.sock", port=7000) == Endpoint(port=7000)


def test_keywords_override_the_tls_of_the_url() -> None:
    assert endpoint("rediss://host", ssl=False).tls is None
    assert endpoint("redis://host", ssl=True).tls is not None
    context = ssl.create_default_context()
    assert endpoint("rediss://host", ssl_context=context).tls is context
    assert endpoint("redis://host", ssl_context=context).tls is context
    assert endpoint(None, ssl_context=context).tls is context


BAD: list[tuple[str, object, type[Exception]]] = [
    ("on_lost", "print", TypeError),
    ("host", None, TypeError),
    ("host", 7, TypeError),
    ("host", b"localhost", TypeError),
    ("host", "", ValueError),
    ("port", "6379", TypeError),
    ("port", None, TypeError),
    ("port", 6379.0, TypeError),
    ("port", True, TypeError),
    ("port", 0, ValueError),
    ("port", -1, ValueError),
    ("port", 65536, ValueError),
    ("db", "0", TypeError),
    ("db", False, TypeError),
    ("db", -1, ValueError),
    ("username", b"me", TypeError),
    ("password", b"pw", TypeError),
    ("password", 1234, TypeError),
    ("unix_socket_path", b"/run/redis.sock", TypeError),
    ("unix_socket_path", "", ValueError),
    ("ssl", 1, TypeError),
    ("ssl", None, TypeError),
    ("ssl", "true", TypeError),
    ("ssl_context", True, TypeError),
    ("ssl_ca_certs", 1, TypeError),
    ("ssl_certfile", 1, TypeError),
    ("ssl_keyfile", 1, TypeError),
    ("ssl_ca_certs", "a\0b", ValueError),
    ("ssl_certfile", "", ValueError),
    ("ssl_check_hostname", 1, TypeError),
    ("limit", 0, ValueError),
    ("limit", -1, ValueError),
    ("limit", None, TypeError),
    ("limit", "10", TypeError),
    ("limit", True, TypeError),
    ("limit", 1.5, TypeError),
    ("concurrency", 0, ValueError),
    ("concurrency", None, TypeError),
    ("idle_timeout", 0, ValueError),
    ("idle_timeout", "1", TypeError),
    ("max_age", 0, ValueError),
    ("max_age", "1", TypeError),
    ("max_age", timedelta(seconds=-1), ValueError),
    ("timeout", 0, ValueError),
    ("timeout", -1.0, ValueError),
    ("timeout", float("nan"), ValueError),
    ("timeout", float("inf"), ValueError),
    ("timeout", "1", TypeError),
    ("timeout", True, TypeError),
    ("max_reply", 0, ValueError),
    ("max_reply", 1.5, TypeError),
    ("connect_timeout", 0, ValueError),
    ("connect_timeout", [], TypeError),
    ("protocol", 1, ValueError),
    ("protocol", 4, ValueError),
    ("protocol", "3", ValueError),
    ("protocol", 3.0, ValueError),
    ("protocol", True, ValueError),
    ("protocol", None, ValueError),
    ("client_name", "", ValueError),
    ("client_name", "two words", ValueError),
    ("client_name", "new\nline", ValueError),
    ("client_name", "jürgen", ValueError),
    ("client_name", 7, TypeError),
    ("decode_responses", 1, TypeError),
    ("decode_responses", None, TypeError),
    ("decode_responses", "yes", TypeError),
]


@cases("name, value, error", BAD, ids=[f"{name}={value!r}" for name, value, _ in BAD])
def test_a_value_that_does_not_fit(name: str, value: object, error: type[Exception]) -> None:
    options: Any = {name: value}
    with pytest.raises(error, match=name):
        Client(**options)


@pytest.mark.parametrize("name", ["limt", "max_connections", "socket_timeout", "Host", "url_", "retries"])
def test_an_unknown_keyword(name: str) -> None:
    options: Any = {name: 1}
    with pytest.raises(TypeError, match=f"unknown option '{name}'"):
        Client(**options)
    with pytest.raises(TypeError, match=f"unknown option '{name}'"):
        check(name, 1)


@cases("name, hint", ELSEWHERE.items())
def test_a_name_of_other_clients_tells_ours(name: str, hint: str) -> None:
    assert name not in OPTIONS
    assert set(re.findall(r"`(\w+)(?==|`)", hint)) <= {*OPTIONS, "connection"}
    options: Any = {name: 1}
    with pytest.raises(TypeError, match=f"unknown option '{name}': {re.escape(hint)}"):
        Client(**options)
    with pytest.raises(ValueError, match=f"unknown option '{name}' in the URL: {re.escape(hint)}"):
        Client(f"redis://host?{name}=1")


@pytest.mark.parametrize(
    "make",
    [
        lambda options: Client(**options),
        lambda options: Client().with_options(**options),
        lambda options: Client.from_url("redis://host", **options),
    ],
    ids=["Client", "with_options", "from_url"],
)
def test_a_name_of_other_clients_tells_ours_wherever_options_are_given(make: Callable[[Any], object]) -> None:
    for name, advice in (("max_connections", "it is `limit` here"), ("socket_timeout", "it is `timeout` here")):
        with pytest.raises(ArgumentTypeError, match=advice):
            make({name: 1})


def test_every_option_of_redis_py_is_taken_or_has_advice() -> None:
    """An option of our own may be called the same; the rest are told what to do."""
    asynchronous = pytest.importorskip("redis.asyncio")
    classes = (
        asynchronous.Redis,
        asynchronous.ConnectionPool,
        asynchronous.BlockingConnectionPool,
        asynchronous.Sentinel,
    )
    taken = {name for kind in classes for name in inspect.signature(kind.__init__).parameters}
    taken -= {"self", "connection_kwargs", "lib_name"}
    assert len(taken) > 40
    assert taken - {*OPTIONS, *ELSEWHERE} == set()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("limt", "limit"),
        ("limits", "limit"),
        ("Timeout", "timeout"),
        ("time_out", "timeout"),
        ("connect_timout", "connect_timeout"),
        ("connecttimeout", "connect_timeout"),
        ("decode_response", "decode_responses"),
        ("clientname", "client_name"),
        ("pasword", "password"),
        ("concurency", "concurrency"),
        ("prot", "port"),
    ],
)
def test_a_misspelt_option_gets_the_closest(name: str, meant: str) -> None:
    options: Any = {name: 1}
    with pytest.raises(ArgumentTypeError, match=f"^unknown option '{name}': did you mean `{meant}`\\?$"):
        Client(**options)


@pytest.mark.parametrize("name", ["nonsense", "x", "redis", ""])
def test_an_option_like_no_other_gets_no_closest(name: str) -> None:
    options: Any = {name: 1}
    with pytest.raises(ArgumentTypeError, match=f"^unknown option '{name}'$"):
        Client(**options)


def test_options_of_a_view() -> None:
    for name, message in (
        ("limit", "it belongs to the whole client"),
        ("tiemout", "did you mean `timeout`"),
        ("idempotency", "did you mean `idempotent`"),
        ("max_connections", "it is `limit` here"),
    ):
        options: Any = {name: 1}
        with pytest.raises(ArgumentTypeError, match=f"^with_options.. takes .*, not '{name}': {message}"):
            Client().with_options(**options)


def test_arguments_by_position() -> None:
    make: Any = Client
    with pytest.raises(ArgumentTypeError, match=r'keyword, as in Client\(host="localhost", port=6379\)'):
        make("localhost", 6379)
    with pytest.raises(ArgumentTypeError, match=r"all else is a keyword"):
        make({"host": "localhost"})
    with pytest.raises(ArgumentTypeError, match=r"all else is a keyword"):
        make(6379)


def test_idempotent_is_for_a_view() -> None:
    """A client took it, and nothing was sent again."""
    options: Any = {"idempotent": True}
    with pytest.raises(ArgumentTypeError, match=r"with_options\(idempotent=True\)"):
        Client(**options)


@pytest.mark.parametrize("name", ["timeout", "connect_timeout", "idle_timeout", "slow_after"])
def test_a_timedelta_is_a_duration(name: str) -> None:
    options: Any = {name: timedelta(milliseconds=1500)}
    found = getattr(settings(None, options), name)
    assert (type(found), found) == (float, 1.5)
    for wrong in (timedelta(0), timedelta(seconds=-1)):
        options = {name: wrong}
        with pytest.raises(ArgumentError, match=f"^{name} is -?\\d.*, not a number of seconds above 0"):
            settings(None, options)


def test_a_timedelta_elsewhere() -> None:
    assert Client().with_options(timeout=timedelta(minutes=1)).terms.timeout == 60.0
    assert Client(timeout=timedelta(minutes=1)).terms.timeout == 60.0
    assert Retry(base=timedelta(seconds=1), cap=timedelta(seconds=2)) == Retry(base=1.0, cap=2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": "5"}, "timeout is str, not seconds, a timedelta or None; convert it by float()"),
        ({"limit": "10"}, "limit is str, not int; convert it by int()"),
        ({"db": "x"}, "db is str, not int; convert it by int()"),
        ({"port": "6379"}, "port is str, not int; convert it by int()"),
        ({"retry": 3}, "retry is int, not Retry or None, as in retry=Retry(attempts=3)"),
        ({"password": 1234}, "password is int, not str or None"),
        ({"host": "redis://localhost"}, "host is a URL, which is the first argument: Client(url)"),
        ({"host": "localhost:6379"}, "host is something else, not a host name or an address; give the port as `port`"),
        ({"unix_socket_path": "unix:///run/redis.sock"}, "unix_socket_path is a URL, not a path"),
    ],
    ids=str,
)
def test_what_to_do_about_a_value(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}"):
        Client(**options)


def test_options_that_exclude_each_other() -> None:
    context = ssl.create_default_context()
    with pytest.raises(ValueError, match="unix_socket_path and ssl"):
        endpoint(None, unix_socket_path="/run/redis.sock", ssl=True)
    with pytest.raises(ValueError, match="unix_socket_path and ssl"):
        endpoint("unix:///run/redis.sock", ssl_context=context)
    with pytest.raises(ValueError, match=r"ssl_context and .*ssl_ca_certs"):
        endpoint(None, ssl_context=context, ssl_ca_certs="ca.pem")
    with pytest.raises(ValueError, match=r"ssl_certfile, ssl_keyfile needs? ssl=True"):
        endpoint(None, ssl_certfile="a.pem", ssl_keyfile="b.pem")
    with pytest.raises(ValueError, match="username needs a password"):
        endpoint(None, username="me")


def test_ssl_off_and_a_context_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="ssl_context"):
        endpoint(None, ssl=False, ssl_context=ssl.create_default_context())


def test_with_options_checks_what_it_takes() -> None:
    client = Client()
    for options, error, message in (
        ({"limit": 5}, TypeError, "'limit'"),
        ({"timeout": 0}, ValueError, "timeout"),
        ({"timeout": "1"}, TypeError, "timeout"),
        ({"decode_responses": 1}, TypeError, "decode_responses"),
    ):
        keywords: Any = options
        with pytest.raises(error, match=message):
            client.with_options(**keywords)


def test_from_url_is_the_same() -> None:
    made = Client.from_url("redis://host/1?limit=5", limit=6, decode_responses=False)
    assert made.node.settings == Client("redis://host/1?limit=5", limit=6).node.settings
    assert repr(made) == "Client(redis://host:6379, limit 6, concurrency 5000, bytes)"


def test_parse_url_gives_only_what_the_url_says() -> None:
    assert parse_url("redis://", SPELLINGS) == {}
    assert parse_url("rediss://host", SPELLINGS) == {"ssl": True, "host": "host"}
    assert parse_url("unix:///a?db=1", SPELLINGS) == {"unix_socket_path": "/a", "db": 1}
