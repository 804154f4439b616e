"""An endpoint: a value that can be compared, shown and trusted with a password."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from aioresp.wire.credentials import Credentials
from aioresp.wire.endpoint import Endpoint, tls_context

CONTEXT = ssl.create_default_context()


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        (Endpoint(), "redis://localhost:6379"),
        (Endpoint(host="cache.example", port=6380, db=3), "redis://cache.example:6380"),
        (Endpoint(host="::1"), "redis://[::1]:6379"),
        (Endpoint(host="cache.example", tls=CONTEXT), "rediss://cache.example:6379"),
        (Endpoint(unix_socket_path="/run/redis.sock"), "unix:///run/redis.sock"),
        (Endpoint(username="me", password="s3cr3t"), "redis://localhost:6379"),
    ],
)
def test_str(endpoint: Endpoint, text: str) -> None:
    assert str(endpoint) == text


def test_repr_shows_everything_but_the_password() -> None:
    shown = repr(Endpoint(host="cache.example", username="me", password="s3cr3t", db=2, client_name="worker"))
    assert "s3cr3t" not in shown
    assert "password" not in shown
    for part in ("host='cache.example'", "port=6379", "username='me'", "db=2", "client_name='worker'", "protocol=3"):
        assert part in shown


def test_credentials() -> None:
    assert Endpoint().credentials is None
    assert Endpoint(username="me").credentials is None
    assert Endpoint(password="pw").credentials == Credentials(None, "pw")
    assert Endpoint(password="").credentials == Credentials(None, "")
    assert Endpoint(username="me", password="pw").credentials == Credentials("me", "pw")


def test_a_frozen_value() -> None:
    first, second = Endpoint(host="a", password="x"), Endpoint(host="a", password="x")
    assert first == second
    assert hash(first) == hash(second)
    assert first != Endpoint(host="a", password="y")
    assert first != Endpoint(host="b", password="x")
    with pytest.raises(AttributeError):
        first.host = "b"  # type: ignore[misc]  # what it must refuse  # pyright: ignore[reportAttributeAccessIssue]
    assert first.replace(host="b") == Endpoint(host="b", password="x")


def test_the_context_verifies_the_server() -> None:
    context = tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_the_context_can_be_told_not_to_check_the_name() -> None:
    context = tls_context(check_hostname=False)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert not context.check_hostname


def test_the_context_takes_files(tmp_path: Path) -> None:
    authority = pytest.importorskip("trustme").CA()
    certificate = authority.issue_cert("client.example")
    ca, cert, key, both = (str(tmp_path / name) for name in ("ca.pem", "cert.pem", "key.pem", "both.pem"))
    authority.cert_pem.write_to_path(ca)
    certificate.cert_chain_pems[0].write_to_path(cert)
    certificate.private_key_pem.write_to_path(key)
    certificate.private_key_and_cert_chain_pem.write_to_path(both)
    context = tls_context(ca_certs=ca, certfile=cert, keyfile=key)
    assert len(context.get_ca_certs()) == 1
    tls_context(certfile=both)


def test_the_context_refuses_bad_files(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    with pytest.raises(OSError, match="No such file"):
        tls_context(ca_certs=str(nothing))
    with pytest.raises(OSError, match="No such file"):
        tls_context(certfile=str(nothing))
    nothing.write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        tls_context(ca_certs=str(nothing))
    with pytest.raises(ssl.SSLError):
        tls_context(certfile=str(nothing))


def test_a_key_without_its_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="certfile"):
        tls_context(keyfile=str(tmp_path / "key.pem"))


def test_an_empty_user_name_is_none() -> None:
    """HELLO takes it for the default user; AUTH must do the same."""
    assert Endpoint(username="", password="pw").credentials == Credentials("", "pw")
    assert Credentials("", "pw").words == ("pw",)
    assert Credentials("me", "pw").words == ("me", "pw")
