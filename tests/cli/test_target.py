"""The options by which all commands connect: what counts first, what is shown, and what is wrong with them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from aioresp import Client, Cluster
from aioresp.cli.target import Target, connecting
from aioresp.wire.endpoint import Endpoint

Parse = Callable[..., Target]


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Parse:
    """Return what parses the words of a command that has an argument and an option of its own."""
    for name in ("AIORESP_URL", "REDIS_URL", "REDISCLI_AUTH"):
        monkeypatch.delenv(name, raising=False)
    app = typer.Typer(add_completion=False)
    found: list[Target] = []

    @app.command()
    @connecting
    def probe(
        target: Target,
        words: Annotated[list[str] | None, typer.Argument()] = None,
        count: Annotated[int, typer.Option()] = 3,
    ) -> None:
        typer.echo(f"{words} {count}")
        found.append(target)

    def run(*words: str, input: str | None = None) -> Target:
        done = CliRunner().invoke(app, words, input=input)
        if done.exit_code:
            raise SystemExit(done.output)
        return found.pop()

    return run


def endpoint(target: Target) -> Endpoint:
    client = target.client()
    return (client.fleet if isinstance(client, Cluster) else client.node).settings.endpoint


def test_the_address_comes_from_the_first_that_has_one(parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse().url == "redis://localhost:6379"
    monkeypatch.setenv("REDIS_URL", "redis://b")
    assert parse().url == "redis://b"
    monkeypatch.setenv("AIORESP_URL", "redis://a")
    assert parse().url == "redis://a"
    monkeypatch.setenv("AIORESP_URL", "")
    assert parse().url == "redis://b"
    assert parse("redis://c", "GET", "k", "--count", "4").url == "redis://c"


@pytest.mark.parametrize(
    ("words", "environment", "user", "password"),
    [
        (("redis://a",), None, None, None),
        (("redis://a",), "env", None, "env"),
        (("redis://:url@a",), "env", None, "url"),
        (("redis://a?password=url",), "env", None, "url"),
        (("redis://:url@a", "--password", "given"), "env", None, "given"),
        (("redis://bob@a",), "env", "bob", "env"),
        (("redis://bob:url@a", "--username", "eve"), None, "eve", "url"),
        (("redis+cluster://a", "--username", "eve", "--password", "p"), None, "eve", "p"),
        (("redis+sentinel://a/m", "--password", "-"), None, None, "typed"),
    ],
)
def test_credentials(
    parse: Parse,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    environment: str | None,
    user: str | None,
    password: str | None,
) -> None:
    if environment is not None:
        monkeypatch.setenv("REDISCLI_AUTH", environment)
    target = parse(*words, input="typed\nmore\n")
    found = endpoint(target)
    assert (found.username, found.password) == (user, password)
    for secret in ("url", "env", "given", "typed"):
        assert secret not in repr(target) + target.shown


@pytest.mark.parametrize(
    ("url", "shown", "several"),
    [
        ("redis://u:p@h:1/2?limit=3", "redis://h:1", False),
        ("redis://u:p@h:1,i:2", "redis://h:1,i:2", True),
        ("redis+sentinel://u:p@s:1,t/mine", "redis+sentinel://s:1,t:26379/mine", True),
        ("rediss+cluster://u:p@h", "rediss+cluster://h:6379", True),
        ("unix:///run/redis.sock", "unix:///run/redis.sock", False),
    ],
)
def test_what_is_shown(parse: Parse, url: str, shown: str, several: bool) -> None:
    target = parse(url)
    assert (target.shown, target.several) == (shown, several)
    assert type(target.client(limit=1)) is (Cluster if "cluster" in url else Client)


def test_tls(parse: Parse) -> None:
    assert endpoint(parse("redis://a")).tls is None
    for words in (("--tls",), ("rediss://a",)):
        found = endpoint(parse(*words)).tls
        assert found is not None
        assert (found.check_hostname, found.verify_mode) == (True, ssl.CERT_REQUIRED)
    for url in ("redis://a", "redis+cluster://a", "redis+sentinel://a/m"):
        found = endpoint(parse(url, "--insecure")).tls
        assert found is not None
        assert (found.check_hostname, found.verify_mode) == (False, ssl.CERT_NONE)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("http://a",), "aioresp probe: URL: the URL's scheme is 'http'"),
        (("redis://a", "--cacert", "/nowhere"), "aioresp probe: --cacert: No such file or directory: /nowhere"),
        (("redis://a", "--cacert", __file__), "aioresp probe: --cacert: "),
        (("redis://a", "--cert", __file__), "aioresp probe: --cert"),
        (("redis://a", "--key", __file__), "aioresp probe: --key needs --cert"),
        (("redis://a", "--insecure", "--cacert", "/nowhere"), "aioresp probe: --insecure and --cacert exclude"),
        (("unix:///s", "--tls"), "aioresp probe: URL: unix_socket_path and ssl exclude each other"),
        (("redis://a", "--username", "bob"), "aioresp probe: --username needs a password"),
        (("redis://a", "--password", "-"), "aioresp probe: --password - reads the password"),
    ],
)
def test_what_does_not_fit(parse: Parse, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(*words)
    assert str(caught.value).startswith(said)
    assert str(caught.value).count("\n") == 1


def test_a_wrong_variable_is_named(parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "http://user:secret@a")
    with pytest.raises(SystemExit, match=r"^aioresp probe: REDIS_URL: the URL's scheme is 'http'") as caught:
        parse()
    assert "secret" not in str(caught.value)
