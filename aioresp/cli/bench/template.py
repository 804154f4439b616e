"""Command with placeholders, as the user writes it: `SET {key} {data}`.

Owns the words of the command line and what they become. Never sends anything.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Final

from aioresp.cli.bench.refusals import OWN
from aioresp.facts.traits import Traits
from aioresp.replies import as_is, text

#: Placeholders: a number below --keys, a number that grows with each call, --size bytes, a key of the benchmark.
PLACEHOLDERS: Final = ("{rand}", "{seq}", "{data}", "{key}", "{prefix}")

_PLACEHOLDER = re.compile(r"\{\{([^{}]*)\}\}|\{(?:rand|seq|data|key|prefix)\}")
_BRACES = re.compile(r"(?<!\{)\{([a-z_]*)\}(?!\})")

#: Commands that are made before a round, and sent again and again in turn: to make them costs nothing then. With more
#: keys than the first number they are made again for each round, and at most as many as the second.
RING: Final = 16_384
MOST_RING: Final = 65_536

#: Keys up to which all names are deleted; of more, those that were drawn.
_ALL: Final = 1_000_000

#: Bytes that these may take, where each has a copy of its value.
_HELD: Final = 64 * 1024 * 1024

#: Seconds until a key of the benchmark expires, should it be killed.
TTL: Final = 3600

#: Keys that a command of the table below uses for collections.
_ONE = "{prefix}"

#: The commands of -t: the command itself, and the command by which its data comes to be (empty: none).
NAMED: Final[dict[str, tuple[str, str]]] = {
    "ping": ("PING", ""),
    "set": (f"SET {{key}} {{data}} EX {TTL}", ""),
    "get": ("GET {key}", f"SET {{key}} {{data}} EX {TTL}"),
    "incr": ("INCR {prefix}counter:{rand}", f"SET {{prefix}}counter:{{rand}} 0 EX {TTL}"),
    "lpush": (f"LPUSH {_ONE}list {{data}}", ""),
    "rpush": (f"RPUSH {_ONE}list {{data}}", ""),
    "lpop": (f"LPOP {_ONE}list", ""),
    "rpop": (f"RPOP {_ONE}list", ""),
    "sadd": (f"SADD {_ONE}set element:{{rand}}", ""),
    "spop": (f"SPOP {_ONE}set", ""),
    "hset": (f"HSET {_ONE}hash field:{{rand}} {{data}}", ""),
    "hget": (f"HGET {_ONE}hash field:{{rand}}", ""),
    "zadd": (f"ZADD {_ONE}zset {{rand}} element:{{rand}}", ""),
    "zpopmin": (f"ZPOPMIN {_ONE}zset", ""),
    "lrange_100": (f"LRANGE {_ONE}hundred 0 99", f"RPUSH {_ONE}hundred" + 100 * " {data}"),
    "mset": ("MSET" + 10 * " {key} {data}", ""),
    "mget": ("MGET" + 10 * " {key}", f"SET {{key}} {{data}} EX {TTL}"),
    "xadd": (f"XADD {_ONE}stream * field {{data}}", ""),
}


#: Commands whose reply is a string or nothing, whatever their arguments.
_STRINGS: Final = frozenset(("GET", "GETDEL", "GETEX", "HGET", "LINDEX", "PING", "ECHO"))


class BadCommand(ValueError):
    """A command line that means nothing; the message says why."""


@dataclass(frozen=True)
class Template:
    """One command with its placeholders."""

    name: str
    """The name of -t, or the command's own."""
    words: tuple[str, ...]
    fill: tuple[str, ...] = ()
    """The command that makes the data of one key; empty for none."""

    def __str__(self) -> str:
        line = " ".join(f'"{each}"' if " " in each or not each else each for each in self.words)
        return line if len(line) <= 72 else line[:69] + "..."

    @property
    def keys(self) -> tuple[str, ...]:
        """The arguments that are keys, with their placeholders."""
        return tuple(str(key) for key in Traits(self.words).keys)

    @property
    def reply(self) -> Callable[[Any], Any]:
        """The converter that a client's method would use, where it has the shortest way; else none."""
        return text if self.words[0].upper() in _STRINGS else as_is

    @property
    def own_keys(self) -> tuple[str, ...]:
        """Those of the keys, also of the filling, that are the benchmark's, in one spelling and each once."""
        found = [key for words in (self.words, self.fill) if words for key in map(str, Traits(words).keys)]
        return tuple(dict.fromkeys(spelled(key) for key in found if key.startswith(OWN)))

    @property
    def writes(self) -> bool:
        """Whether the servers may take it for a write."""
        return not Traits(self.words).read_only and bool(self.keys)

    @property
    def sequential(self) -> bool:
        """Whether each call differs by a growing number."""
        return any("{seq}" in each for each in self.words)


def spelled(key: str) -> str:
    """Return a key with `{key}` written out."""
    return key.replace("{key}", "{prefix}{rand}")


def named(name: str) -> Template:
    """Return the command of a name of -t. Raises BadCommand, listing the names, if there is none."""
    found = NAMED.get(name.lower())
    if found is None:
        raise BadCommand(f"-t: there is no test '{name}'; there are {', '.join(NAMED)}")
    command, fill = found
    return Template(name.lower(), tuple(command.split()), tuple(fill.split()))


