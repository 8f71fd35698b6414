"""Whether a window of freeze holds at a moment, and when the freeze ends. Pure but for the time zone database.

A freeze is never shorter than it reads: a time that the clock shows twice begins at its first and ends at its second
showing, and a time that the clock leaps over is taken for the earlier beginning and the later end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sternway.domain.policies import Window

_WEEK = timedelta(days=7)
_FOREVER_S = 366 * 86_400.0
"""A freeze that goes on for longer than this has no end that is worth naming."""


def known_zone(name: str) -> bool:
    """Whether there is such a time zone, like `Europe/Berlin`."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of the database, like `Europe`
        return False
    return True


def frozen(windows: Sequence[Window], now_s: float) -> tuple[Window, ...]:
    """The windows that hold now."""
    return tuple(window for window in windows if _end_s(window, now_s) is not None)


def frozen_until(windows: Sequence[Window], now_s: float) -> float | None:
    """When none of the windows holds any more; windows that touch are one. None: not within a year."""
    until_s = now_s
    while until_s - now_s <= _FOREVER_S:
        ends = [end_s for window in windows if (end_s := _end_s(window, until_s)) is not None]
        if not ends:
            return until_s
        until_s = max(ends)
    return None


def _end_s(window: Window, now_s: float) -> float | None:
    """The end of the occurrence that holds at a moment."""
    ends = [end_s for start_s, end_s in _near(window, now_s) if start_s <= now_s < end_s]
    return max(ends, default=None)


def _near(window: Window, now_s: float) -> Iterator[tuple[float, float]]:
    """Every occurrence that may hold at a moment."""
    zone = ZoneInfo(window.zone)
    if window.once is not None:
        start, end = (datetime.fromisoformat(text) for text in window.once)
        yield _earliest_s(start, zone), _latest_s(end, zone)
        return
    today = datetime.fromtimestamp(now_s, UTC).astimezone(zone).date()
    monday = _midnight(today - timedelta(days=today.weekday()))
    for week in (monday - _WEEK, monday, monday + _WEEK):
        for start_min, end_min in window.weekly:
            start, end = (week + timedelta(minutes=minutes) for minutes in (start_min, end_min))
            yield _earliest_s(start, zone), _latest_s(end, zone)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001  the clock on the wall; the zone comes later


def _earliest_s(local: datetime, zone: ZoneInfo) -> float:
    return min(_both_s(local, zone))


def _latest_s(local: datetime, zone: ZoneInfo) -> float:
    return max(_both_s(local, zone))


def _both_s(local: datetime, zone: ZoneInfo) -> tuple[float, float]:
    """A time on the wall by the offset before and after a change of the clocks; nearly always they are the same."""
    first, second = (local.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    return first, second
