"""Policies beside the other manifests: what they mean, and every way to write them wrongly."""

import pytest
from manifest_texts import deployment, guard, load_texts, problems_of, service, together

from sternway.domain.policies import Point, Requirements
from sternway.manifests.explain import explain

WEB = together(deployment(), service())


def rule(spec: str, name: str = "year-end") -> str:
    """Write a Policy."""
    head = f"apiVersion: sternway.dev/v1alpha1\nkind: Policy\nmetadata: {{name: {name}}}\nspec:\n"
    return head + "".join(f"  {line}\n" for line in spec.splitlines())


def window(fields: str) -> str:
    """Write a Policy with one window of freeze."""
    return rule(f"freeze: [{{{fields}}}]")


def test_a_policy_becomes_what_its_words_say():
    """Windows by the clocks of their zones, bounds, and the point of an approval."""
    text = """\
services: ["web", "shop-*"]
except: [shop-test]
freeze:
- {from: 2026-12-18T18:00, to: 2027-01-04T08:00, timeZone: Europe/Berlin}
- {from: fri 16:00, to: mon 08:00, underWay: finish}
- days: [mon, tue]
  from: 18:00
  to: 09:00
require: {strategies: [canary], firstStep: 10%, bake: 5m, falseRollbackRate: 1%, automatic: true, blindThen: [hold]}
approve: {before: promotion}
"""
    (policy,) = load_texts(WEB, rule(text)).policies
    assert (policy.services, policy.excepted, policy.namespace) == (("web", "shop-*"), ("shop-test",), "")
    once, weekend, evenings = policy.freeze
    assert (once.zone, once.once) == ("Europe/Berlin", ("2026-12-18T18:00", "2027-01-04T08:00"))
    assert (weekend.weekly, weekend.finishes) == (((4 * 1440 + 960, 7 * 1440 + 480),), True)
    assert evenings.weekly == ((1080, 1440 + 540), (1440 + 1080, 2880 + 540))
    assert policy.require.first_step_percent == 10
    assert policy.require.bake_s == 300
    assert policy.require.false_rollback_rate == 0.01
    assert policy.approve == (Point.PROMOTION,)


def test_a_time_of_the_day_is_every_day_and_may_end_at_midnight():
    """24:00 is the end of a day."""
    (policy,) = load_texts(WEB, window('from: "22:00", to: "24:00"')).policies
    assert policy.freeze[0].weekly == tuple((day * 1440 + 1320, day * 1440 + 1440) for day in range(7))
    assert policy.require == Requirements()


@pytest.mark.parametrize(
    ("text", "field", "said", "fix"),
    [
        (rule("services: [web]"), "spec", "says nothing", "add `freeze`"),
        (rule("services: []\napprove: {before: exposure}"), "spec.services", "must not be empty", "at least one"),
        (rule("approve: {before: lunch}"), "spec.approve.before", "must be one of exposure, promotion", ""),
        (rule("aprove: {before: exposure}"), "spec.aprove", "unknown field `aprove`", "did you mean `approve`?"),
        (window('from: "25:00", to: "26:00"'), "spec.freeze[0].from", "'25:00' is no time", "`fri 16:00`"),
        (window('from: friday, to: "18:00"'), "spec.freeze[0].from", "'friday' is no time", "`fri 16:00`"),
        (
            window("from: 2026-02-30T10:00, to: 2026-03-01T10:00"),
            "spec.freeze[0].from",
            "in no calendar",
            "that there is",
        ),
        (
            window('from: fri 16:00, to: "08:00"'),
            "spec.freeze[0].to",
            "begins at a day of the week",
            "write both alike",
        ),
        (
            window("from: fri 16:00, to: mon 08:00, days: [fri]"),
            "spec.freeze[0].days",
            "times of the day",
            "take it out",
        ),
        (window("from: 2026-12-18T18:00, to: 2026-12-01T08:00"), "spec.freeze[0].to", "ends before it begins", "later"),
        (window('from: "24:00", to: "08:00"'), "spec.freeze[0].from", "nothing begins at 24:00", "00:00"),
        (
            window('from: "16:00", to: "18:00", timeZone: Berlin'),
            "spec.freeze[0].timeZone",
            "no time zone",
            "Europe/Berlin",
        ),
        (rule("require: {firstStep: 0}"), "spec.require.firstStep", "is nothing", "at least 0.0001"),
    ],
)
def test_what_a_policy_cannot_say_is_refused_at_its_field(text: str, field: str, said: str, fix: str):
    """File, field and fix, as for every other manifest."""
    problem = next(one for one in problems_of(WEB, text) if one.field == field)
    assert said in problem.message
    assert fix in problem.fix


def test_a_guard_that_breaks_a_policy_is_refused_at_the_guards_own_field():
    """The commit is not taken: what was in force stays, and both the policy and the fix are named."""
    (problem,) = problems_of(WEB, guard("bake: {for: 1m}"), rule("require: {bake: 5m}"))
    assert problem.field == "spec.bake.for"
    assert problem.message == "the bake takes 60 s, and policy year-end asks for at least 300 s"
    assert "write `bake: {for: 300s}` or longer" in problem.fix
    assert problem.line == 27


def test_a_service_without_a_guard_must_keep_the_policy_too():
    """The default guard is no way around; the fix is a Guard."""
    (problem,) = problems_of(WEB, rule("require: {strategies: [blueGreen]}"))
    assert problem.field == "spec.require"
    assert "service web has the default guard" in problem.message
    assert "add a Guard" in problem.fix


def test_a_guard_of_another_service_is_left_alone():
    """By name, pattern and `except`."""
    assert not problems_of(WEB, guard("bake: {for: 1m}"), rule("except: [web]\nrequire: {bake: 5m}"))


def test_a_policy_about_nothing_is_noticed():
    """A misspelt service would be unprotected in silence."""
    notices = load_texts(WEB, rule("services: [wbe]\napprove: {before: exposure}")).notices
    assert any("Policy year-end names no service that is there" in notice for notice in notices)


def test_check_says_which_policy_is_about_which_service():
    """One line for each, below the service."""
    catalogue = load_texts(WEB, rule("approve: {before: promotion}", "two-eyes"), window('from: "16:00", to: "18:00"'))
    lines = [line.strip() for line in explain(catalogue) if "policy" in line]
    assert lines == [
        "policy two-eyes: a person approves before it gets all traffic (`sternway approve`)",
        "policy year-end: 1 time of freeze, in which nothing starts and a release under way stays where it is",
    ]
