"""HTTPRoutes that are attached to a Service -> rules of its mesh policy. Called by `sternway.manifests.assemble`.

A rule says how requests to the service are treated; which version answers them is Sternway's own decision. What
a rule cannot do here is refused, never skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

from sternway.domain.mesh import Match, Retries, RouteRule
from sternway.manifests.models.mesh import ms
from sternway.manifests.models.route import Filter, HTTPRoute, ParentRef, RouteMatch, Rule
from sternway.manifests.report import Report
from sternway.manifests.yamltext import Document, Path

_GATEWAY_ERRORS = frozenset({502, 503, 504})
_RETRY_ON = ("gateway-error", "reset", "connect-failure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A route and the Service that it is attached to."""

    document: Document
    route: HTTPRoute
    service: str
    path: Path


def attachments(document: Document, route: HTTPRoute, report: Report) -> tuple[Attached, ...]:
    """Find the Services that a route is attached to. Gateways are not run here: a notice says so."""
    found = []
    for index, parent in enumerate(route.spec.parent_refs):
        path: Path = ("spec", "parentRefs", index)
        if not _is_service(parent):
            said = f"HTTPRoute {route.metadata.name}: its parent {parent.kind} {parent.name} is not used here"
            report.note(document, said, path)
            continue
        found.append(Attached(document=document, route=route, service=parent.name, path=path))
    if not route.spec.parent_refs:
        report.note(document, f"HTTPRoute {route.metadata.name} has no parentRefs and does nothing")
    return tuple(found)


def route_rules(attached: tuple[Attached, ...], report: Report) -> tuple[RouteRule, ...]:
    """Return the rules of all routes of one service, in Gateway API's order of precedence."""
    rules: list[RouteRule] = []
    for one in sorted(attached, key=lambda one: (one.route.metadata.namespace, one.route.metadata.name)):
        if one.route.spec.hostnames:
            said = "a route of a Service takes no hostnames"
            report.wrong(one.document, ("spec", "hostnames"), said, "take them out: callers use the Service's own name")
        for index, rule in enumerate(one.route.spec.rules):
            rules += _rules(one, rule, ("spec", "rules", index), report)
    return tuple(sorted(rules, key=_precedence))


def _is_service(parent: ParentRef) -> bool:
    return parent.kind == "Service" and parent.group in ("", "core")


def _precedence(rule: RouteRule) -> tuple[bool, int, bool, int]:
    """Exact paths first, then longer prefixes, then a method, then more headers; else the order of the file."""
    match = rule.match
    path = match.path_exact or match.path_prefix or ""
    return (match.path_exact is None, -len(path), match.method is None, -len(match.headers))


def _rules(attached: Attached, rule: Rule, path: Path, report: Report) -> list[RouteRule]:
    document = attached.document
    _check_backends(attached, rule, path, report)
    if rule.session_persistence is not None:
        fix = "use MeshPolicy's loadBalancing with RING_HASH"
        report.wrong(document, (*path, "sessionPersistence"), "session persistence is not done here", fix)
    set_request: list[tuple[str, str]] = []
    set_response: list[tuple[str, str]] = []
    removed: list[str] = []
    for index, item in enumerate(rule.filters):
        at: Path = (*path, "filters", index)
        if not _check_filter(document, item, at, report):
            continue
        if item.request_header_modifier:
            set_request += [(header.name, header.value) for header in item.request_header_modifier.set]
            removed += item.request_header_modifier.remove
        if item.response_header_modifier:
            set_response += [(header.name, header.value) for header in item.response_header_modifier.set]
    timeout_ms = _timeout(document, rule, path, report)
    retries = _retries(document, rule, path, report)
    matches = rule.matches or (RouteMatch(),)
    return [
        RouteRule(
            match=_match(document, match, (*path, "matches", index), report),
            timeout_ms=timeout_ms,
            retries=retries,
            set_request_headers=tuple(set_request),
            remove_request_headers=tuple(removed),
            set_response_headers=tuple(set_response),
        )
        for index, match in enumerate(matches)
    ]


