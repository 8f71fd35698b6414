"""What would have changed the judge's mind: found by asking it again with other counts. Called by the engine and views.

    spared   a decision was just taken: so many bad answers fewer, or so many good ones more, and it would not have been
    to_come  nothing is decided: so many bad answers in a row, and it will be

Every variant is judged by the same arithmetic (`columns`), all of them side by side in one go, so that a decision
waits some milliseconds for it and not a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sternway.domain.evidence import Counts, Evidence, Race
from sternway.domain.guards import JudgeSettings
from sternway.domain.judgements import Judgement, Otherwise, Verdict
from sternway.domain.tallies import Reading
from sternway.judgement import columns
from sternway.judgement.alerts import ALERTS
from sternway.judgement.asking import has_history, question
from sternway.judgement.blocks import CANDIDATE_BAD, CANDIDATE_TOTAL, MAX_BLOCK_S, STABLE_TOTAL, Bools
from sternway.judgement.budget import budget
from sternway.judgement.columns import Batch, Standing
from sternway.judgement.comparison import ERRORS, is_slow
from sternway.judgement.counting import count
from sternway.stats.exact import Ints

AT_ONCE = 48
"""Variants that are judged side by side; the most bad answers that are thought away, or put in a row."""
MORE_AT_MOST = 100_000


def spared(
    settings: JudgeSettings,
    before: Evidence,
    reading: Reading,
    judged: Judgement,
    *,
    now_s: float,
    concurrent: bool = True,
) -> Otherwise | None:
    """Ask again about a decision that was just taken; `before` and `reading` are what it was taken from."""
    if judged.verdict not in (Verdict.HARMFUL, Verdict.SUSPECT) or judged.criterion is None:
        return None
    if judged.criterion in (ALERTS, *(metric.name for metric in settings.metrics)):
        return None  # what metrics have shown is no count of answers
    name = judged.criterion.removesuffix("-history").removesuffix("-objective")
    told = count(before, reading, now_s=now_s)

    def stands(states: Sequence[Evidence], batch: Batch) -> Bools:
        standing = _ask(settings, states, batch, now_s=now_s, concurrent=concurrent)
        return standing.harmful if judged.verdict is Verdict.HARMFUL else standing.suspected | standing.harmful

    def with_good(more: Ints) -> int | None:
        return _first(more, ~stands([before] * more.size, _with_good(told, more)))

    open_bad, new_bad = _bad_in_blocks(before, name), _bad_in(told, before, name)
    less = np.arange(1, min(AT_ONCE, open_bad + new_bad) + 1)
    fewer_bad = None
    if less.size:
        states = [_with_fewer_bad(before, name, max(0, int(k) - new_bad)) for k in less]
        batch = _without_bad(told, before, name, np.minimum(less, new_bad))
        fewer_bad = _first(less, ~stands(states, batch))
    coarse = np.unique(np.geomspace(1, MORE_AT_MOST, AT_ONCE).astype(np.int64))
    more_good = with_good(coarse)
    tried = coarse
    while more_good is not None and more_good > tried[0]:
        below = int(tried[np.searchsorted(tried, more_good) - 1])
        if more_good == below + 1:
            break
        tried = np.unique(np.linspace(below + 1, more_good, AT_ONCE).astype(np.int64))
        more_good = with_good(tried)
    sentence = _spared_words(judged.verdict, fewer_bad, more_good, bad="slow" if is_slow(name) else "bad")
    return Otherwise(sentence=sentence, fewer_bad=fewer_bad, more_good=more_good) if sentence else None


def to_come(settings: JudgeSettings, evidence: Evidence, *, candidate_percent: float) -> Otherwise | None:
    """Say how many bad answers in a row would withdraw the candidate now, and how many condemn it.

    Each to a caller of its own, all within ten seconds, with stable's good ones beside them. Where the candidate has
    no traffic, or stable has none, there is nothing to say.
    """
    if not 0.0 < candidate_percent < 100.0 or evidence.suspected:
        return None
    row = np.arange(1, AT_ONCE + 1)
    batch = _in_a_row(settings, evidence, row, candidate_percent)
    now_s = evidence.now_s + MAX_BLOCK_S
    standing = _ask(settings, [evidence] * row.size, batch, now_s=now_s, concurrent=True)
    withdraws = _first(row, standing.suspected | standing.harmful)
    condemns = _first(row, standing.harmful)
    return Otherwise(sentence=_to_come_words(withdraws, condemns), withdraws=withdraws, condemns=condemns)


def _ask(
    settings: JudgeSettings, states: Sequence[Evidence], batch: Batch, *, now_s: float, concurrent: bool
) -> Standing:
    spent = budget(settings, history=has_history(states[0]))
    beside = np.full(len(states), concurrent)
    times = np.full(len(states), now_s)
    after = columns.fold(settings, spent, columns.pack(states), batch, now_s=times, concurrent=beside)
    return columns.stand(spent, after, concurrent=beside)


def _first(numbers: Ints, found: Bools) -> int | None:
    """Return the smallest number for which it is so."""
    return int(numbers[found.argmax()]) if found.any() else None


def _bad_in_blocks(evidence: Evidence, name: str) -> int:
    """How many bad answers of the candidate are counted but not weighed yet."""
    blocks = [one.block for one in evidence.compared if one.name == name]
    blocks += [one.block for one in evidence.limited if one.name == name]
    blocks += [one.block for one in (evidence.race, *evidence.others) if one.name == name]
    return max((block.candidate_bad for block in blocks), default=0)


def _bad_in(batch: Batch, evidence: Evidence, name: str) -> int:
    """How many bad answers of the candidate were counted since the last look."""
    races = (evidence.race, *evidence.others)
    rows = [row for one, row in zip(races, batch.errors[0], strict=True) if one.name == name]
    rows += [row for one, row in zip(evidence.compared, batch.compared[0], strict=True) if one.name == name]
    rows += [row for one, row in zip(evidence.limited, batch.limited[0], strict=True) if one.name == name]
    return max((int(row[CANDIDATE_BAD]) for row in rows), default=0)


def _repeat(batch: Batch, size: int) -> Batch:
    return Batch(**{name: np.repeat(getattr(batch, name), size, axis=0) for name in Batch.__slots__})


def _with_good(batch: Batch, more: Ints) -> Batch:
    """Add good answers of the candidate, each to a caller of its own."""
    changed = _repeat(batch, more.size)
    changed.answered[:] = True
    changed.errors[:, :, CANDIDATE_TOTAL] += more[:, None]
    changed.compared[:, :, CANDIDATE_TOTAL] += more[:, None]
    changed.limited[:, :, CANDIDATE_TOTAL] += more[:, None]
    return changed


def _without_bad(batch: Batch, evidence: Evidence, name: str, fewer: Ints) -> Batch:
    """Let so many bad answers since the last look be good ones."""
    changed = _repeat(batch, fewer.size)

    def lessen(counts: Ints) -> None:
        counts[:, CANDIDATE_BAD] -= np.minimum(fewer, counts[:, CANDIDATE_BAD])

    for at, race in enumerate((evidence.race, *evidence.others)):
        if race.name == name:
            lessen(changed.errors[:, at])
    for at, compared in enumerate(evidence.compared):
        if compared.name == name:
            lessen(changed.compared[:, at])
    for at, limited in enumerate(evidence.limited):
        if limited.name == name:
            lessen(changed.limited[:, at])
    return changed


def _with_fewer_bad(evidence: Evidence, name: str, fewer: int) -> Evidence:
    """Let so many of the bad answers that wait in open blocks be good ones."""
    if not fewer:
        return evidence

    def lessened(block: Counts) -> Counts:
        return replace(block, candidate_bad=max(0, block.candidate_bad - fewer))

    def in_race(race: Race) -> Race:
        if race.name != name or not race.arms:
            return race
        lead = replace(race.arms[0], bad=max(0, race.arms[0].bad - fewer))
        return replace(race, block=lessened(race.block), arms=(lead, *race.arms[1:]))

    return replace(
        evidence,
        race=in_race(evidence.race),
        others=tuple(in_race(race) for race in evidence.others),
        compared=tuple(replace(c, block=lessened(c.block)) if c.name == name else c for c in evidence.compared),
        limited=tuple(replace(c, block=lessened(c.block)) if c.name == name else c for c in evidence.limited),
    )


def _in_a_row(settings: JudgeSettings, evidence: Evidence, row: Ints, candidate_percent: float) -> Batch:
    """Build k bad answers of the candidate for every k, with as many good ones of stable as the split gives."""
    asked = question(settings, evidence, candidate_percent=candidate_percent)
    nothing = count(evidence, Reading(), now_s=evidence.now_s)
    batch = _repeat(nothing, row.size)
    stable = np.maximum(1, np.round(row * (100.0 - candidate_percent) / candidate_percent)).astype(np.int64)
    batch.answered[:] = True
    for at, compared in enumerate(evidence.compared):
        if compared.name == ERRORS:
            _put(batch.compared[:, at], row, stable)
    for at, limited in enumerate(evidence.limited):
        if limited.name == ERRORS:
            _put(batch.limited[:, at], row, stable)
    _put(batch.errors[:, 0], row, stable)
    batch.arms[:, 0, : asked.arms, 0] = np.maximum(1, np.round(stable * asked.arm_share)).astype(np.int64)[:, None]
    return batch


def _put(counts: Ints, bad: Ints, stable: Ints) -> None:
    counts[:, CANDIDATE_TOTAL] = counts[:, CANDIDATE_BAD] = bad
    counts[:, STABLE_TOTAL] = stable


def _spared_words(verdict: Verdict, fewer_bad: int | None, more_good: int | None, *, bad: str) -> str:
    ways = []
    if fewer_bad is not None:
        ways.append(f"{fewer_bad} {bad} answer{'' if fewer_bad == 1 else 's'} fewer")
    if more_good is not None:
        ways.append(f"{more_good:,} more good one{'' if more_good == 1 else 's'}")
    if not ways:
        return ""
    word = "condemned" if verdict is Verdict.HARMFUL else "withdrawn"
    return f"with {', or '.join(ways)}, at the last look it would not have been {word} then"


def _to_come_words(withdraws: int | None, condemns: int | None) -> str:
    def answers(count: int) -> str:
        return f"{count} bad answer{'' if count == 1 else 's'} in a row"

    if withdraws is None:
        return f"not even {AT_ONCE} bad answers in a row would withdraw it"
    verb = "condemn" if condemns == withdraws else "withdraw"
    words = f"{answers(withdraws)} would {verb} it"
    return f"{words}, {condemns} condemn it" if condemns is not None and condemns > withdraws else words
