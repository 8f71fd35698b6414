"""What counters have counted, out of raw samples: resets, gaps, births, two servers."""

from hypothesis import given
from hypothesis import strategies as st

from sternway.signals.counters import Growth, Series

A = {"__name__": "orders_total", "job": "shop", "instance": "a:1"}


def series(*samples, **labels):
    """Write samples of one series."""
    return Series({**A, **labels}, list(samples))


def grown(growth, *found):
    """How much all series have grown together."""
    return sum(growth.take(found).values())


def test_what_was_there_before_is_no_growth():
    """A counter's first value is as old as its process."""
    assert grown(Growth(), series((1, 500), (2, 510))) == 10


def test_samples_that_were_taken_once_are_not_taken_again():
    """Ranges overlap; only what is newer counts."""
    growth = Growth()
    grown(growth, series((1, 5)))
    assert grown(growth, series((1, 5), (2, 8))) == 3
    assert grown(growth, series((1, 5), (2, 8))) == 0


def test_a_reset_counts_what_has_come_since():
    """100 -> 7 is 7 more, wherever in the range it stands."""
    growth = Growth()
    grown(growth, series((1, 90)))
    assert grown(growth, series((2, 100), (3, 7), (4, 9))) == 10 + 7 + 2


def test_a_missing_scrape_costs_nothing():
    """The next value holds what was missed; a series that was away comes back where it was."""
    growth = Growth()
    grown(growth, series((1, 10)))
    assert grown(growth) == 0
    assert grown(growth, series((60, 25))) == 15


def test_a_series_that_is_born_at_a_known_target_counts_from_nothing():
    """The first error of a version is its counter's first value, which increase() never sees."""
    growth = Growth()
    grown(growth, series((1, 10), code="200"))
    assert grown(growth, series((2, 20), code="200"), series((2, 4), code="500")) == 14


def test_a_series_of_a_new_target_counts_from_its_first_value():
    """A target that was not scraped before may have counted for years."""
    growth = Growth()
    grown(growth, series((1, 10)))
    assert grown(growth, series((2, 10)), series((2, 9_000), (3, 9_001), instance="b:1")) == 1


def test_the_bad_ones_know_a_target_by_the_total():
    """The counter of errors has no series yet, but its sibling has shown the target."""
    targets: dict = {}
    bad, total = Growth(targets=targets), Growth(targets=targets)
    assert grown(bad) == 0
    grown(total, series((1, 10)))
    assert grown(bad, series((2, 3), code="500")) == 3


def test_siblings_that_come_to_a_new_target_together_begin_together():
    """Errors and total are first seen in one scrape: both begin there, or one would be missed and the other one not.

    So it is too when one of the two was asked for a moment before that scrape had been stored.
    """
    for seen in ([(1, 5)], []):
        targets: dict = {}
        bad, total = Growth(targets=targets), Growth(targets=targets)
        assert grown(bad, *([series(*seen, code="500")] if seen else [])) == 0
        assert grown(total, series((1, 5), code="500")) == 0
        assert grown(bad, series((1, 5), (2, 7), code="500")) == 2
        assert grown(total, series((1, 5), (2, 7), code="500")) == 2


def test_two_servers_that_scrape_the_same_are_one():
    """A pair of Prometheus servers behind Thanos: the same series, twice, is counted once."""
    growth = Growth()
    pair = [series((1, 10), prometheus_replica="0"), series((1.4, 11), prometheus_replica="1")]
    grown(growth, *pair)
    later = [series((2, 20), prometheus_replica="0"), series((2.4, 21), prometheus_replica="1")]
    assert grown(growth, *later) == 10


def test_when_one_of_two_servers_goes_nothing_is_counted_twice():
    """The other one's value is lower by a scrape: that is no reset."""
    growth = Growth()
    grown(growth, series((2, 20), prometheus_replica="0"), series((1.9, 19), prometheus_replica="1"))
    assert grown(growth, series((2.2, 19), prometheus_replica="1")) == 0
    assert grown(growth, series((3.2, 25), prometheus_replica="1")) == 6


def test_when_one_of_two_servers_goes_what_it_told_is_not_told_again_by_the_other():
    """The other's range goes back to where everything is counted already."""
    growth = Growth()
    grown(growth, series((1, 10), (2, 20), prometheus_replica="0"))
    other = series((0.9, 9), (1.4, 14), (1.9, 19), (2.9, 24), prometheus_replica="1")
    assert grown(growth, other) == 24 - 19
    assert grown(growth, other) == 0


@given(
    st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=30),
    st.lists(st.integers(1, 5), min_size=1),
)
def test_any_cutting_into_ranges_counts_the_same(steps, cuts):
    """Whatever was missed, repeated or reset: the sum is what the process counted after the first sample."""
    value, truth, samples = 100, 0, [(0.0, 100.0)]
    for at, (more, reset) in enumerate(steps, start=1):
        value = more if reset and more < value else value + more
        truth += more
        samples.append((float(at), float(value)))
    growth, at, total = Growth(), 0, 0.0
    grown(growth, series(samples[0]))
    while at < len(samples):
        size = cuts[at % len(cuts)]
        total += grown(growth, series(*samples[max(0, at - 2) : at + size]))
        at += size
    assert total == truth


def test_a_version_that_becomes_stable_is_not_born():
    """The local platform's label `role` changes at a promotion: the counter goes on from where it stood."""
    growth = Growth()
    grown(growth, series((1, 900), role="candidate"))
    assert grown(growth, series((2, 950), role="candidate")) == 50
    assert grown(growth, series((3, 960), role="stable")) == 0
    assert grown(growth, series((4, 1_000), role="stable")) == 40


def test_a_role_of_the_services_own_tells_series_apart():
    """`role="admin"` is a label like any other."""
    growth = Growth()
    grown(growth, series((1, 10), role="admin"), series((1, 20), role="guest"))
    assert grown(growth, series((2, 11), role="admin"), series((2, 22), role="guest")) == 3


def test_what_was_scraped_before_anybody_asked_is_not_counted():
    """Asked at 3 s: the growth before belongs to whatever ran then; a step that ends later is counted whole."""
    growth = Growth(since_s=3.0)
    assert grown(growth, series((1, 10), (2, 20), (3, 30))) == 0
    assert grown(growth, series((3, 30), (5, 50)), series((5, 4), code="500")) == 24


def test_a_fresh_version_does_not_inherit_the_last_step_of_the_one_before_it():
    """Both run under one name: what still grew when asked may be the other's; from the next scrape on it is its own."""
    growth = Growth(since_s=3.0, fresh=True)
    assert grown(growth, series((1, 10), (2, 20)), series((2, 7), code="500")) == 0
    assert grown(growth, series((2, 20), (4, 40), (6, 45)), series((2, 7), (4, 9), code="500")) == 5 + 2


def test_a_fresh_version_whose_name_was_at_rest_is_counted_from_the_first_scrape():
    """Nothing of another's can be in a step that follows one without growth."""
    growth = Growth(since_s=3.0, fresh=True)
    assert grown(growth, series((1, 20), (2, 20))) == 0
    assert grown(growth, series((2, 20), (4, 40))) == 20
