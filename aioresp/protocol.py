"""RESP without I/O: `pack` arguments into bytes, feed a `Parser` and take replies out of it.

The only module that imports hiredis. Never touches a socket, never awaits, never knows what a command means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, Final, TypeAlias

import hiredis

from aioresp.arguments import BITS, encoded
from aioresp.errors import ProtocolError, ReplyTooLarge, ResponseError, response_error

#: Arguments from this many bytes on travel as chunks of their own: hiredis copies 1 MiB in about a millisecond.
CHUNK: Final = 32 * 1024

Packed: TypeAlias = bytes | list[bytes]

#: Digits of a count from which on the header of a list is looked at before hiredis sees it: for a list it reserves room
#: at once, which the garbage collector walks through; for a push it fills that room.
LONG: Final = 5

#: Parts that the long lists of one reply may announce.
MOST_PARTS: Final = 100_000_000

#: Bytes of the smallest part of a list.
SMALLEST_PART: Final = 3

#: Bytes of a header that may be without an end.
LONG_HEADER: Final = 32

# What reserves room, and from how many digits on it is looked at. Pushes are looked at in any case (see `Parser`),
# unless nothing is decoded; and they come first, as what lies behind one need not be searched then.
_LISTS: Final = ((b">", 0), (b"*", LONG), (b"~", LONG), (b"|", LONG))
_LISTS_UNDECODED: Final = ((b">", LONG), *_LISTS[1:])
_NEVER_LONG: Final = {b">": "a push", b"|": "an attribute"}
_MESSAGE: Final = b">3\r\n$7\r\nmessage\r\n"
_DIGITS: Final = b"0123456789"
_MAP: Final = 37
_PUSH: Final = 62

#: What `Parser.gets` returns while the reply is not complete.
INCOMPLETE: Final = object()

#: The type of out-of-band messages (RESP3 pushes); a list of their parts.
Push = hiredis.PushNotification

_pack_command: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command


def pack(arguments: tuple[Any, ...]) -> Packed:
    """Return a command as bytes, or as a list of chunks if one of its arguments is large.

    Raises TypeError, naming the command and the position, for an argument that is not str, bytes, bytearray,
    memoryview, int or float (bool is none of these), and ValueError for a str that has no UTF-8 form, an int of more
    than 2048 bits and a memoryview that was released.
    """
    # hiredis gets the exact types only: it believes the methods of subclasses, and ends the process where one of them,
    # or the text of a huge int, raises an error. So not by `__class__`, which may say anything.
    count = len(arguments)
    try:
        # A key, or a key and a text, as most commands are: looked at without a loop.
        if count == 2:
            if type(arguments[1]) is str and type(arguments[0]) is str:
                return _pack_command(arguments)
        elif count == 3:
            name, key, value = arguments
            if type(value) is str and type(key) is str and type(name) is str and len(value) <= CHUNK:
                return _pack_command(arguments)
        elif count > 16 and _is_short_text(arguments):
            return _pack_command(arguments)
        for argument in arguments:
            kind = type(argument)
            if kind is str or kind is bytes:
                if len(argument) > CHUNK:
                    return _pack_chunks(arguments)
            elif kind is int:
                if argument.bit_length() > BITS:
                    return _pack_chunks(arguments)
            elif kind is not float:
                return _pack_chunks(arguments)
        return _pack_command(arguments)
    except UnicodeEncodeError:
        pass  # handled below: whatever is raised here has this error behind it, which shows the text
    return _pack_chunks(arguments)


def _is_short_text(arguments: tuple[Any, ...]) -> bool:
    """Return whether all arguments are str and short: joining them tells so faster than a loop."""
    try:
        return len("".join(arguments)) <= CHUNK
    except TypeError:
        return False


def _pack_chunks(arguments: tuple[Any, ...]) -> Packed:
    """Pack what hiredis packs slowly, wrongly (views with strides) or not at all, and name what cannot be sent."""
    head = b"*%d\r\n" % len(arguments)
    chunks: list[bytes] = []
    for data in encoded(arguments):
        if len(data) > CHUNK:
            chunks += (head + b"$%d\r\n" % len(data), data)
            head = b"\r\n"
        else:
            head += b"$%d\r\n" % len(data) + data + b"\r\n"
    if not chunks:
        return head
    chunks.append(head)
    return chunks


def unpack(packed: Packed) -> list[bytes]:
    """Return the first arguments of a packed command, as many of the first four as stand before a large one."""
    head = packed if isinstance(packed, bytes) else packed[0]
    arguments: list[bytes] = []
    position = head.index(b"\r\n") + 2
    while len(arguments) < 4 and head[position : position + 1] == b"$":
        start = head.index(b"\r\n", position) + 2
        end = start + int(head[position + 1 : start - 2])
        if end > len(head):
            break
        arguments.append(head[start:end])
        position = end + 2
    return arguments


@cache
def _long_pattern(kind: bytes, digits: int) -> re.Pattern[bytes]:
    """Compiled at the first use: importing is to be cheap."""
    return re.compile(rb"%b(?<=\n%b)(?:[0-9]{%d}|[0-9]*\Z)" % (re.escape(kind), re.escape(kind), digits))


def _find_list(data: bytes, start: int, lists: tuple[tuple[bytes, int], ...]) -> int:
    """Return where the header may begin of a push, or of a list that is long or not here to its end; or the end."""
    nearest = len(data)
    for kind, digits in lists:
        found = data.find(kind, start, nearest)
        # A pattern looks at each byte, `find` at many at once: it is faster unless it finds something all the time.
        for _ in range(32):
            if found < 0:
                break
            if (not found or data[found - 1] == 10) and not data[found + 1 : found + 1 + digits].strip(_DIGITS):
                nearest = found
                break
            found = data.find(kind, found + 1, nearest)
        else:
            if found >= 0 and digits and kind == b">":
                found = _skip_messages(data, found, nearest)
            match = _long_pattern(kind, digits).search(data, found, nearest) if found >= 0 else None
            if match is not None:
                nearest = min(nearest, match.start())
    return nearest


def _skip_messages(data: bytes, start: int, end: int) -> int:
    """Return where to go on if each ">" before is the header of a message: to count takes half of a pattern's time."""
    last = data.rfind(b">", start, end)
    return last if data.count(b">", start, last) == data.count(_MESSAGE, start, last) else start


