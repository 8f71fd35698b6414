"""What the policies of a service say at a moment. Pure; called by `control.observe` in each pass, and for what people see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from sternway.domain.guards import Guard
from sternway.domain.policies import Bar, Point, Policy, Rule
from sternway.policy.calendar import frozen, frozen_until
from sternway.policy.requirements import breaches

_UNDER_WAY = (Point.MOVE, Point.EXPOSURE, Point.PROMOTION)


def governs(policy: Policy, service: str) -> bool:
    """Whether a policy is about a service. In a cluster a service is NAME.NAMESPACE; a pattern may leave the latter out."""
    name, _, namespace = service.partition(".")
    if policy.namespace and namespace != policy.namespace:
        return False

    def fits(patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(service, one) or fnmatchcase(name, one) for one in patterns)

    return fits(policy.services) and not fits(policy.excepted)


def bars(policies: Sequence[Policy], service: str, guard: Guard | None, now_s: float) -> tuple[Bar, ...]:
    """Everything that speaks against going forward now. guard: what would be released under it."""
    ours = [policy for policy in policies if governs(policy, service)]
    return tuple(bar for policy in ours for bar in (*_frozen(policy, now_s), *_asked(policy), *_refused(policy, guard)))


def _frozen(policy: Policy, now_s: float) -> Iterator[Bar]:
    now = frozen(policy.freeze, now_s)
    if not now:
        return
    until_s = frozen_until(policy.freeze, now_s)
    holds = any(not window.finishes for window in now)
    yield Bar(
        rule=Rule.FREEZE,
        policy=policy.name,
        points=(Point.START, *(_UNDER_WAY if holds else ())),
        sentence=f"frozen {_until(until_s, now[0].zone)} by policy {policy.name}",
        until_s=until_s,
    )


def _asked(policy: Policy) -> Iterator[Bar]:
    for point in policy.approve:
        before = "it gets users" if point is Point.EXPOSURE else "it is promoted"
        said = f"policy {policy.name} asks for a person's approval before {before}: `sternway approve`"
        yield Bar(rule=Rule.APPROVAL, policy=policy.name, points=(point,), sentence=said)


def _refused(policy: Policy, guard: Guard | None) -> Iterator[Bar]:
    for breach in breaches(policy, guard) if guard is not None else ():
        said = f"its Guard is refused ({breach.field}): {breach.message}; {breach.fix}"
        yield Bar(rule=Rule.REQUIREMENT, policy=policy.name, points=(Point.START,), sentence=said)


def _until(until_s: float | None, zone: str) -> str:
    if until_s is None:
        return "until further notice"
    local = datetime.fromtimestamp(until_s, UTC).astimezone(ZoneInfo(zone))
    return f"until {local:%a %Y-%m-%d %H:%M %Z}"
