"""How traffic is shared between versions: the value that a traffic router puts into force."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sternway.domain.versions import Service, Version

MILLION = 1_000_000


class Can(StrEnum):
    """What a traffic router is able to do."""

    WEIGHTS = "weights"
    PINS = "pins"
    MIRROR = "mirror"
    SHIELD = "shield"
    PREVIEW = "preview"
    FAULTS = "faults"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Shares of versions in parts per million; they sum to one million exactly. Sorted by version id."""

    shares: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        if any(ppm < 0 for _, ppm in self.shares):
            msg = f"a share is negative: {self.shares}"
            raise ValueError(msg)
        if sum(ppm for _, ppm in self.shares) != MILLION:
            msg = f"shares must sum to 100 %: {self.shares}"
            raise ValueError(msg)
        shares = tuple(sorted((v, ppm) for v, ppm in self.shares if ppm > 0))
        if len({v for v, _ in shares}) != len(shares):
            msg = f"a version stands twice: {self.shares}"
            raise ValueError(msg)
        object.__setattr__(self, "shares", shares)

    @classmethod
    def all_to(cls, version: str) -> Split:
        """Everything to one version."""
        return cls(shares=((version, MILLION),))

    @classmethod
    def between(cls, stable: str, candidate: str, candidate_percent: float) -> Split:
        """`candidate_percent` (0..100) to the candidate, the rest to stable."""
        ppm = max(0, min(MILLION, round(candidate_percent * 10_000)))
        return cls(shares=((stable, MILLION - ppm), (candidate, ppm)))

    def percent(self, version: str) -> float:
        """The share of a version, 0..100."""
        return next((ppm / 10_000 for v, ppm in self.shares if v == version), 0.0)

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that get any traffic."""
        return tuple(v for v, _ in self.shares)

    def __str__(self) -> str:
        return " / ".join(f"{v} {ppm / 10_000:g} %" for v, ppm in self.shares)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Requests that carry this header or cookie go to `version`, whatever the split says (A/B, previews).

    `sample` True: the pinned requests are evidence (A/B). False: they are a person's preview and not judged.
    """

    version: str
    header: tuple[str, str] | None = None
    cookie: tuple[str, str] | None = None
    sample: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorTo:
    """Copies of `percent` of stable's requests go to `version`; their answers reach nobody."""

    version: str
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShieldPlan:
    """Safe requests that fail on `version` are answered by `by`, within their time-out and `budget_percent`."""

    version: str
    by: str
    budget_percent: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPlan:
    """The whole desired treatment of one service's traffic: never a delta."""

    service: Service
    versions: tuple[Version, ...]
    split: Split
    pins: tuple[Pin, ...] = ()
    mirror: MirrorTo | None = None
    shield: ShieldPlan | None = None
    preview: str | None = None

    def __post_init__(self) -> None:
        known = {version.id for version in self.versions}
        used = {*self.split.versions, *(pin.version for pin in self.pins)}
        used |= {self.mirror.version} if self.mirror else set()
        used |= {self.shield.version, self.shield.by} if self.shield else set()
        used |= {self.preview} if self.preview else set()
        if used - known:
            msg = f"traffic names versions that the plan does not hold: {sorted(used - known)}"
            raise ValueError(msg)

    def holds(self, version: str) -> bool:
        """Whether the plan names a version, with traffic or without."""
        return any(v.id == version for v in self.versions)

    def reaches(self, version: str) -> bool:
        """Whether any user's request goes to a version, by weight or by pin."""
        return self.split.percent(version) > 0.0 or any(pin.version == version for pin in self.pins)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One replica's address."""

    address: str
    port: int
    replica: str
    healthy: bool = True
