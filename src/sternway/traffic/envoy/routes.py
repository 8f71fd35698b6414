"""Routes of a traffic plan, in Envoy's JSON form. Pure; called by the router.

The version is chosen first, by `runtime_fraction` on ordered route entries, because time-outs, retries and
HTTPRoute rules belong to the version. Every entry of one request is compared with the same random number (the
request's stream id), so with cumulative bounds the entries of a version hold exactly its share: the first
version takes numbers below its share, the next one those below the sum of both, the last one the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sternway.domain.mesh import Match, Retries, RouteRule
from sternway.domain.traffic import MILLION, Pin, ShieldPlan, TrafficPlan
from sternway.domain.versions import Service, Version
from sternway.traffic.envoy import names
from sternway.traffic.envoy.clusters import Json, by_id, duration

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_SAFE = {"name": ":method", "string_match": {"safe_regex": {"regex": "|".join(SAFE_METHODS)}}}
_PREVIOUS = "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """A version's slice of the random numbers: from `start` to below `end` (of a million)."""

    version: Version
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How one version's entries are built: what they are called, whom they match, what stands by."""

    name: str
    version: Version
    matchers: tuple[Json, ...] = ()
    below: int | None = None
    by: Version | None = None
    mirror: Json | None = None


def service_routes(plan: TrafficPlan) -> list[Json]:
    """Make the entries of a service: pins first, then the split."""
    ways = [_pin_way(plan, pin) for pin in plan.pins] + [_split_way(plan, share) for share in _shares(plan)]
    return [entry for way in ways for entry in _entries(way)]


def version_routes(version: Version, name: str) -> list[Json]:
    """Entries that send everything to one version."""
    return list(_entries(_Way(name=name, version=version)))


def fault_routes(version: Version) -> list[Json]:
    """Behind the fault injection: no time-out and no retry of its own, the entries before it have them."""
    target = {"cluster": names.local_cluster(version), "timeout": "0s"} | _hash_policy(version)
    return [{"match": {"prefix": "/"}, "route": target}]


def domains(service: Service) -> list[str]:
    """List the names by which other services call this one; ports are ignored."""
    name, within = service.name, f"{service.name}.{service.namespace}"
    return [name, within, f"{within}.svc", f"{within}.svc.cluster.local"]


def no_service() -> Json:
    """Make the virtual host for every name that is no service."""
    text = {"text_format_source": {"inline_string": "no service named %REQ(:AUTHORITY)% in this mesh\n"}}
    answer = {"status": 502, "body_format": text}
    return {
        "name": names.NO_SERVICE,
        "domains": ["*"],
        "routes": [{"name": names.NO_SERVICE, "match": {"prefix": "/"}, "direct_response": answer}],
    }


def statistics_route() -> Json:
    """Let Prometheus read the figures. Envoy answers 404 to everything else, before it reaches the admin interface."""
    read_only = {"name": ":method", "string_match": {"exact": "GET"}}
    return {
        "match": {"path": "/stats/prometheus", "headers": [read_only]},
        "route": {"cluster": names.STATISTICS, "timeout": "10s"},
    }


def _shares(plan: TrafficPlan) -> list[_Share]:
    """Small shares first, so that the last entry, which has no bound, is the version with the most traffic."""
    found, start = [], 0
    for version, ppm in sorted(plan.split.shares, key=lambda share: (share[1], share[0])):
        found.append(_Share(version=by_id(plan, version), start=start, end=start + ppm))
        start += ppm
    return found


def _split_way(plan: TrafficPlan, share: _Share) -> _Way:
    return _Way(
        name=names.SPLIT,
        version=share.version,
        below=None if share.end == MILLION else share.end,
        by=_stands_by(plan, share.version),
        mirror=_mirror_policy(plan, share),
    )


def _pin_way(plan: TrafficPlan, pin: Pin) -> _Way:
    matchers: list[Json] = []
    if pin.header is not None:
        matchers.append(_header(*pin.header))
    if pin.cookie is not None:
        key, value = (re.escape(part) for part in pin.cookie)
        pattern = rf"(?:.*;\s*)?{key}={value}\s*(?:;.*)?"
        matchers.append({"name": "cookie", "string_match": {"safe_regex": {"regex": pattern}}})
    version = by_id(plan, pin.version)
    return _Way(
        name=names.PIN if pin.sample else names.PREVIEW,
        version=version,
        matchers=tuple(matchers),
        by=_stands_by(plan, version) if pin.sample else None,
    )


def _stands_by(plan: TrafficPlan, version: Version) -> Version | None:
    shield: ShieldPlan | None = plan.shield
    return by_id(plan, shield.by) if shield is not None and shield.version == version.id else None


def _mirror_policy(plan: TrafficPlan, share: _Share) -> Json | None:
    """Choose copies by the request's random number too: the fraction is counted within the slice."""
    if plan.mirror is None or plan.mirror.version == share.version.id:
        return None
    numerator = share.start + round((share.end - share.start) * min(100.0, plan.mirror.percent) / 100.0)
    if numerator <= share.start:
        return None
    return {
        "cluster": names.mirror_cluster(plan.service.name),
        "runtime_fraction": {"default_value": {"numerator": numerator, "denominator": "MILLION"}},
        "disable_shadow_host_suffix_append": True,
    }


