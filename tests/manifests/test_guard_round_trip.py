"""Any Guard, written as YAML by an independent writer, is loaded as the same value; and no text crashes the loader."""

from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_texts import IMAGES, deployment, dump, guard, policy, together

from sternway.domain import guards
from sternway.domain.tallies import ClusterKey
from sternway.errors import InvalidInput
from sternway.manifests.load import load
from sternway.manifests.models.base import duration, parse_duration

milliseconds = st.integers(0, 10**8).map(lambda count: count / 1000)
shares = st.integers(1, 10_000).map(lambda part: part / 100)
percents = st.integers(0, 100_000).map(lambda part: part / 100)
counts = st.integers(1, 10**6)
names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True)
values = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=10)
quantiles = st.integers(1, 999).map(lambda part: part / 1000)


@st.composite
def canaries(draw):
    """Draw steps that rise: caps first, then percentages."""
    caps = sorted(draw(st.sets(st.integers(1, 1000), max_size=3)))
    weights = sorted(draw(st.sets(shares, min_size=0 if caps else 1, max_size=4)))
    exposures = [{"requests_per_second": float(cap)} for cap in caps] + [{"percent": weight} for weight in weights]
    steps = (
        guards.CanaryStep(**exposure, min_requests=draw(counts), hold_s=draw(milliseconds)) for exposure in exposures
    )
    return guards.Canary(steps=tuple(steps))


pairs = st.tuples(names, values)
ab_tests = st.builds(guards.ABTest, header=pairs, min_requests=counts) | st.builds(
    guards.ABTest, cookie=pairs, min_requests=counts
)
cluster_keys = st.builds(ClusterKey, header=names, mute_s=milliseconds) | st.builds(
    ClusterKey, cookie=names, mute_s=milliseconds
)
judges = st.builds(
    guards.JudgeSettings,
    false_rollback_rate=st.integers(1, 999).map(lambda part: part / 1000),
    suspicion=st.integers(2, 1000).map(float),
    worse_than_percent=percents,
    and_percent=percents,
    cluster_key=st.none() | cluster_keys,
    latency_quantiles=st.sets(quantiles, max_size=4).map(lambda drawn: tuple(sorted(drawn))),
    latency_worse_than_percent=percents,
    warm_up_s=milliseconds,
    edition=st.just(guards.EDITION),
    objectives=st.builds(
        guards.Objectives,
        availability_percent=st.none() | shares,
        latency_ms=st.dictionaries(quantiles, st.integers(1, 10**6).map(float), max_size=3).map(
            lambda drawn: tuple(sorted(drawn.items()))
        ),
    ),
)
gates = st.builds(
    guards.Gate,
    name=st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True),
    before_step=st.sampled_from([1, None]),
    command=st.just("./test --all"),
    timeout_s=milliseconds,
    then=st.sampled_from([guards.Then.ROLLBACK, guards.Then.HOLD]),
)
all_guards = st.builds(
    guards.Guard,
    service=st.just("web"),
    deployment=st.sampled_from(["", "web"]),
    fallback=st.none() | st.just("web-old"),
    mode=st.sampled_from(guards.Mode),
    ask_timeout_s=milliseconds,
    ask_then=st.sampled_from(guards.Then),
    strategy=canaries() | ab_tests | st.builds(guards.BlueGreen, hold_s=milliseconds, automatic_switch=st.booleans()),
    mirror=st.none() | st.builds(guards.MirrorFirst, percent=shares, min_requests=counts),
    bake_s=milliseconds,
    bake_control_percent=shares,
    keep_s=milliseconds,
    shield=st.builds(guards.Shield, enabled=st.booleans(), budget_percent=shares),
    judge=judges,
    withdraw_s=milliseconds,
    blind_s=milliseconds,
    blind_then=st.sampled_from(guards.Then),
    progress_deadline_s=milliseconds,
    gates=st.lists(gates, max_size=3, unique_by=lambda gate: gate.name).map(tuple),
)


def spell_s(seconds):
    """Write seconds, independently of the code under test."""
    return f"{round(seconds * 1000)}ms"


def spell_strategy(strategy):
    """Write a strategy."""
    match strategy:
        case guards.Canary(steps=steps):
            written = [
                {
                    **({"percent": f"{step.percent}%"} if step.percent else {}),
                    **({"requestsPerSecond": step.requests_per_second} if step.requests_per_second else {}),
                    "minRequests": step.min_requests,
                    "hold": spell_s(step.hold_s),
                }
                for step in steps
            ]
            return {"canary": {"steps": written}}
        case guards.BlueGreen(hold_s=hold_s, automatic_switch=automatic):
            return {"blueGreen": {"hold": spell_s(hold_s), "switch": "automatic" if automatic else "manual"}}
        case guards.ABTest() as ab:
            kind, pair = ("header", ab.header) if ab.header else ("cookie", ab.cookie)
            return {"ab": {kind: {"name": pair[0], "value": pair[1]}, "minRequests": ab.min_requests}}


