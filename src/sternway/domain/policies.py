"""Policies: the platform's rules for releases, and what they say at one moment.

A policy speaks about going forward alone: there is no point here at which a way back could be kept up.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sternway.domain.guards import Then


class Rule(StrEnum):
    """What a policy may ask for."""

    FREEZE = "freeze"
    APPROVAL = "approval"
    REQUIREMENT = "requirement"


class Point(StrEnum):
    """Where a release goes forward: it starts, it moves on, it gets its first users, or all of them."""

    START = "start"
    MOVE = "move"
    EXPOSURE = "exposure"
    PROMOTION = "promotion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What a policy says against going forward now, and at which points. until_s: when it ends by itself, if it does."""

    rule: Rule
    policy: str
    points: tuple[Point, ...]
    sentence: str
    until_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """A person's word that lets one version pass the bars of one rule."""

    version: str
    rule: Rule
    by: str
    at_s: float
    reason: str = ""

    def __str__(self) -> str:
        done = "approved" if self.rule is Rule.APPROVAL else f"{self.rule.value} overridden"
        return f"{done} by {self.by}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time of freeze by the clocks of a time zone: once, or again every week.

    once: from and to as ISO local times. weekly: spans in minutes since Monday 00:00; a span may end in the next week.
    finishes: a release that is under way when it begins goes on; else it is held where it is.
    """

    zone: str
    once: tuple[str, str] | None = None
    weekly: tuple[tuple[int, int], ...] = ()
    finishes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """Bounds on Guards; None and () ask for nothing. strategies: of `canary`, `blueGreen`, `ab`."""

    strategies: tuple[str, ...] = ()
    first_step_percent: float | None = None
    bake_s: float | None = None
    false_rollback_rate: float | None = None
    automatic: bool = False
    blind_then: tuple[Then, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules for some services.

    services, excepted: names or patterns. namespace: its services alone; "" means those of all namespaces.
    approve: the points that a version passes only when a person has approved it.
    """

    name: str
    namespace: str = ""
    services: tuple[str, ...] = ("*",)
    excepted: tuple[str, ...] = ()
    freeze: tuple[Window, ...] = ()
    require: Requirements = Requirements()
    approve: tuple[Point, ...] = ()
