"""Which of the built-in metrics tell a service's versions apart, by the mesh that carries it. Used by `asked`."""

from __future__ import annotations

from functools import cache

from sternway.domain.metrics import MESH_ERRORS, MESH_LATENCY, Metric
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


@cache
def mesh_metrics(router: str) -> tuple[Metric, ...]:
    """Give the errors and the latency that the mesh counts; nothing where it is not known under which names."""
    source = SOURCES.get(router)
    if source is None:
        return ()
    wanted = ((MESH_ERRORS, f"{source}-errors"), (MESH_LATENCY, f"{source}-latency"))
    return tuple(Model.model_validate({"name": name, "builtIn": built_in}).to_domain() for name, built_in in wanted)
