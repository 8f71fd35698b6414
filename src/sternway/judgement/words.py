"""The judge's sentences: numbers as a person would say them. Called by `verdict`."""

from __future__ import annotations

from dataclasses import dataclass

from sternway.domain.evidence import Counts, Limited
from sternway.domain.tallies import ErrorClass, LatencyThreshold

_KINDS = {
    ErrorClass.CLIENT.criterion: "were client errors (4xx)",
    ErrorClass.SERVER.criterion: "were server errors (5xx)",
    ErrorClass.TIMEOUT.criterion: "timed out",
    ErrorClass.CONNECTION.criterion: "failed for want of a connection",
    ErrorClass.GRPC.criterion: "had a gRPC status of failure",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a sentence is about. limit: the allowed share of an objective; history: stable's answers are older."""

    name: str
    candidate: str
    stable: str
    counts: Counts
    threshold: LatencyThreshold | None = None
    keyed: bool = False
    limit: float | None = None
    history: bool = False


def times(value: float) -> str:
    """Evidence as odds: `4,100 to 1`."""
    if value > 5e11:
        return "more than 500 billion to 1"
    if value >= 100.0:
        digits = len(str(int(value))) - 2
        return f"{round(value, -digits):,.0f} to 1"
    return f"{value:.0f} to 1" if value >= 10.0 else f"{value:.1f} to 1"


def describe(case: Case) -> str:
    """Who answered how badly, against whom."""
    counts = case.counts
    answers = "separate callers' answers" if case.keyed else "answers"
    sentence = f"{counts.candidate_bad:,} of {counts.candidate_total:,} {answers} of {case.candidate} {_were(case)}"
    if case.limit is not None:
        sentence += f", where the objective allows {_percent(case.limit)}"
        if counts.stable_total:
            sentence += f" ({case.stable}: {counts.stable_bad:,} of {counts.stable_total:,})"
        return sentence
    when = " before it" if case.history else ""
    sentence += f", against {counts.stable_bad:,} of {counts.stable_total:,} of {case.stable}{when}"
    return sentence + _rate_ratio(counts)


def common_trouble(stable: str, candidate: str, limited: Limited) -> str:
    """Both versions miss an objective: nobody's release is to blame."""
    seen = limited.exposure
    return (
        f"both versions miss the objective {limited.name} ({_percent(limited.limit)} may be bad): "
        f"{seen.stable_bad:,} of {seen.stable_total:,} answers of {stable} and "
        f"{seen.candidate_bad:,} of {seen.candidate_total:,} of {candidate} were bad; the release is not to blame"
    )


def _were(case: Case) -> str:
    if case.threshold is None:
        return _KINDS.get(case.name, "were errors")
    if case.threshold.stable_ms == case.threshold.candidate_ms:
        return f"took longer than {case.threshold.stable_ms:g} ms"
    quantile = case.name.removeprefix("latency-")
    return f"were slower than {case.threshold.candidate_ms:.4g} ms ({quantile} of stable and the margin)"


def _rate_ratio(counts: Counts) -> str:
    if not counts.candidate_bad or not counts.stable_bad:
        return ""
    ratio = counts.candidate_bad * counts.stable_total / (counts.candidate_total * counts.stable_bad)
    return f": {ratio:.2g} times the rate" if ratio < 100.0 else f": {ratio:,.0f} times the rate"


def _percent(share: float) -> str:
    return f"{share * 100.0:.4g} %"
