"""Linkerd: HTTPRoutes whose parent is the Service, its own (policy.linkerd.io) or the Gateway API's.

Its proxies route at the caller, so only calls from meshed pods are shared out. It does not copy requests. Where a
ServiceProfile exists for the Service, Linkerd ignores routes; then nothing here has an effect.
"""

from __future__ import annotations

from collections.abc import Sequence

from sternway.domain.traffic import Can
from sternway.kubernetes.api import Object, Resource
from sternway.traffic.kubernetes.gateway_api import HTTP_ROUTES, GatewayApi

POLICY_ROUTES = Resource(group="policy.linkerd.io", version="v1beta3", plural="httproutes", kind="HTTPRoute")


class Linkerd(GatewayApi):
    """See the module."""

    name = "linkerd"
    capabilities = frozenset({Can.WEIGHTS, Can.PINS, Can.PREVIEW})
    reads = (POLICY_ROUTES, HTTP_ROUTES)
    routes = reads

    def _routes(self, seen: Sequence[Object]) -> list[Object]:
        parents = ((obj, obj["spec"].get("parentRefs", [])) for obj in super()._routes(seen))
        return [obj for obj, refs in parents if any(ref.get("kind") == "Service" for ref in refs)]

    def _kind_of(self, *, grpc: bool) -> Resource:
        return POLICY_ROUTES

    def _parent(self, name: str, port: int) -> Object:
        return {"group": "core", "kind": "Service", "name": name, "port": port}
