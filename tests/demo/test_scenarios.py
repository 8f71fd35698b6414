"""The order of the demo's releases."""

from sternway.demo.run import together
from sternway.demo.scenarios import SCENARIOS


def test_the_release_that_an_alert_takes_back_goes_on_beside_the_longest_one() -> None:
    """It costs the demo no time; every other release has the stage to itself."""
    groups = [[scenario.name for scenario in group] for group in together(SCENARIOS)]
    assert groups == [["healthy"], ["errors"], ["tail", "alert"], ["crash"], ["config"], ["policy"]]


def test_releases_of_one_service_never_overlap() -> None:
    """With the one between left out, it waits for the release before it."""
    chosen = [scenario for scenario in SCENARIOS if scenario.name in ("errors", "alert")]
    assert [[scenario.name for scenario in group] for group in together(chosen)] == [["errors"], ["alert"]]
