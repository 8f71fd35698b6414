"""Every mesh that there is a dialect for, and which of them carries a service. Used by the operator.

A new mesh is one file and one line in `DIALECTS`.
"""

from __future__ import annotations

from sternway.errors import Refused
from sternway.kubernetes.api import Resource
from sternway.traffic.kubernetes.dialect import Dialect
from sternway.traffic.kubernetes.gateway_api import GatewayApi
from sternway.traffic.kubernetes.istio import Istio
from sternway.traffic.kubernetes.linkerd import Linkerd

DIALECTS: tuple[Dialect, ...] = (Istio(), Linkerd(), GatewayApi())
"""Where several would do, the first is taken: a mesh knows more of a service than an entrance to the cluster."""


def dialect(name: str) -> Dialect:
    """The dialect of this name. Raises Refused, naming those that there are."""
    found = next((one for one in DIALECTS if one.name == name), None)
    if found is None:
        known = ", ".join(sorted(one.name for one in DIALECTS))
        raise Refused(f"there is no traffic router named {name!r}", hint=f"Known are: {known}.")
    return found


def kinds() -> tuple[Resource, ...]:
    """Every kind of objects that any dialect reads."""
    return tuple(dict.fromkeys(kind for one in DIALECTS for kind in one.reads))
