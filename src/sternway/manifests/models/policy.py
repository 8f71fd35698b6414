"""The Policy manifest (sternway.dev/v1alpha1) and how it becomes a `sternway.domain.policies.Policy`."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from sternway.domain import guards, policies
from sternway.manifests.models.base import Chance, Duration, Flag, Ours, Text, Weight, Words, not_empty, wrong
from sternway.manifests.models.core import Metadata
from sternway.policy import known_zone

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MIN, _WEEK_MIN = 24 * 60, 7 * 24 * 60
_TIME = r"(([01]\d|2[0-3]):[0-5]\d|24:00)"
_MOMENT = rf"(\d{{4}}-\d{{2}}-\d{{2}}T([01]\d|2[0-3]):[0-5]\d|({'|'.join(DAYS)}) {_TIME}|{_TIME})"
_FORMS = {16: "a date", 9: "a day of the week", 5: "a time of the day"}


def _parse_moment(value: Any) -> str:
    """`2026-12-18T18:00`, `fri 16:00` or `16:00`."""
    if not isinstance(value, str) or not re.fullmatch(_MOMENT, value):
        raise wrong(f"{value!r} is no time", "write for example `2026-12-18T18:00`, `fri 16:00` or `16:00`")
    if len(value) == len("2026-12-18T18:00"):
        try:
            datetime.fromisoformat(value)
        except ValueError as exc:
            raise wrong(f"{value} is in no calendar", "write a day that there is") from exc
    return value


def _parse_zone(value: Any) -> str:
    if not isinstance(value, str) or not known_zone(value):
        raise wrong(f"{value!r} is no time zone", "write a name like `Europe/Berlin`, or `UTC`")
    return value


Moment = Annotated[
    str,
    BeforeValidator(_parse_moment),
    WithJsonSchema({"type": "string", "pattern": f"^{_MOMENT}$", "maxLength": 16}),
    Words("time"),
]
Zone = Annotated[
    str, BeforeValidator(_parse_zone), WithJsonSchema({"type": "string", "maxLength": 64}), Words("time zone")
]
Patterns = tuple[Annotated[Text, Field(min_length=1, max_length=253)], ...]


class FreezeWindow(Ours):
    """A time in which nothing new is released: once, every week, or on every one of some days."""

    from_: Moment = Field(alias="from")
    """When it begins, by the clocks of `timeZone`: `2026-12-18T18:00` once, `fri 16:00` every week, or `16:00` every day."""
    to: Moment
    """When it ends, written alike. `16:00` to `08:00` ends on the next day, `fri 16:00` to `mon 08:00` in the next week."""
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()
    """For times of the day: the days on which it begins. Without it: every day."""
    time_zone: Zone = "UTC"
    """Whose clocks, with their summer time: `Europe/Berlin`."""
    under_way: Literal["hold", "finish"] = "hold"
    """What becomes of a release that is under way when it begins: `hold` keeps it where it is, with the share that it has;
    `finish` lets it go on. Harm takes it back in either case."""

    @model_validator(mode="after")
    def _alike(self) -> FreezeWindow:
        begins, ends = len(self.from_), len(self.to)
        if begins != ends:
            said = f"it begins at {_FORMS[begins]} and ends at {_FORMS[ends]}"
            raise wrong(said, "write both alike", ("to",))
        if self.days and begins != len("16:00"):
            raise wrong("`days` goes with times of the day", "take it out, or write `from: 16:00`", ("days",))
        if self.from_.endswith("24:00"):
            raise wrong("nothing begins at 24:00", "write `00:00` of the next day", ("from",))
        if self.from_ == self.to or (begins == len("2026-12-18T18:00") and self.to < self.from_):
            raise wrong("it ends before it begins", "write a later `to`", ("to",))
        return self

    def to_domain(self) -> policies.Window:
        """Return the domain's value."""
        finishes = self.under_way == "finish"
        if "T" in self.from_:
            return policies.Window(zone=self.time_zone, once=(self.from_, self.to), finishes=finishes)
        if " " in self.from_:
            spans: tuple[tuple[int, int], ...] = (_span(_minutes(self.from_), _minutes(self.to), _WEEK_MIN),)
        else:
            daily = _span(_minutes(self.from_), _minutes(self.to), _DAY_MIN)
            starts = (DAYS.index(day) * _DAY_MIN for day in self.days or DAYS)
            spans = tuple((start + daily[0], start + daily[1]) for start in starts)
        return policies.Window(zone=self.time_zone, weekly=spans, finishes=finishes)

    def __str__(self) -> str:
        days = (
            f"{', '.join(self.days)} " if self.days else "" if " " in self.from_ or "T" in self.from_ else "every day "
        )
        return f"{days}{self.from_} to {self.to} {self.time_zone}"