def _entries(way: _Way) -> Iterator[Json]:
    """Make the entries of a version's rules in their order, then of its default."""
    for rule in (*way.version.policy.rules, RouteRule()):
        method = rule.match.method.upper() if rule.match.method else None
        special = way.by is not None or way.mirror is not None
        if special and (method is None or method in SAFE_METHODS):
            yield _entry(way, rule, safe=True)
        if not special or method not in SAFE_METHODS:
            yield _entry(way, rule, safe=False)


def _entry(way: _Way, rule: RouteRule, *, safe: bool) -> Json:
    match = _match(rule.match)
    match["headers"] = [*way.matchers, *match.get("headers", [])]
    if safe and rule.match.method is None:
        match["headers"].append(_SAFE)
    if way.below is not None:
        match["runtime_fraction"] = {"default_value": {"numerator": way.below, "denominator": "MILLION"}}
    # The version stands in the name too: a cluster without a healthy replica is logged with no name at all.
    entry: Json = {
        "name": f"{way.name}|{names.cluster(way.version)}",
        "match": match,
        "route": _action(way, rule, safe=safe),
    }
    if rule.set_request_headers:
        entry["request_headers_to_add"] = [_set_header(*pair) for pair in rule.set_request_headers]
    if rule.remove_request_headers:
        entry["request_headers_to_remove"] = list(rule.remove_request_headers)
    if rule.set_response_headers:
        entry["response_headers_to_add"] = [_set_header(*pair) for pair in rule.set_response_headers]
    return entry


def _action(way: _Way, rule: RouteRule, *, safe: bool) -> Json:
    policy = way.version.policy
    timeout_ms = policy.timeout_ms if rule.timeout_ms is None else rule.timeout_ms
    action: Json = {"cluster": names.cluster(way.version), "timeout": duration(timeout_ms)}
    retries = rule.retries or policy.retries
    if safe and way.by is not None:
        action |= _rescue(way.version, timeout_ms, _timeout_of(way.by, rule.match))
    elif retries.attempts:
        action["retry_policy"] = _retry_policy(retries)
    if safe and way.mirror is not None:
        action["request_mirror_policies"] = [way.mirror]
    return action | _hash_policy(way.version)


def _rescue(version: Version, timeout_ms: int, stable_timeout_ms: int) -> Json:
    """One retry, at stable. A first attempt that takes too long is not cut off: stable is asked as well.

    The caller waits no longer than the longer of the two versions' time-outs. The candidate has its own
    time-out, and no more than half of the caller's.
    """
    whole_ms = 0 if 0 in (timeout_ms, stable_timeout_ms) else max(timeout_ms, stable_timeout_ms)
    first_ms = min([timeout_ms] * bool(timeout_ms) + [whole_ms // 2] * bool(whole_ms), default=0)
    retry: Json = {
        "retry_on": "5xx,reset,connect-failure",
        "num_retries": 1,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.002s"},
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {"@type": f"type.googleapis.com/{_PREVIOUS}", "update_frequency": 1},
        },
    }
    found: Json = {"cluster": names.shield_cluster(version), "timeout": duration(whole_ms), "retry_policy": retry}
    if first_ms:
        retry["per_try_timeout"] = duration(first_ms)
        found["hedge_policy"] = {"hedge_on_per_try_timeout": True}
    return found


def _timeout_of(version: Version, match: Match) -> int:
    """Find the version's time-out for requests of this match."""
    own = (rule.timeout_ms for rule in version.policy.rules if rule.match == match and rule.timeout_ms is not None)
    return next(own, version.policy.timeout_ms)


def _retry_policy(retries: Retries) -> Json:
    found: Json = {
        "retry_on": ",".join(retries.on),
        "num_retries": retries.attempts,
        "retry_back_off": {"base_interval": duration(max(1, retries.back_off_ms))},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": 3,
    }
    if retries.per_try_timeout_ms is not None:
        found["per_try_timeout"] = duration(retries.per_try_timeout_ms)
    return found


def _hash_policy(version: Version) -> Json:
    if version.policy.hash_header is None:
        return {}
    return {"hash_policy": [{"header": {"header_name": version.policy.hash_header}}]}


def _match(match: Match) -> Json:
    found: Json = {}
    prefix = (match.path_prefix or "/").rstrip("/")
    if match.path_exact is not None:
        found["path"] = match.path_exact
    elif prefix:
        found["path_separated_prefix"] = prefix
    else:
        found["prefix"] = "/"
    headers = [_header(*pair) for pair in match.headers]
    if match.method is not None:
        headers.append(_header(":method", match.method.upper()))
    if headers:
        found["headers"] = headers
    return found


def _header(name: str, value: str) -> Json:
    return {"name": name, "string_match": {"exact": value}}


def _set_header(key: str, value: str) -> Json:
    # A percent sign begins a command of Envoy's; the manifest means the sign itself.
    header = {"key": key, "value": value.replace("%", "%%")}
    return {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