class Parser:
    """Turns bytes into replies.

    `feed(data, partial)` takes bytes; while `has_data()`, `gets(decode)` returns the next reply, or `INCOMPLETE`. Error
    replies come out as `ResponseError` values, pushes as `Push`. `gets` raises UnicodeDecodeError for a reply that is
    not UTF-8, which it has then consumed, and anything else when the stream is broken for good: hand that to `broken`.

    A map costs hiredis twice the time of a list of its keys and values. So where a reply begins with the header of a
    map, it is given that of a list, and the dict is made from the list.

    Pushes are not decoded: who has asked for a reply as text cannot help it if a push before it is none, and would get
    the error in the place of his reply.

    Lists, and pushes and attributes above all, that announce more parts than make sense are refused before hiredis
    makes room for them; no reply makes sense that takes more than `max_reply` bytes. It refuses by itself what nests
    deeper than 1024 levels.
    """

    def __init__(self, max_reply: int | None = None) -> None:
        self._most = MOST_PARTS if max_reply is None else min(max_reply // SMALLEST_PART, MOST_PARTS)
        self._reader = hiredis.Reader(
            protocolError=ProtocolError,
            replyError=_error_value,
            encoding="utf-8",
            notEnoughData=INCOMPLETE,
        )
        # Bound methods of the C reader: the hot path calls them without a Python frame between. Only while there are
        # maps, pushes or long lists about, or what looks like one, the methods below take their place.
        self.gets: Callable[[bool], Any] = self._reader.gets
        self.has_data: Callable[[], bool] = self._reader.has_data
        self._gets_raw: Callable[[], Any] = partial(self._reader.gets, False)
        self._wary = False
        self._held = b""  # bytes that may hold such a header, and were given to the reader up to `_position`
        self._position = 0
        self._between = True  # what was given to the reader ends with a reply
        self._last = 10  # the last byte that was given to it
        self._kind = 0  # the first byte of the reply that comes next, if that is a map or a push
        self._list = 0  # where the next push or long list may begin, or the end of the bytes that are held
        self._map = 0  # the same for the next map
        self._lists = _LISTS
        self._parts = 0  # what the long lists of the reply that is here in part have announced

    @property
    def wary(self) -> bool:
        """Whether there are maps or pushes about: `gets` must then not be called without asking `has_data` before."""
        return self._wary

    def feed(self, data: bytes, partial: bool) -> None:
        """Take bytes; `partial` tells whether those before them may have ended within a reply."""
        if self._wary:
            self._hold(self._held[self._position :] + data)
        elif b"%" in data or (
            (b"*" in data or b">" in data or b"~" in data or b"|" in data)
            and _find_list(data, 0, self._lists) < len(data)
        ):
            self._hold(data)
            self._between = not partial
            if not partial:
                self._parts = 0
            self._wary = True
            self.gets = self._gets_around_headers
            self.has_data = self._has_data_or_held
        else:
            self._reader.feed(data)
            self._last = data[-1]

    def _hold(self, data: bytes) -> None:
        self._held, self._position, self._map = data, 0, 0
        self._list = _find_list(data, 0, self._lists)

    def undecoded(self) -> None:
        """Expect that `gets` will never be asked to decode, which makes pushes faster."""
        self._lists = _LISTS_UNDECODED

    @property
    def waiting(self) -> int:
        """How many bytes wait to be read, or a little more."""
        return len(self._held) - self._position + self._reader.len()

    def items(self) -> Iterator[Any]:
        """Return an iterator over the replies that are here, undecoded."""
        return self._items_around_maps() if self._wary else iter(self._gets_raw, INCOMPLETE)

    def _items_around_maps(self) -> Iterator[Any]:
        while self.has_data() and (reply := self.gets(False)) is not INCOMPLETE:
            yield reply

    def _has_data_or_held(self) -> bool:
        return self._position < len(self._held) or self._reader.has_data()

    def _gets_around_headers(self, decode: bool) -> Any:
        """Return the next reply, giving the reader no more bytes at a time than up to what may be such a header."""
        while True:
            if self._between and not self._change_header():
                return INCOMPLETE
            kind = self._kind
            self._kind = 0  # also if the reply, which is consumed then, cannot be decoded
            try:
                reply = self._reader.gets(decode and kind != _PUSH)
            except UnicodeDecodeError:
                self._parts = 0
                self._between = not self._reader.has_data()
                raise
            if reply is not INCOMPLETE:
                self._parts = 0
                self._between = not self._reader.has_data()
                if kind == _MAP:
                    items = iter(reply)
                    reply = dict(zip(items, items, strict=True))
                self._leave_if_done()
                return reply
            self._kind = kind
            if self._position == len(self._held):
                self._leave_if_done()
                return INCOMPLETE
            if not self._give():
                return INCOMPLETE

    def _give(self) -> bool:
        """Give the reader the next bytes; return False if there is but a piece of the header of a list."""
        # The reader keeps what it has of an element to its end, but for the first byte. So if nothing is left of a
        # line, that was the end of an element, or of a header, and the next one begins here.
        if self._position == self._list and self._last == 10 and not self._reader.has_data():
            if not self._accept_list():
                return False
            if self._held[self._position] == _PUSH and not self._kind:
                self._kind = _PUSH  # there are none within replies, so it is one of its own
        end = self._find_header()
        self._reader.feed(self._held, self._position, end - self._position)
        self._last = self._held[end - 1]
        self._position = end
        self._between = False
        return True

    def _accept_list(self) -> bool:
        """Return False if the header of a list may go on; raise ProtocolError if it announces too much."""
        start = self._position + 1
        header = self._held[start : start + LONG_HEADER]
        count = header[: len(header) - len(header.lstrip(_DIGITS))]
        if len(count) == len(header) < LONG_HEADER:
            return False
        if len(count) >= LONG:
            never = _NEVER_LONG.get(self._held[start - 1 : start])
            self._announce(int(count), never or "a list", 0 if never else self._most)
        return True

    def _announce(self, parts: int, what: str, most: int) -> None:
        self._parts += parts
        if self._parts > MOST_PARTS or not most:
            raise ProtocolError(f"{what} of {parts:,} parts")
        if self._parts > most:
            raise ReplyTooLarge(f"there is {what} of {parts:,} parts in the reply; the option max_reply allows no more")

    def _find_header(self) -> int:
        """Return where the next header of a map, a push or a long list may begin, at the earliest, or the end."""
        if self._list <= self._position:
            self._list = _find_list(self._held, self._position + 1, self._lists)
        if self._map <= self._position:
            self._map = self._find_map()
        return min(self._map, self._list)

    def _find_map(self) -> int:
        held = self._held
        if self._last == 13 and held.startswith(b"\n%", self._position):  # the "\r" went before
            return self._position + 1
        found = self._position + 1
        # To look for one byte takes a fiftieth of the time of looking for three, unless the data is full of it.
        for _ in range(8):
            found = held.find(b"%", found + 1)
            if found < 0:
                return len(held)
            if held[found - 2 : found] == b"\r\n":
                return found
        found = held.find(b"\r\n%", found - 1)
        return len(held) if found < 0 else found + 2

    def _change_header(self) -> bool:
        """Between two replies, give the reader the next bytes; return False if there is but a piece of a header."""
        if self._position == len(self._held):
            return False
        if self._held[self._position] != _MAP:
            return self._give()
        end = self._held.find(b"\r\n", self._position, self._position + LONG_HEADER)
        if end < 0:
            if len(self._held) - self._position < LONG_HEADER:
                return False
            raise ProtocolError("a header without an end")
        count = self._held[self._position + 1 : end]
        if not count.isdigit():
            self._give()  # the reader knows what to say
            return True
        parts = 2 * int(count)
        if len(count) >= LONG:
            self._announce(parts, "a map", self._most)
        self._reader.feed(b"*%d\r\n" % parts)
        self._last = 10
        self._position = end + 2
        self._between = False
        self._kind = _MAP
        return True

    def _leave_if_done(self) -> None:
        if self._position == len(self._held) and not self._kind:
            self._wary = False
            self.gets = self._reader.gets
            self.has_data = self._reader.has_data
            self._held, self._position = b"", 0

    @staticmethod
    def broken(error: Exception) -> ProtocolError:
        """Return the error that tells every caller why the stream is finished."""
        if isinstance(error, ReplyTooLarge):
            return ProtocolError("the server sent a reply that is too large; the connection was dropped")
        if isinstance(error, TypeError):
            return ProtocolError("the server sent a map with a key that Python cannot hash; the connection was dropped")
        if isinstance(error, MemoryError):
            return ProtocolError("the server announced more than the memory holds; the connection was dropped")
        return ProtocolError(f"the server sent something that is not RESP ({error}); the connection was dropped")


def _error_value(message: str | bytes) -> ResponseError:
    return response_error(message if isinstance(message, str) else message.decode("utf-8", "replace"))
