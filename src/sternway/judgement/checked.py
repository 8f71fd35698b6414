"""A value against limits, counted as Argo Rollouts and Flagger count. Called by `metrics`.

    a value outside of min and max fails; with failMin or failMax it fails only beyond these and is inconclusive between
    more than failureLimit failures in all     condemn (Flagger's `threshold` is failureLimit + 1)
    more than inconclusiveLimit inconclusive   hold
    more than consecutiveErrorLimit without a value, one after the other: blind. (There it is a failed release.)
    count measurements made                    done: nothing more is measured

What fails for stable at the same moment is nobody's fault and does not count. These are rules, not tests: they promise no
rate, and take no part of the error budget.
"""

from __future__ import annotations

from dataclasses import replace

from sternway.domain.evidence import Checked
from sternway.domain.metrics import Limits, Metric, Sample


def check_sample(metric: Metric, known: Checked, sample: Sample) -> Checked:
    """Count one measurement."""
    limits = metric.limits
    assert limits is not None
    if limits.count is not None and known.measured >= limits.count:
        return known
    value = sample.candidate
    if value is None:
        return replace(known, errors=known.errors + 1)
    known = replace(known, errors=0, last=value, measured=known.measured + 1)
    if within(value, limits.min, limits.max):
        return known
    if not fails(limits, value):
        return replace(known, inconclusive=known.inconclusive + 1)
    if limits.comparative and sample.stable is not None and fails(limits, sample.stable):
        return replace(known, common=known.common + 1)
    return replace(known, failed=known.failed + 1, failure=value)


def fails(limits: Limits, value: float) -> bool:
    """Whether a value is a failure."""
    if within(value, limits.min, limits.max):
        return False
    if limits.fail_min is None and limits.fail_max is None:
        return True
    return not within(value, limits.fail_min, limits.fail_max)


def within(value: float, low: float | None, high: float | None) -> bool:
    """Whether a value is between two limits, which belong to it."""
    return (low is None or value >= low) and (high is None or value <= high)


def condemns(limits: Limits, known: Checked) -> bool:
    """More failures than are allowed."""
    return known.failed > limits.failure_limit


def holds(limits: Limits, known: Checked) -> bool:
    """More inconclusive measurements than are allowed."""
    return known.inconclusive > limits.inconclusive_limit


def words(metric: Metric, known: Checked, candidate: str) -> str:
    """What was measured, for people."""
    limits = metric.limits
    assert limits is not None
    bounds = [f"at least {limits.min:g}"] if limits.min is not None else []
    bounds += [f"at most {limits.max:g}"] if limits.max is not None else []
    value = known.failure if known.failure is not None else known.last
    return (
        f"{metric.name} of {candidate} was {value:g}, which must be {' and '.join(bounds)};"
        f" {known.failed} of {known.measured} measurements failed ({limits.failure_limit} may)"
        if value is not None
        else f"{metric.name} of {candidate} has not been measured yet"
    )
