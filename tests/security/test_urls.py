"""What is wrong in a URL or an option is said without a piece of it that may be a password, wherever that stands."""

from __future__ import annotations

import itertools
import traceback
import warnings
from collections.abc import Iterator
from typing import Any, Final

import pytest

from aioresp import ArgumentError, Client
from aioresp.options import OPTIONS, SPELLINGS
from tests.spelled import Impostor

SECRET: Final = "-".join(("hunter2", "word"))

#: What may stand before and behind it.
AROUND: Final = ("", *"/@#?%[]:& \n\r\0\t;=\\", "%0d%0a", "%00", "%2f", "%40", "[::", "::1]", "é", "\uff11", "%ff")

#: URLs with a place where a user, a password, or what belongs elsewhere may stand.
FORMS: Final = (
    "{}",
    "{}:pw@host",
    "//{}@host",
    "{}@host",
    "redis:{}@host",
    "redis:/{}@host",
    "redis//{}@host",
    "redis://{}",
    "redis://{}@host",
    "redis://{}:pw@host:port",
    "redis://:{}",
    "redis://me:{}",
    "redis://me:{}@",
    "redis://me:{}@host:port",
    "redis://me:{}@host:70000",
    "redis://:{}@host:1:2",
    "redis://host:{}",
    "redis://:pw@host:{}",
    "redis://:pw@[::1]:{}",
    "redis://[::1{}]",
    "redis://{}[::1]:x",
    "redis://host/{}",
    "redis://:pw@host/0/{}",
    "redis://host/{}@h/0",
    "redis://host#{}",
    "redis://host?{}",
    "redis://host?{}=1",
    "redis://host?password={}&limit=0",
    "redis://host?password={}&nonsense",
    "redis://host?username={}",
    "rediss://:{}@host?ssl_keyfile=x",
    "http://{}@host",
    "{}://host",
    "unix://{}",
    "unix://{}@",
    "unix://u:{}@/x.sock?db=x",
    "unix://:{}@/x@y.sock",
    "unix://u:pa/{}@/x.sock",
    "unix://u:{}/@/x.sock",
    "unix:///x.sock?{}",
    "unix:///x.sock?db={}",
    "unix:///x.sock#{}",
)


def urls() -> Iterator[str]:
    for form in FORMS:
        for before, behind in itertools.product(AROUND, ("", "/", "@", "#", "?", ":")):
            yield form.format(before + SECRET + behind)
            yield form.format(behind + SECRET + before)
    for name in SPELLINGS:
        yield f"redis://host?{name}={SECRET}"
        yield f"redis://host?{name}={SECRET}%0a"
        yield f"rediss://host?{name}={SECRET}&limit=0"
        yield f"redis://host?{name}"


def shown(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield "".join(traceback.format_exception(error))
        yield repr(error)
        yield repr(error.args)
        yield from shown(error.__cause__)
        error = error.__context__


#: Options whose values are paths of files, which an error about the file names.
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")

#: What stands here alone is a host, a path or a name, as far as can be known.
_PLACES: Final = ("host", "unix_socket_path", "client_name", "lib_name")


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.ci)], ids=["each third", "all"])
def test_no_form_of_url_shows_it(every: int) -> None:
    refused = made = 0
    kinds: set[type] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for url in itertools.islice(urls(), 0, None, every):
            try:
                client = Client(url)
            except (ArgumentError, OSError) as error:
                refused += 1
                kinds.add(type(error))
                for text in shown(error):
                    assert SECRET not in text, url
            else:
                made += 1
                endpoint = client.node.settings.endpoint
                if not any(SECRET in str(getattr(endpoint, place)) for place in _PLACES):
                    assert SECRET not in repr(client), url
                    assert SECRET not in str(endpoint), url
                    assert SECRET not in repr(endpoint) or SECRET in (endpoint.username or ""), url
                # What is a host or a path is one: nothing of a user or a password is left in it.
                assert not set("/@?#[]\\ \r\n\0") & set(endpoint.host), url
                assert "@" not in (endpoint.unix_socket_path or "") or url.startswith("unix:///") or "%40" in url, url
    assert kinds <= {ArgumentError, FileNotFoundError}
    assert refused > 3000 / every
    assert made > 240 / every


