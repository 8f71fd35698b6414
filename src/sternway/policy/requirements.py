"""What a Guard must say where a policy sets bounds on it. Pure; called when a Guard is admitted, and by `bars`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sternway.domain.guards import LEARN_MOST_PERCENT, ABTest, BlueGreen, Canary, Guard, Mode
from sternway.domain.policies import Policy

_NAMES = {Canary: "canary", BlueGreen: "blueGreen", ABTest: "ab"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A field of a Guard (as its manifest writes it) that a policy refuses: what it says, and what it must say."""

    policy: str
    field: str
    message: str
    fix: str


def breaches(policy: Policy, guard: Guard) -> tuple[Breach, ...]:
    """Everything in a Guard that a policy refuses."""
    return tuple(
        Breach(policy=policy.name, field=field, message=f"{said}, and policy {policy.name} asks for {asked}", fix=fix)
        for field, said, asked, fix in _found(policy, guard)
    )


def most_at_first_percent(guard: Guard) -> float | None:
    """The largest share of all users that a candidate may get at first, at any traffic; None where people choose."""
    match guard.strategy:
        case ABTest():
            return None
        case BlueGreen():
            return 100.0
        case Canary(steps=(first, *_)):
            if first.percent is not None:
                return first.percent
            return LEARN_MOST_PERCENT if first.users_hurt is not None else guard.capped_at_percent
        case _:
            return 0.0


def _found(policy: Policy, guard: Guard) -> Iterator[tuple[str, str, str, str]]:
    """(field, what it says, what is asked for, the fix)."""
    asked = policy.require
    name = _NAMES[type(guard.strategy)]
    if asked.strategies and name not in asked.strategies:
        said = "canary (or adaptive)" if name == "canary" else name
        wanted = " or ".join(asked.strategies)
        yield "spec.strategy", f"the strategy is {said}", wanted, f"write `strategy: {{{asked.strategies[0]}: …}}`"
    most, first = asked.first_step_percent, most_at_first_percent(guard)
    if most is not None and first is not None and first > most:
        fix = f"begin with a canary step of `percent: {most:g}` or less"
        yield "spec.strategy", f"the first step may take {first:g} % of the users", f"at most {most:g} %", fix
    if asked.bake_s is not None and guard.bake_s < asked.bake_s:
        fix = f"write `bake: {{for: {asked.bake_s:g}s}}` or longer"
        yield "spec.bake.for", f"the bake takes {guard.bake_s:g} s", f"at least {asked.bake_s:g} s", fix
    rate = guard.judge.false_rollback_rate
    if asked.false_rollback_rate is not None and rate > asked.false_rollback_rate:
        wanted = f"at most {asked.false_rollback_rate:g}"
        fix = f"write `judge: {{falseRollbackRate: {asked.false_rollback_rate:g}}}` or less"
        yield "spec.judge.falseRollbackRate", f"the false-rollback rate is {rate:g}", wanted, fix
    if asked.automatic and guard.mode is not Mode.AUTOMATIC:
        yield "spec.mode", f"the mode is {guard.mode.value}", "automatic rollbacks", "write `mode: automatic`"
    if asked.blind_then and guard.blind_then not in asked.blind_then:
        wanted = " or ".join(then.value for then in asked.blind_then)
        said = f"after blindness it is to {guard.blind_then.value}"
        yield "spec.blind.then", said, wanted, f"write `blind: {{then: {asked.blind_then[0].value}}}`"