def _check_backends(attached: Attached, rule: Rule, path: Path, report: Report) -> None:
    fix = "leave backendRefs out: Sternway shares the traffic between the versions of the service"
    if len(rule.backend_refs) > 1:
        said = "traffic is not split by a route's backends"
        report.wrong(attached.document, (*path, "backendRefs"), said, fix)
    for index, backend in enumerate(rule.backend_refs):
        at: Path = (*path, "backendRefs", index)
        if (backend.kind, backend.group, backend.name) != ("Service", "", attached.service):
            said = f"a route of {attached.service} cannot send requests to {backend.kind} {backend.name}"
            report.wrong(attached.document, (*at, "name"), said, fix)
        if backend.weight == 0:
            said = "a weight of 0 would leave the service without an answer"
            report.wrong(attached.document, (*at, "weight"), said, "take the weight out")
        if backend.filters:
            said = "filters of a backend are not done here"
            report.wrong(attached.document, (*at, "filters"), said, "put them under the rule's own filters")


def _check_filter(document: Document, item: Filter, path: Path, report: Report) -> bool:
    names = {"RequestHeaderModifier": "requestHeaderModifier", "ResponseHeaderModifier": "responseHeaderModifier"}
    if item.type not in names:
        fix = "RequestHeaderModifier and ResponseHeaderModifier are done; mirroring is the Guard's `mirror`"
        report.wrong(document, (*path, "type"), f"the filter {item.type} is not done here", fix)
        return False
    if item.model_fields_set - {"type"} != {_snake(names[item.type])}:
        said = f"a filter of type {item.type} needs {names[item.type]}, and nothing else"
        report.wrong(document, path, said, f"write `{names[item.type]}:` below `type`")
        return False
    modifier = item.request_header_modifier or item.response_header_modifier
    assert modifier
    at: Path = (*path, names[item.type])
    if modifier.add:
        report.wrong(document, (*at, "add"), "headers are set here, not added to", "use `set`")
    if modifier.remove and item.response_header_modifier:
        said = "response headers cannot be removed here"
        report.wrong(document, (*at, "remove"), said, "use `set`, or remove them in the service")
    return True


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _timeout(document: Document, rule: Rule, path: Path, report: Report) -> int | None:
    request, one_try = rule.timeouts.request, rule.timeouts.backend_request
    for name, value in (("request", request), ("backendRequest", one_try)):
        if value is not None and ms(value) < 1:
            said = "no time-out at all is not done here"
            report.wrong(
                document, (*path, "timeouts", name), said, "write how long you would really wait, such as `60s`"
            )
    if request is not None and one_try is not None and one_try > request:
        said = "one try may take longer than the whole request"
        report.wrong(document, (*path, "timeouts", "backendRequest"), said, "write a shorter backendRequest")
    if request is None and one_try is not None and rule.retry is None:
        return ms(one_try)
    return ms(request) if request is not None else None


def _retries(document: Document, rule: Rule, path: Path, report: Report) -> Retries | None:
    if rule.retry is None:
        return None
    if rule.retry.codes and frozenset(rule.retry.codes) != _GATEWAY_ERRORS:
        said = "these retry codes cannot be done here"
        fix = "write `codes: [502, 503, 504]`, leave codes out, or use MeshPolicy's retries"
        report.wrong(document, (*path, "retry", "codes"), said, fix)
    one_try, default = rule.timeouts.backend_request, Retries()
    return Retries(
        attempts=rule.retry.attempts,
        per_try_timeout_ms=ms(one_try) if one_try is not None else None,
        on=_RETRY_ON if rule.retry.codes else default.on,
        back_off_ms=max(1, ms(rule.retry.backoff)) if rule.retry.backoff is not None else default.back_off_ms,
    )


def _match(document: Document, match: RouteMatch, path: Path, report: Report) -> Match:
    if match.path.type == "RegularExpression":
        said = "regular expressions are not matched here"
        report.wrong(document, (*path, "path", "type"), said, "use PathPrefix or Exact")
    elif not match.path.value.startswith("/"):
        report.wrong(document, (*path, "path", "value"), "a path begins with `/`", f"write `/{match.path.value}`")
    for index, header in enumerate(match.headers):
        if header.type != "Exact":
            said = "regular expressions are not matched here"
            report.wrong(document, (*path, "headers", index, "type"), said, "use Exact")
    if match.query_params:
        said = "query parameters are not matched here"
        report.wrong(document, (*path, "queryParams"), said, "match by path or header")
    exact = match.path.type == "Exact"
    return Match(
        path_exact=match.path.value if exact else None,
        path_prefix=None if exact else match.path.value,
        method=match.method,
        headers=tuple((header.name.lower(), header.value) for header in match.headers),
    )
