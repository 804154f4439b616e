"""Replies about commands themselves."""

from __future__ import annotations

from typing import Any

from aioresp.record import Record
from aioresp.replies import integer, mapping, parts, shown, some_text, string, words


class KeyStep(Record):
    """Method by which a command's keys are found, and its parameters."""

    type: str
    spec: dict[str, int | str]


class KeySpecification(Record):
    """Where keys stand among a command's arguments, and what happens to them."""

    flags: set[str]
    begin_search: KeyStep
    find_keys: KeyStep
    notes: str | None


class Command(Record):
    """A command: how many words it has (at least so many, if below 0), its flags, and where its keys stand.

    `tips`, `key_specifications` and `subcommands` are of 7.0, and empty before.
    """

    name: str
    arity: int
    flags: set[str]
    first_key_pos: int
    last_key_pos: int
    step_count: int
    acl_categories: set[str]
    tips: list[str]
    key_specifications: list[KeySpecification]
    subcommands: dict[str, Command]


class CommandArgument(Record):
    """An argument of a command: `token` is the word before it, `arguments` are those that it consists of."""

    name: str
    type: str
    display_text: str | None
    token: str | None
    summary: str | None
    since: str | None
    deprecated_since: str | None
    flags: set[str]
    key_spec_index: int | None
    arguments: list[CommandArgument]


class CommandDocs(Record):
    """The documentation of a command. `history` is of versions, and what changed with them."""

    summary: str | None
    since: str | None
    group: str | None
    complexity: str | None
    module: str | None
    doc_flags: set[str]
    deprecated_since: str | None
    replaced_by: str | None
    history: list[tuple[str, str]]
    arguments: list[CommandArgument]
    subcommands: dict[str, CommandDocs]


def _said(value: Any) -> dict[str, Any]:
    return {string(name): item for name, item in mapping(value).items()}


def _text(value: Any) -> str | None:
    return None if value is None else shown(value)


def _key_step(value: Any) -> KeyStep:
    said = _said(value)
    spec = {name: item if isinstance(item, int) else string(item) for name, item in _said(said["spec"]).items()}
    return KeyStep(string(said["type"]), spec)


def _key_specification(value: Any) -> KeySpecification:
    said = _said(value)
    steps = _key_step(said["begin_search"]), _key_step(said["find_keys"])
    return KeySpecification(words(said["flags"]), *steps, _text(said.get("notes")))


def _command(value: Any) -> Command:
    name, arity, flags, first, last, step, *rest = parts(value)
    categories, tips, specifications, subcommands = (*rest, *([()] * 4))[:4]
    return Command(
        string(name),
        integer(arity),
        words(flags),
        integer(first),
        integer(last),
        integer(step),
        words(categories),
        [string(tip) for tip in parts(tips)],
        [_key_specification(item) for item in parts(specifications)],
        commands(subcommands),
    )


def commands(value: Any) -> dict[str, Command]:
    """Return commands by name."""
    return {command.name: command for command in map(_command, parts(value))}


def commands_or_none(value: Any) -> list[Command | None]:
    """Return commands in the order of the reply, None for one that the server does not know."""
    return [None if item is None else _command(item) for item in parts(value)]


def _argument(value: Any) -> CommandArgument:
    said = _said(value)
    return CommandArgument(
        name=string(said["name"]),
        type=string(said["type"]),
        display_text=_text(said.get("display_text")),
        token=_text(said.get("token")),
        summary=_text(said.get("summary")),
        since=_text(said.get("since")),
        deprecated_since=_text(said.get("deprecated_since")),
        flags=words(said.get("flags")),
        key_spec_index=said.get("key_spec_index"),
        arguments=[_argument(item) for item in parts(said.get("arguments", ()))],
    )


def command_docs(value: Any) -> dict[str, CommandDocs]:
    """Return the documentation of commands by name."""
    return {name: _docs(_said(item)) for name, item in _said(value).items()}


def _docs(said: dict[str, Any]) -> CommandDocs:
    return CommandDocs(
        summary=_text(said.get("summary")),
        since=_text(said.get("since")),
        group=_text(said.get("group")),
        complexity=_text(said.get("complexity")),
        module=_text(said.get("module")),
        doc_flags=words(said.get("doc_flags")),
        deprecated_since=_text(said.get("deprecated_since")),
        replaced_by=_text(said.get("replaced_by")),
        history=[(shown(version), shown(change)) for version, change in map(parts, parts(said.get("history", ())))],
        arguments=[_argument(item) for item in parts(said.get("arguments", ()))],
        subcommands=command_docs(said.get("subcommands", ())),
    )


def keys_and_flags(value: Any) -> list[tuple[Any, set[str]]]:
    """Return keys, and what the command does to each."""
    return [(some_text(key), words(flags)) for key, flags in map(parts, parts(value))]
