"""Which of the built-in metrics tell a service's versions apart, by the mesh that carries it. Used by `asked`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from sternway.domain.metrics import MESH_ERRORS, MESH_LATENCY, Metric, Ratio, Slower
from sternway.manifests.builtin_metrics import SOURCES as BUILT_IN
from sternway.manifests.models.metrics import Metric as Model

SOURCES = {
    "istio": "istio",
    "linkerd": "linkerd",
    "contour": "contour",
    "traefik": "traefik",
    "ingress-nginx": "nginx",
}
"""Mesh -> source. Others do not count by version under names that all of their installations share: there a Guard states its
metrics itself."""


_BY_SERVICE = {
    "istio": replace(
        BUILT_IN["istio"],
        labels='reporter="source",destination_service_namespace="$(namespace)",destination_service_name="$(backend)"',
    )
}
"""The same where both versions run in one workload: by the Service that a request's route led to."""


@cache
def mesh_metrics(router: str, *, in_place: bool = False) -> tuple[Metric, ...]:
    """Give the errors and the latency that the mesh counts; nothing where it is not known under which names.

    in_place: both versions run in one workload.
    """
    if in_place:
        told = _BY_SERVICE.get(router)
        if told is None:
            return ()
        errors = Metric(name=MESH_ERRORS, ratio=Ratio(bad=told.errors, total=told.total))
        return errors, Metric(name=MESH_LATENCY, slower=Slower(histogram=told.durations))
    source = SOURCES.get(router)
    if source is None:
        return ()
    wanted = ((MESH_ERRORS, f"{source}-errors"), (MESH_LATENCY, f"{source}-latency"))
    return tuple(Model.model_validate({"name": name, "builtIn": built_in}).to_domain() for name, built_in in wanted)
