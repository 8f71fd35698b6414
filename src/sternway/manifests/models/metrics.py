"""Metrics and alerts of a Guard -> `sternway.domain.metrics`. Part of `models.guard`."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from sternway.domain import metrics
from sternway.domain.notices import OUR_PREFIX, about_us
from sternway.manifests import promql
from sternway.manifests.builtin_metrics import NAMES, SOURCES
from sternway.manifests.models.base import (
    Count,
    Duration,
    Natural,
    Number,
    Ours,
    Percent,
    Text,
    Words,
    not_empty,
    parse_quantile,
    quantile_schema,
    spelled,
    wrong,
)

_METRIC = metrics.Metric(name="", slower=metrics.Slower(histogram=""))
_RATIO = metrics.Ratio(bad="", total="")
_VERSUS = metrics.Versus(query="", worse=metrics.Worse.HIGHER)
_LIMITS = metrics.Limits(query="")
_ALERT = metrics.AlertRule(match=())
_KINDS = ("ratio", "latency", "compare", "threshold", "builtIn")
_RESERVED = ("errors", "hurt", "alerts")
_LEAST_INTERVAL_S = 0.2


def _checked(check: Callable[[str], None]) -> AfterValidator:
    def validate(query: str) -> str:
        try:
            check(query)
        except promql.Mistake as mistake:
            raise wrong(mistake.message, mistake.fix) from None
        return query.strip()

    return AfterValidator(validate)


Selector = Annotated[Text, _checked(promql.check_selector), Words("selector of a counter")]
Query = Annotated[Text, _checked(promql.check), Words("PromQL")]


class Ratio(Ours):
    """Two counters: what happens, and what of it is bad."""

    bad: Selector
    """The counter of what is bad, without `rate()`: Sternway counts for itself, over resets and missing scrapes."""
    total: Selector
    """The counter of everything, the bad included."""
    worse_than: Percent = _RATIO.worse_than_percent
    """Up to this much higher a share than stable's is tolerated."""
    and_: Percent = Field(default=_RATIO.and_percent, alias="and")
    """This many percentage points on top are tolerated."""


class Buckets(Ours):
    """A histogram of durations, classic or native."""

    buckets: Selector
    """The buckets (`…_bucket`) of a classic histogram, or a native histogram."""
    quantile: Annotated[float, BeforeValidator(parse_quantile), quantile_schema(), Words("quantile")] = (
        _METRIC.slower.quantile if _METRIC.slower else 0.0
    )
    """Slow is what takes longer than this quantile of stable, rounded up to the end of a bucket."""


class Compare(Ours):
    """The value of `query` beside stable's."""

    worse: Literal["higher", "lower"]
    """In which direction a value is harm."""
    worse_than: Percent = _VERSUS.worse_than_percent
    """Up to this much worse than stable's value is tolerated."""
    and_: Number = Field(default=_VERSUS.and_value, alias="and", ge=0)
    """This much on top is tolerated, in the unit of the value."""


class Threshold(Ours):
    """Limits for the value of `query`, counted as Argo Rollouts and Flagger count."""

    min: Number | None = None
    """A lower value fails."""
    max: Number | None = None
    """A higher value fails."""
    fail_min: Number | None = None
    """If stated, only a value below this fails; between this and `min` it is inconclusive."""
    fail_max: Number | None = None
    """If stated, only a value above this fails; between `max` and this it is inconclusive."""
    failure_limit: Natural = _LIMITS.failure_limit
    """So many measurements may fail, in all; one more rolls back. (Flagger's `threshold`, less one.)"""
    consecutive_error_limit: Natural = _LIMITS.consecutive_error_limit
    """So many measurements in a row may have no value; from one more on, the guard is blind."""
    inconclusive_limit: Natural = _LIMITS.inconclusive_limit
    """So many measurements may be inconclusive, in all; one more holds the release for a person."""
    count: Count | None = None
    """The measurements end after so many. Without it: never."""
    initial_delay: Duration = Field(default=spelled(_LIMITS.initial_delay_s))
    """How long an exposure lasts before it is measured. At least what the query looks back on is always waited."""

    @model_validator(mode="after")
    def _some(self) -> Threshold:
        if self.min is None and self.max is None:
            raise wrong("a threshold needs min or max", "write one of them, or both")
        for low, high, name in ((self.fail_min, self.min, "failMin"), (self.max, self.fail_max, "failMax")):
            if low is not None and high is not None and low > high:
                raise wrong(f"{name} lies inside of what is good", "write it further out", (name,))
        for beyond, limit, name in ((self.fail_min, self.min, "min"), (self.fail_max, self.max, "max")):
            if beyond is not None and limit is None:
                raise wrong(f"`{name}` is missing", f"write where good ends as `{name}`")
        return self


