"""Linkerd: HTTPRoutes whose parent is the Service, its own (policy.linkerd.io) or the Gateway API's.

Its proxies route at the caller, so only calls from meshed pods are shared out. It does not copy requests. Where a
ServiceProfile exists for the Service, Linkerd ignores routes; then nothing here has an effect.
"""

from __future__ import annotations

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

    def names(self, obj: Object) -> frozenset[str]:
        """See Dialect. A route that hangs on a Gateway is none of Linkerd's."""
        parents = obj.get("spec", {}).get("parentRefs", [])
        return super().names(obj) if any(one.get("kind") == "Service" for one in parents) else frozenset()

    def _kind_of(self, *, grpc: bool) -> Resource:  # noqa: ARG002 - its HTTPRoutes carry gRPC too
        return POLICY_ROUTES

    def _parent(self, name: str, port: int) -> Object:
        return {"group": "core", "kind": "Service", "name": name, "port": port}
