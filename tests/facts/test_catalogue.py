"""The facts of commands, compared with the catalogue of the tests."""

from __future__ import annotations

from typing import Any

from aioresp.facts.catalogue import needed
from tests.commands.left_out import catalogue


def in_words(since: dict[str, str]) -> str:
    redis, valkey = since.get("redis"), since.get("valkey")
    if redis is None:
        return f"Valkey {valkey} (not in Redis 8.10)"
    if valkey is None:
        return f"Redis {redis} (not in Valkey 9.1)"
    return f"Redis {redis} or Valkey" if valkey == "7.2" else f"Redis {redis} or Valkey {valkey}"


def is_old(facts: dict[str, Any]) -> bool:
    return int(facts["since"].get("redis", "9").partition(".")[0]) < 5


def test_each_command_tells_which_versions_have_it() -> None:
    expected = {name: None if is_old(facts) else in_words(facts["since"]) for name, facts in catalogue().items()}
    found = {name: needed(name) for name in expected if not name.endswith(" HELP")}
    assert found == {name: expected[name] for name in found}
    assert len([name for name in found if found[name]]) > 200


def test_what_is_not_listed_is_unknown() -> None:
    assert needed("NOSUCH") is None
    assert needed("") is None
    assert needed("|") is None
    assert needed("XGROUP CREATE") == needed("XGROUP|CREATE") == "Redis 5.0 or Valkey"
