"""Parser of RESP: bytes in, replies out.

Owns the bytes that hiredis gets, and the moment at which it gets them. Never touches a socket, never awaits, never
knows what a command means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from typing import Any, Final

import hiredis

from aioresp.errors import ProtocolError
from aioresp.wire.announced import Announced
from aioresp.wire.elements import ASTRAY as ASTRAY
from aioresp.wire.elements import (
    CARE,
    CARE_UNDECODED,
    COUNTED,
    DOUBT,
    IN_LINE,
    KEEP,
    LINES,
    LONG,
    LONG_HEADER,
    LOST,
    MUCH,
    NEAR,
    SEARCH,
    TOO_MANY,
    TRIES,
    WALK,
    find_list,
    find_map,
    walk,
)
from aioresp.wire.faults import broken, error_value, undecodable
from aioresp.wire.maps import MARKED, as_map, with_maps
from aioresp.wire.salvage import INCOMPLETE, Salvage

_NEED_CARE: Final = b"*~|>%"
_MAP: Final = 37
_PUSH: Final = 62
_HOLDS_MAPS: Final = 128  # added to the first byte of a reply

#: The type of out-of-band messages (RESP3 pushes); a list of their parts.
Push = hiredis.PushNotification


class Parser:
    """State machine that turns bytes into replies.

    `feed(data, partial)` takes bytes, and `take(count, decode)` returns replies. For single replies, `gets(decode)`
    returns the next one, or `INCOMPLETE`; ask `has_data()` before each call. Error replies are
    `ResponseError` values, pushes are `Push` values. `gets` raises UnicodeDecodeError for a reply that is not UTF-8,
    which it has then consumed. Any other error means that the stream is broken: hand it to `broken`.

    hiredis takes twice as long for a map as for a list of its keys and values, and ends for good at a key that is a
    list. So the parser gives hiredis the header of a list for each map, and makes the dict from the list. Within a
    reply such a list begins with a mark.

    Pushes are not decoded: a push that is not UTF-8 must not fail the caller of the reply behind it.

    Lists, pushes and attributes that announce too many parts are refused before hiredis makes room for them. Too many
    is more than fit into `max_reply` bytes. hiredis itself refuses nesting deeper than 1024 levels.

    The parser searches for headers of these kinds, and a value may hold bytes that look like one. Such a value costs no
    more than plain text. For that the parser changes its state when a header proves false, or when there are too many
    to try.

    | state | known by | bytes that arrive | next state |
    |---|---|---|---|
    | plain | none of the others | are searched, and go to hiredis | searching, at bytes that look like a header |
    | searching | `_wary`, `_finding` is SEARCH | go to hiredis up to such bytes | walking, if they are no header |
    | walking | `_wary`, `_finding` is WALK | go to hiredis up to a header, by lengths | doubting, if none are held |
    | doubting | `_doubt`: bytes to go | are walked over, and go to hiredis | walking, at a header |
    | in an element | `_left`: its bytes to come | go to hiredis | plain or doubting, at its end |
    | astray | `_finding` is ASTRAY | are searched, and hiredis will refuse them soon | |
    | salvaging | `_salvage.active` | wait until the refused reply has ended, and those before them | plain |

    Searching becomes plain when no bytes are held, and so does doubting when `DOUBT` bytes had no header. Walking
    becomes astray where the lengths make no sense.
    """

    def __init__(self, max_reply: int | None = None) -> None:
        self._announced = Announced(max_reply)
        self._lists = CARE
        self._pushes = False  # set by `undecoded`, never cleared: short pushes need no check
        self._salvage = Salvage()
        self._begin()

    def _begin(self) -> None:
        """Begin with a new reader, between two replies."""
        self._announced.parts = 0
        self._reader = hiredis.Reader(
            protocolError=ProtocolError,
            replyError=error_value,
            encoding="utf8",
            notEnoughData=INCOMPLETE,
        )
        # Bound methods of the C reader: the hot path calls them without a Python frame between. While bytes are held,
        # the methods `_gets_around_headers` and `has_more` take their place.
        self.gets: Callable[[bool], Any] = self._reader.gets
        self.has_data: Callable[[], bool] = self._reader.has_data
        self._gets_raw: Callable[[], Any] = partial(self._reader.gets, False)
        self._wary = False  # set when bytes are held back at what looks like a header, cleared when none are held
        self._finding = SEARCH  # the way in which the next header is found
        self._doubt = 0  # bytes that are still walked over before headers are searched for again
        self._left = 0  # bytes to come of the element that is here in part, or IN_LINE
        self._tail: list[bytes] = []  # in the plain state, the bytes since a boundary
        self._kept = 0  # about how many bytes `_tail` has
        self._held = b""  # bytes that may hold a header, and were given to the reader up to `_position`
        self._queue: list[bytes] = []  # bytes that came while others were held
        self._position = 0
        self._boundary = 0  # where an element begins in what is held, not far before `_position`, or behind it
        self._before = b""  # bytes from a boundary to what is held; they count if `_boundary` is their number, negative
        self._stop = -1  # the end of what the reader was given, if a header may begin there
        self._between = True  # set when the bytes in the reader end with a reply, cleared when it gets more
        self._last = 10  # the last byte that the reader got
        self._kind = 0  # the first byte of the reply that comes next, if that is a map or a push, and `_HOLDS_MAPS`
        self._list = 0  # where the next push or long list may begin, or the end of the bytes that are held
        self._map = 0  # the same for the next map

    def feed(self, data: bytes, partial: bool) -> None:
        """Take bytes; `partial` tells whether those before them may have ended within a reply."""
        if not partial:
            self._salvage.chunks = [data]
        elif self._salvage.takes(data):
            return
        if self._wary or self._left or self._doubt:
            self._feed_carefully(data, partial)
        elif b"%" in data or (
            (b"*" in data or b">" in data or b"~" in data or b"|" in data)
            and find_list(data, 0, self._lists, -1, self._pushes) != len(data)
        ):
            self._examine(data, 0, partial)
        else:
            # The reader keeps the bytes of an unfinished element, except the first. If it has none after a line end,
            # an element or a header ended there, and the next one begins here.
            reader = self._reader
            if not partial or (self._last == 10 and not reader.has_data()):
                self._tail = [data]
                self._kept = len(data)
            elif self._kept <= KEEP:
                self._tail.append(data)
                self._kept += len(data)
            else:
                self._keep(data)
            reader.feed(data)
            self._last = data[-1]

    def undecoded(self) -> None:
        """Expect that `gets` will never be asked to decode, which makes pushes faster."""
        self._lists = CARE_UNDECODED
        self._pushes = True
        self.forget()

    def forget(self) -> None:
        """Keep no bytes of replies that were returned: the last one has been."""
        self._salvage.chunks = []

    @property
    def waiting(self) -> int:
        """Number of bytes that wait to be read, or a little more."""
        held = len(self._held) - self._position + sum(map(len, self._queue))
        return held + self._reader.len() + self._salvage.waiting

    def take(self, count: int, decode: bool) -> list[Any]:
        """Return the next replies, pushes among them: `count`, or fewer if no more are complete.

        A reply that is not UTF-8 is a DecodeError among them. Raises what `gets` raises if the stream is broken.
        """
        taken: list[Any] = []
        while (left := count - len(taken)) > 0:
            try:
                if self._wary or self._salvage.active:
                    if not self.has_data() or (reply := self.gets(decode)) is INCOMPLETE:
                        break
                    taken.append(reply)
                else:
                    # This runs in C. If it raises, the list has the replies before the error.
                    taken.extend(map(self.gets, repeat(decode, left)))
                    if taken[-1] is INCOMPLETE:
                        while taken and taken[-1] is INCOMPLETE:
                            taken.pop()
                        break
            except UnicodeDecodeError as error:
                taken.append(undecodable(error))
            except ProtocolError as error:
                if not self.recover(error):
                    raise
        return taken

    def items(self) -> Iterator[Any]:
        """Return an iterator over the replies that are here, undecoded."""
        return self._items_around_headers() if self._wary or self._salvage.active else iter(self._gets_raw, INCOMPLETE)

    def _items_around_headers(self) -> Iterator[Any]:
        while self.has_data() and (reply := self.gets(False)) is not INCOMPLETE:
            yield reply
            if not self._wary and not self._salvage.active:
                yield from iter(self._gets_raw, INCOMPLETE)
                return

    def has_more(self) -> bool:
        """Return whether there are bytes for `next_reply`."""
        return self._position < len(self._held) or bool(self._queue) or self._reader.has_data()

    def recover(self, error: Exception) -> bool:
        """Give an error to the caller of a reply that hiredis has refused; return False if the stream is broken.

        Take the methods `gets` and `has_data` again then. `gets` returns that error next.
        """
        if type(error) is not ProtocolError or not self._salvage.start(str(error)):
            return False
        self._begin()
        self._choose()
        return True

    def _choose(self) -> None:
        if self._salvage.active:
            self.gets, self.has_data = self._gets_behind, self._has_data_behind
        elif self._wary:
            self.gets, self.has_data = self._gets_around_headers, self.has_more
        else:
            self.gets, self.has_data = self._reader.gets, self._reader.has_data

    def _has_data_behind(self) -> bool:
        return self._salvage.active or self.has_more()

    def _gets_behind(self, decode: bool) -> Any:
        """Return the error of a refused reply, or the next reply behind it."""
        try:
            return self._salvage.gets(self, decode)
        finally:
            self._choose()

    def next_reply(self, decode: bool) -> Any:
        """Return the next reply of the bytes that were not kept back behind a refused one; see `has_more`."""
        return self._gets_around_headers(decode) if self._wary else self._reader.gets(decode)

    # --- Bytes in ----------------------------------------------------------------------------------------------------

    def _keep(self, data: bytes) -> None:
        """In the plain state, move the boundary forward, and keep only the bytes since then."""
        if self._finding is ASTRAY:
            return
        self._hold_tail()
        if self._position - self._boundary > KEEP // 2:
            self._walk(self._position)
        self._release()
        start = self._pass_left(data) if self._left else 0
        if start:
            self._tail, self._kept = [], 0
        if start < len(data):
            self._tail.append(data[start:])
            self._kept += len(data) - start

    def _hold_tail(self) -> None:
        """Hold the bytes since a boundary near the end of the bytes that the reader has used."""
        unused = self._reader.len()
        if self._tail and len(self._tail[-1]) > unused + 2:
            self._held, self._position, self._boundary = self._tail[-1][-unused - 2 :], unused + 2, -1
            self._advance()
        if self._boundary < 0 or not self._held:
            self._held = b"".join(self._tail)
            self._position, self._boundary = len(self._held), 0
            self._advance()
        self._tail = []

    def _hold(self, data: bytes) -> None:
        """Hold new bytes. Those before them, from a boundary on, are joined to them only if a walk needs them.

        The copy of a large read that is spared takes as long as hiredis takes for a good part of it.
        """
        boundary = self._boundary
        before = self._held[boundary:] if boundary >= 0 else self._before + self._held
        self._before, self._held, self._position, self._boundary = before, data, 0, -len(before)

    def _join_before(self) -> int:
        """Join the bytes before what is held to it; return how far all places move by that."""
        before = -self._boundary
        if before <= 0:
            return 0
        self._held = self._before + self._held
        self._before = b""
        self._boundary = 0
        self._position += before
        self._stop += before
        self._salvage.at += before if self._salvage.at >= 0 else 0
        self._list = self._map = -1
        return before

    def _advance(self) -> None:
        """Find a boundary near the end of the bytes that the reader has used: it drops them once they are 1 KiB."""
        boundary = self._position - self._reader.len()
        held = self._held
        if boundary <= self._boundary or boundary <= 0:
            return
        if held[boundary - 1] != 10:
            # It has used the first byte of an element, too; unless an element ends otherwise than it should, and the
            # next one begins here. Both must end at the same place, or the walk must get lost, as it will at counts.
            boundary -= 1
            first, second = held[boundary], held[boundary + 1 : boundary + 2]
            if first not in COUNTED and (first not in LINES or not second or second in COUNTED):
                return
        self._boundary = boundary

    def _feed_carefully(self, data: bytes, partial: bool) -> None:
        if self._wary:
            self._queue.append(data)
            return
        start = self._pass_left(data) if self._left else 0
        if start == len(data):
            self._reader.feed(data)
            self._last = data[-1]
            return
        if not self._doubt:
            self._examine(data, start, partial)
            return
        held, fed = data, 0
        if not start and self._tail:
            tail = b"".join(self._tail)
            fed = len(tail)
            held = tail + data
        boundary, stop, left = walk(held, start, fed, self._pushes)
        if stop == len(held):
            self._doubt = max(0, self._doubt - len(data))
            self._left = left
            self._tail = [] if left or boundary == stop else [held[boundary:]]
            self._kept = 0
            self._reader.feed(data)
            self._last = data[-1]
        else:
            self._examine(data, start, partial)

    def _pass_left(self, data: bytes) -> int:
        """Return where the element ends that began before the data; the end of the data if it goes on."""
        left = self._left
        if left == IN_LINE:
            end = -1 if self._last == 13 and data[0] == 10 else data.find(b"\r\n")
            if end < 0 and not (self._last == 13 and data[0] == 10):
                return len(data)
            left = end + 2
        self._left = max(0, left - len(data))
        return min(left, len(data))

    def _examine(self, data: bytes, start: int, partial: bool) -> None:
        """Take bytes in which there may be headers from `start` on, where an element begins if that is not 0."""
        if start or not partial or (self._last == 10 and not self._reader.has_data()):
            self._held, self._position, self._boundary = data, 0, start
        else:
            self._hold_tail()
            self._hold(data)
        self._tail = []
        if not partial:
            self._announced.parts = 0
        if self._doubt:
            self._doubt = max(0, self._doubt - len(data))
            self._finding = ASTRAY if self._finding is ASTRAY else WALK
        self._look_ahead()
        if self._stop == len(self._held):
            self._give_on()
            self._release()
            return
        self._between = not partial
        self._wary = True
        self._choose()

    def _look_ahead(self) -> None:
        """Find the first stop in new bytes."""
        self._list = self._map = -1
        self._stop = self._walk(self._position) if self._finding is WALK else self._search(self._position)

    def _refill(self) -> None:
        """Hold the bytes that are left, and those that arrived meanwhile."""
        self._salvage.let_go(self._held, self._queue)
        data = b"".join(self._queue)
        self._queue.clear()
        if not self._left and self._finding is not ASTRAY:
            self._advance()
            near = self._position - self._boundary
            all_given = self._position == len(self._held)
            if all_given and near <= NEAR and self._finding is SEARCH:
                self._hold(data)
                self._look_ahead()
                return
            # A walk to the end of what was given spares the copy of data that is joined to it.
            if near > NEAR or (all_given and near * MUCH < len(data)):
                self._walk(self._position)
        if self._left:
            start = self._pass_left(data)
            self._held, self._position, self._boundary = data, 0, start
            if start == len(data):
                self._stop = start
                self._give_on()
                return
        else:
            self._join_before()
            cut = self._position if self._finding is ASTRAY else min(self._boundary, self._position)
            self._held = self._held[cut:] + data
            self._position -= cut
            self._boundary = max(0, self._boundary - cut)
        self._look_ahead()

    def _release(self) -> None:
        """Hold nothing more, but keep the bytes since a boundary."""
        if self._finding is SEARCH:
            self._advance()
        if self._left or self._finding is ASTRAY:
            self._tail = []
        else:
            self._tail = [self._held[self._boundary :]] if self._boundary >= 0 else [self._before, self._held]
        self._kept = len(self._held) - self._boundary
        self._salvage.at = -1
        self._held, self._position, self._boundary = b"", 0, 0
        if self._finding is WALK:
            self._finding = SEARCH

    # --- Replies out -------------------------------------------------------------------------------------------------

    def _gets_around_headers(self, decode: bool) -> Any:
        """Return the next reply; the reader gets bytes only up to the next header that has to be checked."""
        while True:
            if self._queue and self._used_up():
                self._refill()
            if self._between and not self._change_header():
                return INCOMPLETE
            kind = self._kind
            self._kind = 0  # even if the reply cannot be decoded, because it is consumed then
            try:
                reply = self._reader.gets(decode and kind & 127 != _PUSH)
            except UnicodeDecodeError:
                self._announced.parts = 0
                self._between = not self._reader.has_data()
                raise
            if reply is not INCOMPLETE:
                self._announced.parts = 0
                self._between = not self._reader.has_data()
                if kind:
                    if kind & _HOLDS_MAPS:
                        reply = with_maps(reply)
                    if kind & 127 == _MAP:
                        reply = as_map(reply)
                if self._position == len(self._held):
                    self._leave_if_done()
                return reply
            self._kind = kind
            if self._queue and self._used_up():
                continue
            if self._position == len(self._held):
                self._leave_if_done()
                return INCOMPLETE
            if not self._give():
                return INCOMPLETE

    def _used_up(self) -> bool:
        """Return whether nothing is held, or only a piece of a header."""
        rest = len(self._held) - self._position
        return not rest or (rest < LONG_HEADER and not self._left)

    def _give(self) -> bool:
        """Give the reader the next bytes; return False if there is only a piece of the header of a list."""
        position = self._position
        at_boundary = self._last == 10 and not self._reader.has_data()
        if position == self._stop and not at_boundary and self._finding is not ASTRAY:
            if self._finding is SEARCH:
                self._distrust()
                self._stop = self._walk(self._position)
                position = self._position
            if self._stop == position and not self._is_astray():
                raise ProtocolError("a string that is longer than announced")  # the reader would go on behind it
        if at_boundary or self._finding is ASTRAY:
            if position > self._boundary:
                self._boundary = position
            kind = self._held[position]
            if kind in _NEED_CARE:
                if kind == _MAP:
                    if at_boundary:
                        return self._change_header()
                elif not self._announced.may_go_on(self._held, position):
                    return False
                if kind == _PUSH and at_boundary and not self._kind:
                    self._kind = _PUSH  # a push never stands within a reply
        self._give_on()
        return True

    def _give_on(self) -> None:
        """Give the reader the held bytes up to the next stop."""
        position, stop = self._position, self._stop
        if stop <= position:
            self._stop = stop = self._walk(position + 1) if self._finding is WALK else self._search(position + 1)
            position = self._position  # bytes may have been joined to those before them
        self._reader.feed(self._held, position, stop - position)
        self._last = self._held[stop - 1]
        self._position = stop
        self._between = False

    def _distrust(self) -> None:
        """Walk over elements from now on: bytes that look like a header are part of a value."""
        self._advance()
        self._finding = ASTRAY if self._finding is ASTRAY else WALK
        self._doubt = DOUBT

    def _is_astray(self) -> bool:
        return self._finding is ASTRAY  # a call, because type checkers do not see that a walk may change the attribute

    def _search(self, start: int) -> int:
        """Return the first place where a header of a map, a push or a long list may begin, or the end."""
        if start < self._boundary:
            start = self._boundary
        tries = len(self._held) if self._finding is ASTRAY else TRIES // 4 if self._wary else TRIES
        next_list, next_map = self._list, self._map
        if next_list < start:
            self._list = next_list = find_list(self._held, start, self._lists, self._boundary, self._pushes, tries)
        if next_map < start:
            self._map = next_map = find_map(self._held, start, self._position, self._last, tries)
        if next_list == TOO_MANY or next_map == TOO_MANY:
            if before := self._join_before():
                return self._search(start + before)
            self._distrust()
            return self._walk(start)
        return next_map if next_map < next_list else next_list

    def _walk(self, fed: int) -> int:
        """Return the place of the next header, at `fed` or behind it, or the end."""
        if self._left:
            return len(self._held)  # all of it was walked over
        fed += self._join_before()
        self._boundary, stop, self._left = walk(self._held, self._boundary, fed, self._pushes)
        if stop == LOST:
            self._finding = ASTRAY
            self._doubt = self._left = 0
            self._list = self._map = -1
            return self._search(fed)
        return stop

    def _change_header(self) -> bool:
        """Give the reader the next bytes between two replies, or a map within one, whose header becomes a list's.

        Return False if there is only a piece of a header.
        """
        held, position = self._held, self._position
        if position == len(held):
            return False
        if self._between:
            self._salvage.at = position
        if held[position] != _MAP:
            return self._give()
        end = held.find(b"\r\n", position, position + LONG_HEADER)
        if end < 0:
            if len(held) - position < LONG_HEADER:
                return False
            raise ProtocolError("a header without an end")
        count = held[position + 1 : end]
        if not count.isdigit():
            self._give_on()  # the reader refuses it
            return True
        parts = 2 * int(count)
        if len(count) >= LONG:
            self._announced.add(parts, "a map")
        if self._between:
            self._reader.feed(b"*%d\r\n" % parts)
            self._kind = _MAP
        else:
            self._reader.feed(MARKED % (parts + 1))
            self._kind |= _HOLDS_MAPS
        self._last = 10
        self._position = self._boundary = position = end + 2
        self._between = False
        if parts and position < len(held) and held[position] not in _NEED_CARE:
            self._give_on()
        return True

    def _leave_if_done(self) -> None:
        if self._wary and self._position == len(self._held) and not self._queue and not self._kind:
            self._wary = False
            self._choose()
            self._release()

    broken = staticmethod(broken)
