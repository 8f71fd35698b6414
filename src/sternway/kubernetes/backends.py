"""Where a service's versions run in a cluster: told by the platform, read by the routers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What reaches the pods of one workload alone.

    workload_id: what runs there. service: a Service of ours that selects its pods, with the ports of the user's Service.
    labels: (key, value), what those pods alone have (Istio's subsets). replicas: how many it has.
    """

    workload_id: str
    service: str
    labels: tuple[tuple[str, str], ...]
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """Of one service. service: its name in the cluster, as users wrote it. ports: (name, port, protocol as `appProtocol`).

    stable: the twin. candidate: the user's own Deployment. A version that is promoted runs in both for a while; `of` names
    the one that takes its traffic now, the twin as soon as it is ready.
    """

    namespace: str
    service: str
    deployment: str
    ports: tuple[tuple[str, int, str], ...]
    stable: Backend | None = None
    candidate: Backend | None = None
    settled: bool = False
    """The twin runs the version that both have, and is ready."""

    def of(self, workload_id: str) -> Backend | None:
        """What takes the traffic of a workload; None where it runs nowhere."""
        order = (self.stable, self.candidate) if self.settled else (self.candidate, self.stable)
        return next((one for one in order if one is not None and one.workload_id == workload_id), None)
