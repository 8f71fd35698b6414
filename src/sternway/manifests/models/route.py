"""Gateway API's HTTPRoute, attached to a Service. What we cannot do is refused in `sternway.manifests.routes`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from sternway.manifests.models.base import Duration, HeaderName, HeaderText, Kube, Natural, Port, Text, names
from sternway.manifests.models.core import Metadata


class ParentRef(Kube):
    """What a route is attached to."""

    group: Text = "gateway.networking.k8s.io"
    kind: Text = "Gateway"
    namespace: Text = ""
    name: Text
    section_name: Text = ""
    port: Port | None = None


class PathMatch(Kube):
    """A condition on the path."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: Text = "/"


class HeaderMatch(Kube):
    """A condition on a header."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    name: HeaderName
    value: HeaderText


class RouteMatch(Kube):
    """Conditions that must all hold."""

    path: PathMatch = Field(default_factory=PathMatch)
    headers: tuple[HeaderMatch, ...] = ()
    query_params: tuple[Any, ...] = ()
    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] | None = None


class HeaderValue(Kube):
    """A header that is written."""

    name: HeaderName
    value: HeaderText


class HeaderModifier(Kube):
    """Changes to headers."""

    set: tuple[HeaderValue, ...] = ()
    add: tuple[HeaderValue, ...] = ()
    remove: tuple[HeaderName, ...] = ()


class Filter(Kube):
    """What happens to a request on its way."""

    type: Text
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_mirror: Any = None
    request_redirect: Any = None
    url_rewrite: Any = None
    cors: Any = None
    external_auth: Any = None
    extension_ref: Any = None


class BackendRef(Kube):
    """Where requests go."""

    group: Text = ""
    kind: Text = "Service"
    name: Text
    namespace: Text = ""
    port: Port | None = None
    weight: Natural = 1
    filters: tuple[Any, ...] = ()


class Timeouts(Kube):
    """How long a request, and one try of it, may take."""

    request: Duration | None = None
    backend_request: Duration | None = None


class Retry(Kube):
    """When a failed request is tried again."""

    codes: tuple[Natural, ...] = ()
    attempts: Natural = 1
    backoff: Duration | None = None


class Rule(Kube):
    """One rule of a route."""

    name: Text = ""
    matches: tuple[RouteMatch, ...] = ()
    filters: tuple[Filter, ...] = ()
    backend_refs: tuple[BackendRef, ...] = ()
    timeouts: Timeouts = Field(default_factory=Timeouts)
    retry: Retry | None = None
    session_persistence: Any = None


class RouteSpec(Kube):
    """Rules, and what they are attached to."""

    unused: ClassVar[frozenset[str]] = names("useDefaultGateways")
    parent_refs: tuple[ParentRef, ...] = ()
    hostnames: tuple[Text, ...] = ()
    rules: tuple[Rule, ...] = Field(default_factory=lambda: (Rule(),))


class HTTPRoute(Kube):
    """A Gateway API HTTPRoute."""

    unused: ClassVar[frozenset[str]] = names("status")
    api_version: Literal["gateway.networking.k8s.io/v1"]
    kind: Literal["HTTPRoute"]
    metadata: Metadata
    spec: RouteSpec
