"""Values survive the journal bit for bit, today's and tomorrow's."""

from __future__ import annotations

import json
from dataclasses import is_dataclass, replace
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sternway.domain.guards import ABTest, BlueGreen, Canary, CanaryStep, Guard
from sternway.domain.releases import Decision, Observation, Progress
from sternway.domain.tallies import Tally
from sternway.domain.versions import Probe, Version, Workload
from sternway.errors import StoreUnavailable
from sternway.ports import Entry
from sternway.store.codec import INTERNED, TAGGED, Encoded, Encoder, decode
from store.values import CANDIDATE, STABLE, a_pass, is_union, reachable, values

TYPES = [kind for kind in reachable(Entry) if is_dataclass(kind) and kind is not Entry]


def read(kind: Any, encoded: Encoded) -> Any:
    """Decode with the interned values at hand."""

    def look_up(digest: str) -> object:
        value = encoded.interned[digest]
        return decode(INTERNED[value.kind], value.text, look_up)

    return decode(kind, encoded.text, look_up)


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_every_value_survives_bit_for_bit(kind: Any) -> None:
    """Floats (-0.0, nan and infinities too), unions and nested values come back exactly as they were."""

    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(values(kind))
    def survives(value: Any) -> None:
        back = read(kind, Encoder().encode(value))

        assert type(back) is kind
        assert repr(back) == repr(value)

    survives()


@given(st.text(alphabet=st.characters()))
def test_every_text_can_be_written(text: str) -> None:
    """Nothing that a program prints can make a record fail: what no database takes becomes `?`."""
    back = read(Progress, Encoder().encode(Progress(service=text)))

    assert back.service == text.encode("utf-8", "replace").decode()


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    """Half a UTF-16 pair, which Python allows and databases refuse, does not block a record."""
    assert read(Progress, Encoder().encode(Progress(service="a\ud800b"))).service == "a?b"


@pytest.mark.parametrize(
    "strategy",
    [
        Canary(),
        Canary(steps=(CanaryStep(percent=5),)),
        BlueGreen(),
        BlueGreen(hold_s=3),
        ABTest(),
        ABTest(header=("a", "b")),
    ],
    ids=repr,
)
def test_strategies_are_told_apart_even_when_all_is_default(strategy: Any) -> None:
    """A blue-green guard without settings does not come back as a canary."""
    back = read(Guard, Encoder().encode(Guard(service="orders", strategy=strategy)))

    assert back.strategy == strategy
    assert type(back.strategy) is type(strategy)


def test_every_choice_between_dataclasses_is_tagged() -> None:
    """A new union in the domain without a tag fails here, not in somebody's journal."""
    unions = [kind for kind in reachable(Entry) if is_union(kind)]
    choices = [[one for one in get_args(union) if is_dataclass(one)] for union in unions]
    several = [kind for choice in choices if len(choice) > 1 for kind in choice]

    assert several
    assert set(several) <= set(TAGGED.values())


def test_fields_of_a_newer_sternway_are_ignored() -> None:
    """A journal that a newer Sternway wrote within the same schema can be read."""
    encoded = Encoder().encode(Tally(version="v", criterion="errors", start_s=1.0, end_s=2.0, total=3, bad=1))
    newer = json.dumps({**json.loads(encoded.text), "weather": {"$new": "rain"}})

    assert decode(Tally, newer, lambda _: None).total == 3


def test_fields_of_an_older_sternway_get_their_defaults() -> None:
    """A field that did not exist yet reads as its default."""
    assert decode(Progress, '{"service":"orders"}', lambda _: None) == Progress(service="orders")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"service":[]}', '{"$type":"Nonsense"}', "null"])
def test_damaged_text_is_an_error_with_a_hint(text: str) -> None:
    """What cannot be read is said, not guessed."""
    with pytest.raises(StoreUnavailable) as error:
        decode(Progress, text, lambda _: None)

    assert error.value.hint


def test_a_version_is_written_once_for_all_its_places() -> None:
    """A pass names its two versions many times; their files are in it once."""
    entry = a_pass(1.0)

    encoded = [Encoder().encode(value) for value in (entry.observation, entry.decision, entry.progress)]

    assert all("key: value" not in one.text for one in encoded)
    assert sum(value.kind == "Version" for value in encoded[2].interned.values()) == 2
    assert read(Observation, encoded[0]) == entry.observation
    assert read(Decision, encoded[1]) == entry.decision


def test_equal_but_different_numbers_are_not_mixed_up() -> None:
    """A workload whose probe says -0.0 is not read back as the equal one that says 0.0."""
    zero = Workload(image="a", readiness=Probe(initial_delay_s=1.0))
    minus = replace(zero, readiness=Probe(initial_delay_s=-0.0, period_s=1.0))
    encoder = Encoder()
    versions = [replace(STABLE, workload=workload) for workload in (zero, minus, replace(minus, readiness=Probe()))]

    assert [repr(read(Version, encoder.encode(v))) for v in versions] == [repr(v) for v in versions]


def test_workload_ids_survive() -> None:
    """The platform knows processes by their workload's id: a restart of Sternway must not change it."""
    assert read(Version, Encoder().encode(CANDIDATE)).workload.id == CANDIDATE.workload.id