@pytest.mark.parametrize("name", OPTIONS)
def test_no_option_shows_it(name: str) -> None:
    values: list[Any] = [SECRET, SECRET.encode(), f"{SECRET}\n", f"{SECRET} x", f"{SECRET}\0", [SECRET], {SECRET: 1}]
    for value in values:
        options: Any = {"ssl": True, name: value}
        try:
            Client(**options)
        except (ArgumentError, OSError) as error:
            if isinstance(error, FileNotFoundError) and name in _FILES:
                continue  # the error is about that file
            for text in shown(error):
                assert SECRET not in text, (name, value)


@pytest.mark.parametrize("url", ["unix://u:pa/SECRET@/x.sock", "redis://h/SECRET", "redis://:1234567", "user:pw@h"])
def test_what_is_malformed_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        Client(url)
    assert not any(part in str(caught.value) for part in ("SECRET", "1234567", "user:"))


@pytest.mark.parametrize(
    "host", ["a%0d%0ab", "a%0ab", "a%00b", "a%20b", "a%09b", "%7f", "a%2fb", "u%3ap%40h", "a%c2%a0b", "a\r\nb", "a b"]
)
def test_hosts_that_are_none(host: str) -> None:
    with pytest.raises(ValueError, match=r"host|malformed"):
        Client(f"redis://{host}:6379")


@pytest.mark.parametrize("host", ["a\r\nb", "a\nb", "a\0b", "a b", "a\tb", "a/b", "u:p@h", "\x7f", "\u2028", " a"])
def test_hosts_that_are_none_as_an_option(host: str) -> None:
    with pytest.raises(ValueError, match="host"):
        Client(host=host)


@pytest.mark.parametrize("host", ["cache.example", "::1", "fe80::1%eth0", "127.0.0.1", "bücher.example", "a_b-c"])
def test_hosts(host: str) -> None:
    assert Client(host=host).node.settings.endpoint.host == host


@pytest.mark.parametrize("path", ["/run/a\nb", "/run/a\r\nb", "/run/a\0b"])
def test_sockets_that_are_none(path: str) -> None:
    with pytest.raises(ValueError, match="unix_socket_path"):
        Client(unix_socket_path=path)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://u:p%ff{SECRET}@h",
        f"redis://{SECRET}%ff:p@h",
        "redis://%ff",
        f"unix:///{SECRET}%ff",
        "redis://h?username=%ff",
    ],
)
def test_percent_signs_that_spell_no_text(url: str) -> None:
    """They would else spell another password, and be refused by the server."""
    with pytest.raises(ValueError, match="what its percent signs spell is not UTF-8") as caught:
        Client(url)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", ["username", "password"])
def test_credentials_without_a_utf8_form(name: str) -> None:
    options: Any = {"password": "p", name: f"{SECRET}\udc80"}
    with pytest.raises(ValueError, match=f"{name} is something else, not text that has a UTF-8 form") as caught:
        Client(**options)
    assert caught.value.__context__ is None


class Wordless(str):
    """Has other letters than are in it."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        return iter("x")

    def encode(self, *_: Any, **__: Any) -> bytes:
        raise RuntimeError(SECRET)


@pytest.mark.parametrize("name", ["host", "client_name", "unix_socket_path"])
def test_control_characters_of_a_lying_class(name: str) -> None:
    options: Any = {name: Wordless("a\r\nb")}
    with pytest.raises(ValueError, match=name):
        Client(**options)
    options = {"password": Wordless("p\udc80")}
    with pytest.raises(ValueError, match="password"):
        Client(**options)
    options = {name: Impostor()}
    with pytest.raises(TypeError, match=f"{name} is Impostor, not str"):
        Client(**options)