class Metric(Ours):
    """One criterion out of a monitoring system: exactly one of ratio, latency, compare, threshold and builtIn."""

    name: Annotated[Text, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$"), Words("name")]
    """What it is called in sentences and in the journal."""
    interval: Duration = Field(default=spelled(_METRIC.interval_s))
    """How often it is measured: not more often than Prometheus scrapes."""
    window: Duration = Field(default=spelled(_METRIC.window_s))
    """What `$(window)` stands for in a query."""
    query: Query | None = None
    """For `compare` and `threshold`: a query with one value. `$(version)`, `$(tag)`, … are filled in."""
    ratio: Ratio | None = None
    """The share of what is bad, beside stable's."""
    latency: Buckets | None = None
    """The share of what is slow, beside stable's."""
    compare: Compare | None = None
    """A value beside stable's."""
    threshold: Threshold | None = None
    """A value within limits."""
    built_in: Text | None = None
    """Errors or latency as a mesh counts them, for example `istio-errors`: see docs/metrics.md."""

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name in _RESERVED or name.startswith(("errors-", "latency-", "objective-")):
            raise wrong(f"the name {name} is Sternway's own", "choose another one")
        return name

    @field_validator("interval")
    @classmethod
    def _long_enough(cls, interval_s: float) -> float:
        if interval_s < _LEAST_INTERVAL_S:
            raise wrong(
                f"an interval of {interval_s:g} s is too short", f"write at least {_LEAST_INTERVAL_S * 1000:g}ms"
            )
        return interval_s

    @field_validator("built_in")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in NAMES:
            near = get_close_matches(name, NAMES, n=1, cutoff=0.6)
            raise wrong(
                f"no metric {name} is built in",
                f"did you mean `{near[0]}`?" if near else f"there is: {', '.join(NAMES)}",
            )
        return name

    @model_validator(mode="after")
    def _one(self) -> Metric:
        stated = [kind for kind in _KINDS if getattr(self, "built_in" if kind == "builtIn" else kind) is not None]
        if len(stated) != 1:
            said = f"a metric is exactly one of {', '.join(_KINDS)}; here: {', '.join(stated) or 'none'}"
            raise wrong(said, "keep one of them")
        asks = stated[0] in ("compare", "threshold")
        if asks and self.query is None:
            raise wrong(f"`{stated[0]}` needs `query`", "write the PromQL whose value is looked at")
        if not asks and self.query is not None:
            raise wrong(f"`query` is nothing to `{stated[0]}`", "take it out", ("query",))
        self._refuse_the_same_for_both()
        return self

    def _refuse_the_same_for_both(self) -> None:
        selectors: list[tuple[tuple[str, ...], str]] = []
        if self.ratio:
            selectors = [(("ratio", "bad"), self.ratio.bad), (("ratio", "total"), self.ratio.total)]
        elif self.latency:
            selectors = [(("latency", "buckets"), self.latency.buckets)]
        elif self.compare and self.query is not None:
            selectors = [(("query",), self.query)]
        for at, query in selectors:
            if not promql.tells_apart(query):
                raise wrong("this does not tell versions apart", 'add a label, for example `version="$(tag)"`', at)

    def to_domain(self) -> metrics.Metric:
        """Return the domain's value."""
        shared: dict[str, Any] = {"name": self.name, "interval_s": self.interval, "window_s": self.window}
        if self.query is not None:
            shared["spans_s"] = promql.spans_s(self.query, window_s=self.window)
        if self.built_in:
            source, _, what = self.built_in.rpartition("-")
            found = SOURCES[source]
            if what == "errors":
                return metrics.Metric(**shared, ratio=metrics.Ratio(bad=found.errors, total=found.total))
            return metrics.Metric(**shared, slower=metrics.Slower(histogram=found.durations))
        if self.latency:
            slower = metrics.Slower(histogram=self.latency.buckets, quantile=self.latency.quantile)
            return metrics.Metric(**shared, slower=slower)
        return metrics.Metric(**shared, ratio=self._ratio(), versus=self._versus(), limits=self._limits())

    def _ratio(self) -> metrics.Ratio | None:
        ratio = self.ratio
        return (
            None
            if ratio is None
            else metrics.Ratio(
                bad=ratio.bad, total=ratio.total, worse_than_percent=ratio.worse_than, and_percent=ratio.and_
            )
        )

    def _versus(self) -> metrics.Versus | None:
        compare = self.compare
        return (
            None
            if compare is None
            else metrics.Versus(
                query=self.query or "",
                worse=metrics.Worse(compare.worse),
                worse_than_percent=compare.worse_than,
                and_value=compare.and_,
            )
        )

    def _limits(self) -> metrics.Limits | None:
        limits = self.threshold
        return (
            None
            if limits is None
            else metrics.Limits(
                query=self.query or "",
                min=limits.min,
                max=limits.max,
                fail_min=limits.fail_min,
                fail_max=limits.fail_max,
                failure_limit=limits.failure_limit,
                consecutive_error_limit=limits.consecutive_error_limit,
                inconclusive_limit=limits.inconclusive_limit,
                count=limits.count,
                initial_delay_s=limits.initial_delay,
                comparative=promql.tells_apart(self.query or ""),
            )
        )


def refuse_ours(match: dict[str, str]) -> dict[str, str]:
    """Refuse a rule for alerts about Sternway itself: they never judge a release, so it would wait for nothing."""
    if about_us(match):
        fix = f"match an alert of the service; names that begin with {OUR_PREFIX} are left out"
        raise wrong("alerts about Sternway itself judge no release", fix, ("alertname",))
    return match


class AlertRule(Ours):
    """Which alerts count for the releases of this service, and what they do."""

    match: Annotated[
        dict[str, Text], AfterValidator(not_empty), AfterValidator(refuse_ours), Words("mapping of label to text")
    ]
    """Labels that an alert must have, all of them; a `*` in a value stands for anything."""
    on_alert: Literal["rollback", "withdraw", "hold"] = Field(default=_ALERT.then.value)
    """`rollback` takes the release back, `withdraw` its traffic while the alert fires, `hold` lets it not go on."""

    def to_domain(self) -> metrics.AlertRule:
        """Return the domain's value."""
        return metrics.AlertRule(match=tuple(sorted(self.match.items())), then=metrics.OnAlert(self.on_alert))


def refuse_equal_names(found: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """Each metric has a name of its own."""
    names: set[str] = set()
    for index, metric in enumerate(found):
        if metric.name in names:
            raise wrong(f"a second metric {metric.name}", "give each a name of its own", (index, "name"))
        names.add(metric.name)
    return found
