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

#: Clocks change by less than this, in any zone. Searches begin so far off: of a time of day that comes twice, cronsim
#: knows the first coming only.
_TWICE: Final = timedelta(hours=3)

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
        off = _TWICE if self._is_daily else timedelta(seconds=1)
        for tick in CronSim(self.expression, (end + off).astimezone(self.zone), reverse=True):
            if (found := _milliseconds(tick)) > until:
                continue
            start = _moment(found) - _TWICE
            if self._changes(start, end + _TWICE) and self.expression.count(" ") == _FIELDS - 1:
                # Backwards, cronsim finds other ticks than forwards where clocks are changed by half an hour.
                ticks = takewhile(lambda each: each <= until, map(_milliseconds, self._from(start)))
                found = max(ticks, default=until + 1)
            if found <= until:
                return found
        raise AssertionError("an expression with one tick has more")

    @property
    def _is_daily(self) -> bool:
        """Whether cronsim takes it to name times of the day: a time that comes twice ticks once."""
        minute, hour, *others = self.expression.split()
        return len(others) == _FIELDS - 2 and not minute.startswith("*") and not hour.startswith("*")

    def _from(self, start: datetime) -> CronSim:
        return CronSim(self.expression, start.astimezone(self.zone))

    def _changes(self, start: datetime, end: datetime) -> bool:
        """Return whether clocks are changed between these times."""
        return start.astimezone(self.zone).utcoffset() != end.astimezone(self.zone).utcoffset()

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
