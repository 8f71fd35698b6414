"""What a platform runs and what it reports of it."""

from __future__ import annotations

from dataclasses import dataclass

from sternway.domain.versions import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadRun:
    """`replicas` of a workload should run. `commit`: where secrets that it refers to are read from."""

    workload: Workload
    replicas: int
    commit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaState:
    """One replica as seen now. `phase`: starting, ready, unready, crashed, stopping.

    message: why it is not ready, for people ("readiness probe: GET /healthz on port 20003 answered 503").
    """

    name: str
    phase: str
    port: int | None = None
    pid: int | None = None
    restarts: int = 0
    started_s: float = 0.0
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadState:
    """A workload as seen now. `failure` is a sentence when it cannot run (crash loop, no such command)."""

    workload_id: str
    image: str
    desired: int
    ready: int
    restarts: int = 0
    failure: str | None = None
    replicas: tuple[ReplicaState, ...] = ()
