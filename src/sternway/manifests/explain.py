"""What would happen on the next change, in plain sentences. Called by `sternway check`."""

from __future__ import annotations

from sternway.domain.guards import ABTest, BlueGreen, Canary, CanaryStep, Gate, Guard, Mode, Then
from sternway.domain.metrics import Metric, OnAlert
from sternway.domain.releases import Wanted
from sternway.manifests.catalogue import Catalogue
from sternway.manifests.models.base import duration
from sternway.manifests.models.guard import spell_quantile
from sternway.manifests.ruling import ruled

_THEN = {
    Then.ROLLBACK: "it is rolled back",
    Then.HOLD: "everything stays as it is until somebody decides",
    Then.PROMOTE: "it is promoted",
}

_ON_ALERT = {
    OnAlert.ROLLBACK: "takes it back",
    OnAlert.WITHDRAW: "withdraws its traffic while it fires",
    OnAlert.HOLD: "holds it while it fires",
}


def explain(catalogue: Catalogue) -> tuple[str, ...]:
    """Say for each service what runs and what its next release will go through; one line each."""
    places = {source.service: f"{source.file}:{source.line}" for source in catalogue.guards}
    lines: list[str] = []
    for wanted in catalogue.wanted:
        lines += _service(wanted, places.get(wanted.service.name))
        lines += [f"  {line}" for line in ruled(catalogue.policies, wanted.service.name)]
    return tuple(lines)


def _service(wanted: Wanted, place: str | None) -> list[str]:
    address = f"port {wanted.service.port}" if wanted.service.port else "no address"
    guard = f"guarded by {place}" if place else "with the default guard"
    image = wanted.version.workload.image
    head = f"{wanted.service.name} ({address}): {_count(wanted.replicas, 'replica')} of {image}, {guard}"
    if wanted.service.port is None:
        steps = [
            "it gets no requests through the mesh, so only its replicas' health can be judged",
            f"a new version that is not ready within {duration(wanted.guard.progress_deadline_s)} is rolled back",
        ]
    else:
        steps = [*_exposure(wanted.guard), *_judging(wanted.guard), *_shield(wanted.guard)]
    steps += [*_rollback(wanted), _blindness(wanted.guard)]
    files = ", ".join(f"{kind} {name} ({path})" for path, kind, name in wanted.documents)
    return [head, f"  a release begins when one of these changes: {files}", *(f"  {step}" for step in steps)]


def _exposure(guard: Guard) -> list[str]:
    lines = [f"the new version starts beside the old; not ready within {duration(guard.progress_deadline_s)}: rollback"]
    if guard.mirror:
        share = f"{guard.mirror.percent:g} % of the requests are copied to it"
        lines.append(f"first {share}, until it has answered {guard.mirror.min_requests}; no user sees its answers")
    match guard.strategy:
        case Canary(steps=steps):
            lines += [_step(index, len(steps), step) for index, step in enumerate(steps, start=1)]
            lines += _never_less(guard, steps)
            lines.append("then it gets all traffic")
        case BlueGreen(hold_s=hold_s, automatic_switch=automatic):
            who = "all traffic switches to it at once" if automatic else "it waits there for `sternway promote`"
            lines.append(f"it stands at a preview address for at least {duration(hold_s)}, then {who}")
        case ABTest(min_requests=count) as ab:
            kind, (name, value) = ("header", ab.header) if ab.header else ("cookie", ab.cookie or ("", ""))
            lines.append(f"requests with the {kind} {name}: {value} go to it until it has answered {count}")
            lines.append("then it gets all traffic")
    lines += [_gate(gate) for gate in guard.gates]
    if guard.bake_s > 0:
        control = guard.bake_control_percent
        kept = f"the old version keeps {control:g} % to compare with" if control else "without traffic to compare with"
        lines.append(f"for {duration(guard.bake_s)} after that, harm still takes it back; {kept}")
    lines.append(f"the old version is stopped {duration(guard.keep_s)} later")
    return lines


def _step(index: int, steps: int, step: CanaryStep) -> str:
    if step.users_hurt is not None:
        share = f"10 % or more, but so that a bad version fails about {step.users_hurt:g} requests at most"
    elif step.requests_per_second is not None:
        share = f"at most {step.requests_per_second:g} requests/s"
    else:
        share = f"{step.percent:g} %"
    hold = f" and {duration(step.hold_s)} have passed" if step.hold_s else ""
    sure = f" and is surely {step.until} (or {duration(step.within_s)} have passed)" if step.until else ""
    return f"step {index} of {steps}: {share}, until it has answered {step.min_requests} requests{hold}{sure}"


def _gate(gate: Gate) -> str:
    what = f"`{gate.command}`" if gate.command else "a Job"
    then = "it is rolled back" if gate.then is Then.ROLLBACK else "it is held until somebody decides"
    return f"{gate.point}, gate {gate.name} ({what}) must succeed within {duration(gate.timeout_s)}; else {then}"


