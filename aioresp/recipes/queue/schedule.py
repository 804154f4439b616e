"""Cron schedules: the ticks of an expression in a time zone.

Owns what clocks that are put forward or back do to a tick. Never reads a clock: times are milliseconds since 1970, of
the server's clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from aioresp.errors import ArgumentError, ArgumentTypeError

#: Time around a change of the clocks, in which some times come twice or never; more than any zone's change.
_NEAR: Final = timedelta(hours=3)

#: Fields of an expression without seconds.
_FIELDS: Final = 5

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Schedule:
    """Ticks of a cron expression: five fields, or six with the seconds first, in a time zone.

    An expression that names an hour and a minute has one tick a day, also on the two days on which clocks change: a
    time that comes twice ticks the first time, a time that is skipped ticks when clocks have been put forward.
    """

    __slots__ = ("expression", "zone")

    def __init__(self, expression: str, tz: str | ZoneInfo) -> None:
        if not isinstance(expression, str):
            raise ArgumentTypeError(f"cron: the expression is text such as '30 2 * * *', not {_kind(expression)}")
        self.expression = " ".join(expression.split())
        self.zone = _zone(tz)
        try:
            next(self._from(_EPOCH))
        except CronSimError as error:
            raise ArgumentError(
                f"cron: '{self.expression}' is no cron expression: {str(error).lower()}; it has the fields minute,"
                " hour, day of month, month, day of week, such as '30 2 * * *', or a field of seconds before them"
            ) from None
        except StopIteration:
            raise ArgumentError(f"cron: '{self.expression}' has no tick in 50 years") from None

    def next(self, after: int) -> int:
        """Return the first tick after that time."""
        for tick in self._from(_moment(after)):
            if (found := _milliseconds(tick)) > after:
                return found
        raise AssertionError("an expression with one tick has more")

    def last(self, until: int) -> int:
        """Return the last tick up to that time, that time included."""
        end = _moment(until)
        for tick in CronSim(self.expression, (end + timedelta(seconds=1)).astimezone(self.zone), reverse=True):
            if (found := _milliseconds(tick)) > until:
                continue
            start = _moment(found)
            if self.expression.count(" ") == _FIELDS - 1 and (self._changes(start) or self._changes(end)):
                # Backwards, cronsim finds other ticks than forwards: of a time that comes twice it skips the first
                # coming, and clocks that change by half an hour confuse it.
                ticks = takewhile(lambda each: each <= until, map(_milliseconds, self._from(start - _NEAR)))
                found = max(ticks, default=until + 1)
            if found <= until:
                return found
        raise AssertionError("an expression with one tick has more")

    def _from(self, start: datetime) -> CronSim:
        return CronSim(self.expression, start.astimezone(self.zone))

    def _changes(self, moment: datetime) -> bool:
        """Return whether clocks are changed near that time."""
        before, after = ((moment + off).astimezone(self.zone) for off in (-_NEAR, _NEAR))
        return before.utcoffset() != after.utcoffset()

    def __str__(self) -> str:
        return f"{self.expression} {self.zone.key}"


def _zone(tz: str | ZoneInfo) -> ZoneInfo:
    if isinstance(tz, ZoneInfo) and tz.key:
        return tz
    if not isinstance(tz, str):
        raise ArgumentTypeError(f"cron: tz is the name of a time zone such as 'Europe/Berlin', not {_kind(tz)}")
    try:
        return ZoneInfo(tz)
    except (ValueError, OSError, LookupError):  # unknown, or a path
        raise ArgumentError(
            f"cron: tz='{tz}' is no time zone that this machine knows; names are like 'Europe/Berlin' (without a"
            " database of zones: pip install tzdata)"
        ) from None


def _kind(value: object) -> str:
    return type(value).__name__


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _milliseconds(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
