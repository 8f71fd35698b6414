"""Bad answers that look alike, added up and told: which requests decided. Bounded, whatever comes in.

Used by `sternway.signals.counting` within a reading, by `sternway.engine` over a release, and by views.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from sternway.domain.tallies import BadAnswers

KINDS_AT_MOST = 12
OTHER, SLOW = "other", "slow"


def merged(known: Iterable[BadAnswers], new: Iterable[BadAnswers]) -> tuple[BadAnswers, ...]:
    """Add up what looks alike; of each criterion's many kinds, those that come too late are `other`."""
    kinds: dict[tuple[str, str, str, str], BadAnswers] = {}
    counts: dict[str, int] = {}
    for one in (*known, *new):
        key = (one.criterion, one.how, one.replica, one.caller)
        if key not in kinds and counts.get(one.criterion, 0) >= KINDS_AT_MOST:
            one = replace(one, how=OTHER, replica="", caller="")  # noqa: PLW2901 - the same answers, told less closely
            key = (one.criterion, OTHER, "", "")
        before = kinds.get(key)
        if before is None:
            kinds[key] = one
            counts[one.criterion] = counts.get(one.criterion, 0) + 1
            continue
        kinds[key] = replace(
            before,
            count=before.count + one.count,
            first_s=min(before.first_s, one.first_s),
            last_s=max(before.last_s, one.last_s),
        )
    return tuple(kinds.values())


def which_answers(found: Sequence[BadAnswers], criterion: str | None) -> str:
    """Say which answers a judgement by a criterion rests on: how many, within what time, how, by whom, to whom."""
    name = (criterion or "").removesuffix("-history").removesuffix("-objective")
    ours = [one for one in found if one.criterion == name]
    if not ours:
        return ""
    count = sum(one.count for one in ours)
    within_s = max(one.last_s for one in ours) - min(one.first_s for one in ours)
    head = f"{count:,} {'slow' if ours[0].how == SLOW else 'bad'} answer{'' if count == 1 else 's'}"
    head += f" within {within_s:.1f} s" if count > 1 else ""
    parts = [
        _shares(ours, lambda one: "" if one.how == SLOW else one.how, "{count:,} x {name}"),
        _shares(ours, lambda one: one.replica, "{count:,} by {name}"),
        _shares(ours, lambda one: one.caller, "{count:,} to {name}"),
    ]
    told = "; ".join(part for part in parts if part)
    return f"{head}: {told}" if told else head


def _shares(found: Sequence[BadAnswers], part: Callable[[BadAnswers], str], form: str) -> str:
    counts: dict[str, int] = {}
    for one in found:
        counts[part(one)] = counts.get(part(one), 0) + one.count
    named = sorted(((count, name) for name, count in counts.items() if name), key=lambda pair: (-pair[0], pair[1]))
    return ", ".join(form.format(count=count, name=name) for count, name in named)
