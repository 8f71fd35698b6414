"""Numbers and times as people read them. Used by everything here that prints."""

from __future__ import annotations

import math
from datetime import datetime


def clock(at_s: float) -> str:
    """Give the local time of day: `14:03:07.250`."""
    return _local(at_s).strftime("%H:%M:%S.%f")[:-3]


def day_and_clock(at_s: float) -> str:
    """Give the local date and time: `22 Nov 14:03:07`."""
    return _local(at_s).strftime("%d %b %H:%M:%S")


def since(start_s: float, at_s: float) -> str:
    """Give the time since a start: `+3.2 s`."""
    passed_s = at_s - start_s
    return f"{'-' if passed_s < 0 else '+'}{duration(abs(passed_s))}"


def duration(seconds: float) -> str:
    """Give a duration with the unit that suits it: `12 ms`, `3.2 s`, `4 min 10 s`, `2 h 5 min`."""
    if seconds < 1.0:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s} s" if rest_s else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def maybe(seconds: float | None) -> str:
    """Give a duration, or nothing."""
    return "" if seconds is None else duration(seconds)


def share(bad: int, total: int) -> str:
    """Give bad of total with its percentage: `12 of 240 (5 %)`."""
    return f"{bad:,} of {total:,} ({percent(100 * bad / total)})" if total else "none"


def percent(value: float) -> str:
    """Give a percentage with as many digits as it needs."""
    return f"{value:.2g} %" if 0 < value < 10 else f"{value:.0f} %"


def odds(value: float) -> str:
    """Give evidence as odds: `340 : 1`, `10^12 : 1`."""
    if value > 1e6:
        return f"10^{math.log10(value):.0f} : 1"
    if value < 1.0:
        return "less than 1 : 1"
    return f"{value:,.0f} : 1" if value >= 10 else f"{value:.1f} : 1"


def size(count: int | None) -> str:
    """Give bytes in MB."""
    return "" if count is None else f"{count / 1_000_000:.0f} MB"


def number(count: int, one: str, many: str = "") -> str:
    """Give a count with its noun: `1 request`, `1,200 requests`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def sentence(text: str) -> str:
    """Begin with a capital letter and end with a full stop."""
    text = text.strip()
    return text if not text else f"{text[:1].upper()}{text[1:]}{'' if text[-1] in '.!?' else '.'}"


def _local(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s).astimezone()
