"""What runs through the mesh right now: who calls whom, and how each version and replica does.

Filled by a signal source, shown by the catalogue. For people; the judge is given tallies instead.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Requests of the last 30 to 60 seconds. The quantiles are exact to about 5 %; None without any request."""

    requests: int = 0
    bad: int = 0
    rate_per_s: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """`caller` calls `callee`. An empty caller is the world outside the mesh.

    figures.bad: bad answers that the caller was given. last_s: when the last answer was given; an edge without
    recent requests stays known.
    """

    caller: str
    callee: str
    figures: Figures
    last_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaTraffic:
    """What one replica (`address:port`) answered. figures.bad: bad answers among them."""

    replica: str
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionTraffic:
    """What one version was asked, mirrored requests included.

    figures.bad: requests that failed at their first attempt, whoever answered them in the end.
    replicas: those that answered, by address; a request that the shield rescued is in none of them.
    """

    service: str
    version: str
    figures: Figures
    replicas: tuple[ReplicaTraffic, ...] = ()
