"""Metrics and alerts as criteria: what they add to the evidence, to suspicion and to the verdict. Called by `fold`.

A ratio and a value beside stable's are e-processes with their parts of the one error budget. Limits and alerts are rules
that a person wrote: they condemn by what they say, and promise no rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sternway.domain.evidence import Checked, Counts, Evidence, Measured, Ranked, Shared
from sternway.domain.guards import JudgeSettings
from sternway.domain.judgements import Criterion, Judgement, Verdict
from sternway.domain.metrics import Metric, Unseen, Worse
from sternway.domain.tallies import Reading, Tally
from sternway.judgement import alerts
from sternway.judgement.budget import Budget
from sternway.judgement.checked import check_sample, condemns, holds
from sternway.judgement.checked import words as check_words
from sternway.judgement.ranked import STAKES, new_ranked, weigh_sample
from sternway.judgement.ratios import cluster_size, new_ratio, weigh_ratio
from sternway.judgement.words import times
from sternway.stats.shares import WORSE
from sternway.stats.wealth import added, new_wealth

T = TypeVar("T", Shared, Ranked)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weighed:
    """One e-process of a metric, as the verdict needs it."""

    criterion: Criterion
    exposure_e: float
    words: str


def fold_metrics(
    settings: JudgeSettings, evidence: Evidence, reading: Reading, *, now_s: float, before_s: float, exposed: bool
) -> Evidence:
    """Add what was measured. before_s: when the evidence was last looked at; exposed: the candidate has traffic."""
    if not settings.metrics and not settings.alerts:
        return evidence
    measured = evidence.measured
    if exposed and measured.since_s is None:
        measured = replace(measured, since_s=min(before_s, now_s) or now_s)  # traffic was given then
    evidence = replace(evidence, measured=measured)
    return replace(
        evidence,
        measured=replace(
            measured,
            ratios=tuple(_ratios(settings, evidence, reading, now_s=now_s, before_s=before_s)),
            ranked=tuple(_ranked(settings, evidence, reading, exposed=exposed)),
            checked=tuple(_checked(settings, measured, reading, exposed=exposed)),
            alerts=alerts.fold_alerts(settings, evidence, reading) if settings.alerts else (),
        ),
    )


def begin_again(measured: Measured) -> Measured:
    """Begin a new exposure: suspicion starts afresh; what condemns goes on."""
    ratio, sign = new_wealth(len(WORSE)), new_wealth(len(STAKES))
    return replace(
        measured,
        since_s=None,
        ratios=tuple(replace(one, exposure_wealth=ratio) for one in measured.ratios),
        ranked=tuple(
            replace(one, exposure_wealth=sign, length=0, pairs=0, worse=0, since_s=None) for one in measured.ranked
        ),
    )


def find_metric_suspicion(settings: JudgeSettings, spent: Budget, evidence: Evidence) -> tuple[str, str]:
    """Find a metric or an alert that suspects the candidate, and its sentence; ("", "") when none does."""
    suspecting = [one for one in _weighed(settings, spent, evidence) if one.exposure_e >= spent.suspicion]
    if suspecting:
        worst = max(suspecting, key=lambda one: one.exposure_e)
        proof = f"evidence of this exposure {times(worst.exposure_e)} (withdraws at {times(spent.suspicion)})"
        return worst.criterion.name, f"{worst.words}; {proof}"
    alert = alerts.suspecting(settings, evidence)
    return (alerts.ALERTS, alerts.words(alert)) if alert else ("", "")


def add_metrics(settings: JudgeSettings, spent: Budget, evidence: Evidence, judged: Judgement) -> Judgement:
    """Say what metrics and alerts add to a judgement. The criteria before them speak first when they condemn."""
    if not settings.metrics and not settings.alerts:
        return judged
    weighed = tuple(_weighed(settings, spent, evidence))
    judged = replace(
        judged,
        criteria=(*judged.criteria, *(one.criterion for one in weighed)),
        hold=_hold(settings, evidence),
    )
    if judged.verdict is Verdict.HARMFUL:
        return judged
    name, sentence = _condemned(settings, evidence, weighed)
    return replace(judged, verdict=Verdict.HARMFUL, criterion=name, sentence=sentence) if name else judged


def find_unseen(
    settings: JudgeSettings, evidence: Evidence, reading: Reading, *, exposed: bool, concurrent: bool
) -> Unseen | None:
    """Find the criterion that has been out of sight longest, as far as that matters now.

    The candidate's values are missed only while it has traffic, stable's only while it has some beside it. A metric with
    limits bears `consecutiveErrorLimit` measurements without a value.
    """
    matters = {"": True, "candidate": exposed, "stable": concurrent}
    missing = [one for one in reading.unseen if matters[one.role] and one.criterion not in _borne(settings, evidence)]
    return min(missing, key=lambda one: one.since_s, default=None)


def _borne(settings: JudgeSettings, evidence: Evidence) -> tuple[str, ...]:
    """Name the metrics with limits that have been measured, and have not been without a value too often since."""
    known = {one.name: one for one in evidence.measured.checked if one.measured}
    return tuple(
        metric.name
        for metric in settings.metrics
        if metric.limits and metric.name in known
        if known[metric.name].errors <= metric.limits.consecutive_error_limit
    )


def _ratios(
    settings: JudgeSettings, evidence: Evidence, reading: Reading, *, now_s: float, before_s: float
) -> Iterator[Shared]:
    for metric in settings.metrics:
        if metric.ratio or metric.slower:
            known = _named(evidence.measured.ratios, metric.name, new_ratio(metric))
            tallies = [tally for tally in reading.tallies if tally.criterion == metric.name]
            start_s = max((min((t.start_s for t in tallies), default=now_s)), min(before_s, now_s))
            counts = _counts(evidence, tallies)
            weighed = weigh_ratio(metric, known, counts, start_s=start_s, now_s=now_s)
            since_s = start_s if known.since_s is None else known.since_s
            yield _kept(settings, evidence, known, weighed, since_s=since_s)


def _counts(evidence: Evidence, tallies: list[Tally]) -> Counts:
    ours = [tally for tally in tallies if tally.version == evidence.candidate]
    theirs = [tally for tally in tallies if tally.version == evidence.stable]
    return Counts(
        candidate_total=sum(tally.total for tally in ours),
        candidate_bad=sum(tally.bad for tally in ours),
        stable_total=sum(tally.total for tally in theirs),
        stable_bad=sum(tally.bad for tally in theirs),
    )


def _ranked(settings: JudgeSettings, evidence: Evidence, reading: Reading, *, exposed: bool) -> Iterator[Ranked]:
    measured = evidence.measured
    for metric in settings.metrics:
        if metric.versus:
            known = _named(measured.ranked, metric.name, new_ranked(metric))
            for sample in reading.samples:
                if sample.criterion == metric.name:
                    blamed = exposed and _fresh(metric, measured, sample.at_s)
                    weighed = weigh_sample(metric, known, sample, blamed=blamed)
                    since_s = sample.at_s if known.since_s is None else known.since_s
                    known = _kept(settings, evidence, known, weighed, since_s=since_s)
            yield known


def _kept(settings: JudgeSettings, evidence: Evidence, known: T, weighed: T, *, since_s: float) -> T:
    """Let what was measured while the candidate was cold suspect, but not condemn."""
    fresh_s = evidence.candidate_since_s
    cold = settings.warm_up_s and (fresh_s is None or since_s < fresh_s + settings.warm_up_s)
    return replace(weighed, wealth=known.wealth) if cold else weighed


def _checked(settings: JudgeSettings, measured: Measured, reading: Reading, *, exposed: bool) -> Iterator[Checked]:
    for metric in settings.metrics:
        if metric.limits:
            known = _named(measured.checked, metric.name, Checked(name=metric.name))
            for sample in reading.samples:
                if exposed and sample.criterion == metric.name and _fresh(metric, measured, sample.at_s):
                    known = check_sample(metric, known, sample)
            yield known


def _fresh(metric: Metric, measured: Measured, at_s: float) -> bool:
    """Whether a value looks back on nothing but this exposure."""
    delay_s = metric.limits.initial_delay_s if metric.limits else 0.0
    return measured.since_s is not None and at_s - measured.since_s >= max(metric.spans_s, delay_s)


def _condemned(settings: JudgeSettings, evidence: Evidence, weighed: tuple[_Weighed, ...]) -> tuple[str, str]:
    reached = [one for one in weighed if one.criterion.e_value >= one.criterion.needed]
    if reached:
        worst = max(reached, key=lambda one: one.criterion.e_value / one.criterion.needed)
        proof = f"evidence {times(worst.criterion.e_value)} (needs {times(worst.criterion.needed)})"
        return worst.criterion.name, f"{worst.words}; {proof}"
    for metric in settings.metrics:
        known = _named(evidence.measured.checked, metric.name, None)
        if metric.limits and known and condemns(metric.limits, known):
            return metric.name, check_words(metric, known, evidence.candidate)
    alert = alerts.condemning(settings, evidence)
    return (alerts.ALERTS, alerts.words(alert)) if alert else ("", "")


def _hold(settings: JudgeSettings, evidence: Evidence) -> str:
    for metric in settings.metrics:
        known = _named(evidence.measured.checked, metric.name, None)
        if metric.limits and known and holds(metric.limits, known):
            many = f"{known.inconclusive} measurements of {metric.name} were inconclusive"
            return f"{many} ({metric.limits.inconclusive_limit} may be)"
    alert = alerts.holding(evidence)
    return alerts.words(alert) if alert else ""


def _weighed(settings: JudgeSettings, spent: Budget, evidence: Evidence) -> Iterator[_Weighed]:
    measured = evidence.measured
    for metric in settings.metrics:
        ratio = _named(measured.ratios, metric.name, None)
        if ratio and not metric.versus and not metric.limits:
            yield _weigh(ratio, ratio.release, spent, _ratio_words(metric, ratio, evidence))
        ranked = _named(measured.ranked, metric.name, None)
        if ranked and metric.versus:
            counts = Counts(candidate_total=ranked.blocks, candidate_bad=ranked.blocks_worse)
            yield _weigh(ranked, counts, spent, _ranked_words(metric, ranked, evidence))


def _weigh(one: Shared | Ranked, counts: Counts, spent: Budget, words: str) -> _Weighed:
    return _Weighed(
        criterion=Criterion(
            name=one.name,
            unit="interval" if isinstance(one, Shared) else "block",
            candidate_total=counts.candidate_total,
            candidate_bad=counts.candidate_bad,
            stable_total=counts.stable_total,
            stable_bad=counts.stable_bad,
            e_value=added(one.wealth),
            needed=spent.measured,
        ),
        exposure_e=added(one.exposure_wealth),
        words=words,
    )


def _ratio_words(metric: Metric, ratio: Shared, evidence: Evidence) -> str:
    counts, size = ratio.release, cluster_size(ratio)
    unit = "an interval as one" if size is None else f"{size:.2g} of them as one, as stable's come together"
    return (
        f"{metric.name}: {counts.candidate_bad:,} of {counts.candidate_total:,} of {evidence.candidate} against"
        f" {counts.stable_bad:,} of {counts.stable_total:,} of {evidence.stable}, counting {unit}"
    )


def _ranked_words(metric: Metric, ranked: Ranked, evidence: Evidence) -> str:
    assert metric.versus is not None
    side = "above" if metric.versus.worse is Worse.HIGHER else "below"
    last = f" (last {ranked.candidate:g} against {ranked.stable:g})" if ranked.candidate is not None else ""
    return (
        f"{metric.name} of {evidence.candidate} was {side} that of {evidence.stable} in {ranked.blocks_worse} of"
        f" {ranked.blocks} blocks of readings that tell apart{last}"
    )


def _named(known: tuple[Any, ...], name: str, default: Any) -> Any:
    return next((one for one in known if one.name == name), default)
