"""The state machine as a table."""

from sternway.domain.releases import Phase
from sternway.engine.transitions import TRANSITIONS, Trigger, diagram


def test_every_phase_that_is_not_over_can_be_left():
    """No release can get stuck for want of a transition."""
    left = {phase for phase, _ in TRANSITIONS}
    assert left == {phase for phase in Phase if not phase.over}


def test_every_phase_before_the_bake_ends_can_go_back():
    """A person, or a verdict, can take the release back from wherever it stands."""
    for phase in Phase:
        if not phase.over and phase is not Phase.ROLLING_BACK:
            assert TRANSITIONS[phase, Trigger.TAKEN_BACK] is Phase.ROLLING_BACK


def test_a_rollback_is_never_left_but_by_its_end():
    """Nothing promotes, exposes or supersedes a release that is being rolled back."""
    assert {t for p, t in TRANSITIONS if p is Phase.ROLLING_BACK} == {Trigger.SETTLED}
    assert TRANSITIONS[Phase.ROLLING_BACK, Trigger.SETTLED] is Phase.ROLLED_BACK


def test_nothing_leaves_a_phase_that_is_over():
    """What is over stays over."""
    assert not [phase for phase, _ in TRANSITIONS if phase.over]


def test_the_diagram_names_every_phase_and_trigger():
    """The docs are drawn from the table."""
    text = diagram()
    for phase in Phase:
        assert phase.value.replace("-", "_") in text
    for trigger in {t for _, t in TRANSITIONS}:
        assert trigger.value in text