def written(words: Sequence[str]) -> Template:
    """Return the command of these words. Raises BadCommand if a placeholder has no meaning."""
    for each in words:
        for name in _BRACES.findall(each):
            if f"{{{name}}}" not in PLACEHOLDERS:
                raise BadCommand(f"{{{name}}} is not a placeholder; there are {', '.join(PLACEHOLDERS)}")
    template = Template(words[0].upper(), tuple(words))
    for key in template.own_keys:
        if len(_PLACEHOLDER.findall(key)) > 2 or "{data}" in key or "{prefix}" in key[1:]:
            raise BadCommand(
                f"the key '{key}' has more than one number: after {{prefix}} there is place for one {{rand}} or {{seq}}"
            )
    return template


class Maker:
    """Commands made of a template, for one run."""

    def __init__(self, template: Template, prefix: str, keys: int, size: int, seed: int) -> None:
        self.template = template
        self._prefix = prefix
        self._keys = keys
        self._chance = random.Random(seed)
        self._data = "x" * size
        #: How many numbers `{seq}` has given out.
        self.issued = 0
        self._ring: list[tuple[Any, ...]] = []
        #: A bit for each number below `keys` that was drawn; None if all names are deleted anyway.
        self._drawn = bytearray(keys // 8 + 1) if keys > _ALL else None

    def commands(self, pipeline: int = 1, count: int = MOST_RING) -> Iterator[Any]:
        """Return an endless iterator of commands, or of lists of `pipeline` commands; one for all callers.

        About `count` of them are going to be used.
        """
        if self.template.sequential:
            each = self._endless()
            return each if pipeline == 1 else iter(lambda: list(islice(each, pipeline)), [])
        if not self._ring or self._keys > RING:
            self._ring = [self._made() for _ in range(self._size_of_ring(count))]
        if pipeline == 1:
            return cycle(self._ring)
        source = cycle(self._ring)
        return cycle([list(islice(source, pipeline)) for _ in range(max(1, len(self._ring) // pipeline))])

    def _size_of_ring(self, count: int) -> int:
        if not any(mark in each for each in self._words for mark in ("{rand}", "{key}")):
            return 1
        copied = sum(len(self._data) for each in self._words if "{data}" in each and each != "{data}")
        size = RING if self._keys <= RING else min(MOST_RING, max(RING, count))
        return max(16, min(size, _HELD // max(1, copied)))

    def _made(self) -> tuple[str, ...]:
        """Return a command, as `make` does. Most words are of two kinds, for which this takes a quarter of the time."""
        made = []
        for each in self._words:
            if "{" not in each:
                made.append(each)
            elif each == "{key}":
                made.append(self._prefix + self._draw())
            else:
                made += self.make((each,))
        return tuple(made)

    def _draw(self) -> str:
        number = int(self._chance.random() * self._keys)
        if self._drawn is not None:
            self._drawn[number >> 3] |= 1 << (number & 7)
        return str(number)

    @property
    def _words(self) -> tuple[str, ...]:
        return self.template.words

    def _endless(self) -> Iterator[tuple[Any, ...]]:
        words = self._words
        while True:
            self.issued += 1
            yield self.make(words, self.issued - 1)

    def make(self, words: Sequence[str], seq: int = 0, rand: int | None = None) -> tuple[str, ...]:
        """Return the command of these words; each `{rand}` is drawn for itself, unless it is given."""

        def value(found: re.Match[str]) -> str:
            if found[1] is not None:  # {{tag}}
                return f"{{{found[1]}}}"
            match found[0]:
                case "{prefix}":
                    return self._prefix
                case "{data}":
                    return self._data
                case "{seq}":
                    return str(seq)
            number = self._draw() if rand is None else str(rand)
            return number if found[0] == "{rand}" else self._prefix + number

        # A value that is a whole argument is not copied: it may be large.
        return tuple(self._data if each == "{data}" else _PLACEHOLDER.sub(value, each) for each in words)

    def names(self) -> Iterator[str]:
        """Return the name of every key that the template can have made so far."""
        for key in self.template.own_keys:
            yield from self.names_of(key)

    def names_of(self, key: str) -> Iterator[str]:
        """Return all names of one of its keys."""
        if "{rand}" in key:
            for number in self._numbers():
                yield self.make((key,), rand=number)[0]
        elif "{seq}" in key:
            for number in range(self.issued):
                yield self.make((key,), seq=number)[0]
        else:
            yield self.make((key,))[0]

    def _numbers(self) -> Iterable[int]:
        """Return the numbers of all keys that there can be."""
        if self._drawn is None or self.template.fill:
            return range(self._keys)
        return (8 * at + bit for at, byte in enumerate(self._drawn) if byte for bit in range(8) if byte >> bit & 1)

    def filling(self) -> Iterator[tuple[str, ...]]:
        """Return the commands that make the data, one for each key."""
        fill = self.template.fill
        if fill:
            once = not any("{key}" in each or "{rand}" in each for each in fill)
            for number in range(1 if once else self._keys):
                yield self.make(fill, rand=number)

    def size_of(self, rounds: int) -> int:
        """Return about how many bytes the data of all keys take on the server, in so many rounds of all ways."""
        one = len(self._prefix) + 100 + len(self._data)
        if not any("{rand}" in key for key in self.template.own_keys):
            return one
        if self.template.fill or self.template.sequential:
            return self._keys * one
        return min(self._keys, rounds * MOST_RING * max(1, len(self.template.own_keys))) * one

    def growth(self) -> int:
        """Return about how many bytes one call may add on the server; 0 if calls write the same keys again."""
        keyed = {"{seq}" in key for key in self.template.own_keys}
        name = self.template.words[0].upper()
        if not self.template.writes:
            return 0
        if True in keyed or name in ("LPUSH", "RPUSH", "XADD", "APPEND", "SADD", "ZADD", "HSET", "PFADD"):
            return sum(len(each) for each in self.make(self._words)) + 32
        return 0