def _never_less(guard: Guard, steps: tuple[CanaryStep, ...]) -> list[str]:
    """A cap in requests per second may be a larger share than the percentage of a later step."""
    caps = [step.requests_per_second for step in steps if step.requests_per_second is not None]
    shares = [step.percent for step in steps if step.percent is not None and step.percent < guard.capped_at_percent]
    if not caps or not shares:
        return []
    cap, share = max(caps), min(shares)
    below = f"{100 * cap / share:g} requests/s"
    return [f"a step never takes less than the one before it: under {below} in all, {cap:g} are more than {share:g} %"]


def _judging(guard: Guard) -> list[str]:
    judge = guard.judge
    margin = f"more errors than the old version by {judge.worse_than_percent:g} % and {judge.and_percent:g} points"
    rate = f"{judge.false_rollback_rate * 100:g} %"
    lines = [f"harm is {margin}; a healthy release is taken back in at most {rate} of all cases"]
    if judge.latency_quantiles:
        quantiles = ", ".join(spell_quantile(one) for one in judge.latency_quantiles)
        lines.append(f"harm is also being slower at {quantiles} by more than {judge.latency_worse_than_percent:g} %")
    lines += [
        f"harm is also more {one.kind} errors, counted alone, by {one.worse_than_percent:g} % and {one.and_percent:g} points"
        for one in judge.alone
    ]
    if judge.warm_up_s:
        words = f"in its first {duration(judge.warm_up_s)} it may be worse: that withdraws it, but does not condemn it"
        lines.append(words)
    goals = judge.objectives
    if goals.availability_percent is not None:
        lines.append(f"harm is also answering less than {goals.availability_percent:g} % well")
    for quantile, limit_ms in goals.latency_ms:
        lines.append(f"harm is also a {spell_quantile(quantile)} above {duration(limit_ms / 1000)}")
    if judge.cluster_key:
        key = judge.cluster_key
        source = f"header {key.header}" if key.header else f"cookie {key.cookie}"
        lines.append(f"errors of one {source} within {duration(key.mute_s)} count once")
    lines += [f"harm is also {_measured(metric)}" for metric in judge.metrics]
    for rule in judge.alerts:
        labels = ", ".join(f"{label}={value}" for label, value in rule.match)
        lines.append(f"an alert with {labels} {_ON_ALERT[rule.then]}")
    return lines


def _measured(metric: Metric) -> str:
    every = f"looked at every {duration(metric.interval_s)}"
    if metric.ratio:
        margin = f"{metric.ratio.worse_than_percent:g} % and {metric.ratio.and_percent:g} points"
        return f"a larger share in {metric.name} than the old version's by {margin}, {every}"
    if metric.slower:
        return f"slowness in {metric.name} beyond the old version's {spell_quantile(metric.slower.quantile)}, {every}"
    if metric.versus:
        margin = f"{metric.versus.worse_than_percent:g} %"
        margin += f" and {metric.versus.and_value:g}" if metric.versus.and_value else ""
        return f"a {metric.versus.worse.value} {metric.name} than the old version's by {margin}, {every}"
    limits = metric.limits
    assert limits is not None
    bounds = [f"below {limits.min:g}"] if limits.min is not None else []
    bounds += [f"above {limits.max:g}"] if limits.max is not None else []
    often = "at once" if not limits.failure_limit else f"more than {limits.failure_limit} times"
    return f"{metric.name} {' or '.join(bounds)} {often}, {every}"


def _shield(guard: Guard) -> list[str]:
    if not guard.shield.enabled:
        return ["the shield is down: what fails on the new version fails for its caller"]
    share = f"up to {guard.shield.budget_percent:g} % of the requests under way"
    return [f"GET, HEAD and OPTIONS requests that fail on it are answered by the old version ({share})"]


def _rollback(wanted: Wanted) -> list[str]:
    guard = wanted.guard
    lines = [f"on suspicion it gets no traffic for {duration(guard.withdraw_s)} and is then tried again"]
    if guard.mode is Mode.ASK:
        wait = f"for {duration(guard.ask_timeout_s)}; then {_THEN[guard.ask_then]}"
        lines.append(f"once harm is sure, traffic stays off it and a person is asked {wait}")
    else:
        lines.append("once harm is sure, all traffic goes back, the commit is reverted and the version is held")
    if wanted.fallback:
        standing = f"{guard.fallback} ({wanted.fallback.workload.image})"
        lines.append(
            f"{standing} always stands by with {_count(wanted.fallback_replicas, 'replica')} as rollback target"
        )
    return lines


def _blindness(guard: Guard) -> str:
    return f"when nothing can be seen, nothing moves for {duration(guard.blind_s)}; then {_THEN[guard.blind_then]}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