def _minutes(text: str) -> int:
    """`fri 16:00` -> minutes since Monday; `16:00` -> minutes of the day."""
    day, _, time = text.rpartition(" ")
    hours, minutes = time.split(":")
    return (DAYS.index(day) * _DAY_MIN if day else 0) + int(hours) * 60 + int(minutes)


def _span(start: int, end: int, length: int) -> tuple[int, int]:
    return start, end if end > start else end + length


class Require(Ours):
    """Bounds on Guards. A Guard beyond one is refused, and no release begins under it."""

    strategies: tuple[Literal["canary", "blueGreen", "ab"], ...] = ()
    """Which strategies a Guard may have; `adaptive`, the default of Guards, is a canary."""
    first_step: Weight | None = None
    """The largest share of users that the first exposure may take. A step in `requestsPerSecond` counts as what it may
    become where there is little traffic: 10 %, or 50 % with a `clusterKey`; blue-green counts as 100 %."""
    bake: Duration | None = None
    """The shortest `bake.for`."""
    false_rollback_rate: Chance | None = None
    """The largest `judge.falseRollbackRate`."""
    automatic: Flag = False
    """Whether rollbacks must be automatic: no `mode: ask`."""
    blind_then: tuple[Literal["rollback", "hold", "promote"], ...] = ()
    """What `blind.then` may say."""

    def to_domain(self) -> policies.Requirements:
        """Return the domain's value."""
        return policies.Requirements(
            strategies=self.strategies,
            first_step_percent=self.first_step,
            bake_s=self.bake,
            false_rollback_rate=self.false_rollback_rate,
            automatic=self.automatic,
            blind_then=tuple(guards.Then(then) for then in self.blind_then),
        )


class Approve(Ours):
    """A person must agree to each version (`sternway approve`, or `sternway promote`)."""

    before: Literal["exposure", "promotion"]
    """`exposure`: before it gets its first users; it starts, is copied to and has its preview address without.
    `promotion`: before it gets all of them. A version that was proven good before needs nobody's approval."""


class PolicySpec(Ours):
    """Which services it is about, and what holds for them. Nothing here ever keeps a rollback up."""

    services: Annotated[Patterns, AfterValidator(not_empty)] = ("*",)
    """Names of services, or patterns with `*` and `?`. Without it: every service. In a cluster those of the Policy's own
    namespace; of all namespaces where the Policy stands in Sternway's own, and then `*.shop` means those of one."""
    except_: Patterns = Field(default=(), alias="except")
    """Names or patterns of services that it is not about."""
    freeze: tuple[FreezeWindow, ...] = ()
    """When nothing new is released. `sternway override SERVICE --reason …` lets one version pass."""
    require: Require | None = None
    """Bounds on the services' Guards."""
    approve: Approve | None = None
    """Where a person must agree."""

    @model_validator(mode="after")
    def _something(self) -> PolicySpec:
        if not self.freeze and self.require is None and self.approve is None:
            raise wrong("this policy says nothing", "add `freeze`, `require` or `approve`")
        return self


class Policy(Ours):
    """A rule of the platform: when nothing is released, what Guards must say, and where a person must agree.

    It keeps ways forward up and never a way back: no freeze and no approval delays a withdrawal or a rollback.
    """

    api_version: Literal["sternway.dev/v1alpha1"]
    """`sternway.dev/v1alpha1`"""
    kind: Literal["Policy"]
    """`Policy`"""
    metadata: Metadata
    """Name, and labels if you like."""
    spec: PolicySpec
    """What holds, and for whom."""

    def to_domain(self, namespace: str = "") -> policies.Policy:
        """Return the domain's value. namespace: the one that it is about; "" for all."""
        spec = self.spec
        return policies.Policy(
            name=self.metadata.name,
            namespace=namespace,
            services=spec.services,
            excepted=spec.except_,
            freeze=tuple(window.to_domain() for window in spec.freeze),
            require=spec.require.to_domain() if spec.require else policies.Requirements(),
            approve=(policies.Point(spec.approve.before),) if spec.approve else (),
        )