def spell_judge(judge):
    """Write the judge's settings."""
    key, goals = judge.cluster_key, judge.objectives
    written = {
        "falseRollbackRate": judge.false_rollback_rate,
        "suspicion": judge.suspicion,
        "worseThan": f"{judge.worse_than_percent}%",
        "and": judge.and_percent,
        "warmUp": spell_s(judge.warm_up_s),
        "latency": {
            "quantiles": [f"p{round(quantile * 1000) / 10:g}" for quantile in judge.latency_quantiles],
            "worseThan": judge.latency_worse_than_percent,
        },
        "objectives": {
            "latency": {f"p{round(quantile * 1000) / 10:g}": f"{limit:.0f}ms" for quantile, limit in goals.latency_ms}
        },
    }
    if goals.availability_percent is not None:
        written["objectives"]["availability"] = goals.availability_percent
    if key:
        source = {"header": key.header} if key.header else {"cookie": key.cookie}
        written["clusterKey"] = {**source, "mute": spell_s(key.mute_s)}
    return written


def spell_guard(guard):
    """Write a Guard as a manifest."""
    spec = {
        "service": guard.service,
        "mode": guard.mode.value,
        "ask": {"timeout": spell_s(guard.ask_timeout_s), "then": guard.ask_then.value},
        "strategy": spell_strategy(guard.strategy),
        "bake": {"for": spell_s(guard.bake_s), "control": guard.bake_control_percent},
        "keep": spell_s(guard.keep_s),
        "shield": {"enabled": guard.shield.enabled, "budget": f"{guard.shield.budget_percent} %"},
        "judge": spell_judge(guard.judge),
        "withdraw": {"for": spell_s(guard.withdraw_s)},
        "blind": {"bearFor": spell_s(guard.blind_s), "then": guard.blind_then.value},
        "progressDeadline": spell_s(guard.progress_deadline_s),
    }
    if guard.gates:
        spec["gates"] = [
            {
                "name": gate.name,
                "before": "exposure" if gate.before_step else "promotion",
                "command": gate.command,
                "timeout": spell_s(gate.timeout_s),
                "then": gate.then.value,
            }
            for gate in guard.gates
        ]
    if guard.deployment:
        spec["deployment"] = guard.deployment
    if guard.fallback:
        spec["fallback"] = {"deployment": guard.fallback}
    if guard.mirror:
        spec["mirror"] = {"percent": guard.mirror.percent, "minRequests": guard.mirror.min_requests}
    return {"apiVersion": "sternway.dev/v1alpha1", "kind": "Guard", "metadata": {"name": "web"}, "spec": spec}


@settings(max_examples=60, deadline=None)
@given(all_guards)
def test_a_guard_written_as_yaml_is_loaded_as_the_same_guard(guard):
    """Nothing that a Guard says is lost or changed between the manifest and the domain."""
    text = together(deployment(), deployment("web-old"), dump(spell_guard(guard)))
    catalogue = load({"app.yaml": text, "images.yaml": IMAGES})
    assert catalogue.find("web").guard == guard


@given(milliseconds)
def test_a_duration_is_spelt_so_that_it_reads_back(seconds):
    """`duration` and `parse_duration` are each other's inverse, to the millisecond."""
    assert parse_duration(duration(seconds)) == seconds


VALID = together(
    deployment(container="env: [{name: A, value: b}]\nreadinessProbe: {httpGet: {port: 8080}}"),
    guard("strategy:\n  canary:\n    steps:\n    - percent: 5\nbake: {for: 5s, control: 5%}"),
    policy("timeout: 1s\nretries: {attempts: 1, retryOn: [5xx]}"),
)
noise = st.sampled_from(
    [
        "",
        "\t",
        ":",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "*a",
        "&a ",
        "<<: ",
        "null",
        "1",
        "-1",
        ".nan",
        '"',
        "#",
        "\n",
        "~",
        "x: y\n",
    ]
)


def problems_in(text):
    """Load a text; return its problems (never an empty list of them), or None when there are none."""
    try:
        load({"app.yaml": text, "images.yaml": IMAGES})
    except InvalidInput as exc:
        return exc.problems or (None,)
    return None


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(VALID)), st.integers(0, 12), noise)
def test_any_damage_to_a_manifest_is_either_harmless_or_a_problem(start, length, put):
    """Whatever is typed into a manifest, the loader gives a catalogue or a list of problems, each with a file."""
    text = VALID[:start] + put + VALID[start + length :]
    problems = problems_in(text)
    assert problems is None or all(problem.file == "app.yaml" and problem.message for problem in problems)
