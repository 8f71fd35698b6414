"""What views look like in words: tables, the story of a release, and lines of events. Pure functions, views made by hand."""

import io
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from sample_views import AT_S, CATALOGUE, ORDERS, PAGE, ROLLED_BACK, STATUS

from sternway.cli import render, words
from sternway.cli.events import events, phase, revert_words
from sternway.cli.render import SplitBar
from sternway.cli.story import tell
from sternway.control.gating import GateView
from sternway.control.replay import Mismatch, Replayed
from sternway.control.status import Trouble


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Print times in UTC, wherever the tests run."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def printed(renderable: RenderableType, *, width: int = 150, encoding: str = "utf-8") -> str:
    """Print without colours."""
    raw = io.BytesIO()
    out = Console(
        file=io.TextIOWrapper(raw, encoding, write_through=True),
        width=width,
        markup=False,
        highlight=False,
        force_terminal=False,
    )
    out.print(renderable)
    return "\n".join(line.rstrip() for line in raw.getvalue().decode(encoding).splitlines()) + "\n"


@pytest.mark.parametrize(
    ("name", "renderable"),
    [
        ("status", render.status(STATUS)),
        ("release", render.release_page(PAGE)),
        ("services", render.catalogue(CATALOGUE)),
        ("history", render.history([ROLLED_BACK])),
    ],
    ids=["status", "release", "services", "history"],
)
def test_pages_look_as_they_did(name: str, renderable: RenderableType):
    """A change of what people read is seen in review."""
    assert printed(renderable) == (Path(__file__).parent / f"{name}.golden.txt").read_text()


def test_the_group_of_an_a_b_test_is_no_share_of_the_traffic():
    """Who gets the candidate is chosen by a header or cookie: an empty bar would say that nobody does."""
    shown = replace(ORDERS.release, phase="exposed", strategy="A/B: header x-group=b", outcome="under way")
    versions = tuple(replace(view, percent=100.0 if view.role == "stable" else 0.0) for view in ORDERS.versions)
    text = printed(render.status(replace(STATUS, services=(replace(ORDERS, release=shown, versions=versions),))))
    assert "a chosen group" in text


def test_a_narrow_terminal_gets_sentences_below_the_table():
    """Nothing is cut off: the judgement stands under the table, whole."""
    text = " ".join(printed(render.status(STATUS), width=80).split())
    assert f"orders: {ROLLED_BACK.reason}" in text
    assert "1.2.0-bbbbbb cannot run: exited 3 times with status 1" in text


def test_everything_can_be_printed_in_ascii():
    """A terminal without Unicode gets a bar all the same."""
    text = printed(SplitBar(25.0), encoding="ascii")
    assert text == "####------------ 25 %\n"


@pytest.mark.parametrize(
    ("percent", "cells"), [(0.0, 0), (0.01, 1), (5.0, 1), (50.0, 8), (99.9, 15), (100.0, 16)], ids=str
)
def test_a_bar_never_hides_a_small_share(percent: float, cells: int):
    """Any traffic is one cell at least, and less than all leaves one."""
    assert printed(SplitBar(percent), encoding="ascii").count("#") == cells


def test_what_a_user_wrote_is_never_read_as_markup():
    """A commit message like [red] is printed as it stands."""
    page = replace(PAGE, change=replace(PAGE.change, subject="[red]x[/red] [/]"))
    assert "[red]x[/red] [/]" in printed(render.release_page(page))


def story(**changes: object) -> dict[str, str]:
    """Tell the story of the sample release with some changes."""
    return dict(tell(replace(PAGE, release=replace(ROLLED_BACK, **changes))))  # type: ignore[arg-type]


def test_the_story_says_what_to_do_next():
    """Each end of a release has its own next step."""
    assert "sternway retry orders" in story()["Next"]
    assert "branch x" in story(revert_branch="x")["Next"]
    assert "Git still asks for it" in story(revert_commit=None, reverts=False)["Next"]
    assert "sternway rollback orders" in story(phase="promoted", outcome="promoted")["Next"]
    asking = story(phase="asking", outcome="under way", answers_within_s=90.0)["Next"]
    assert asking.startswith("Answer within 1 min 30 s: `sternway rollback orders`")
    for then, said in (("rollback", "it is rolled back"), ("promote", "it is promoted"), ("hold", "it stays as it is")):
        unanswered = story(phase="asking", outcome="under way", answers_within_s=90.0, unanswered=then)["Next"]
        assert unanswered.endswith(f"without an answer {said}.")
    assert "--watch" in story(phase="exposed", outcome="under way")["Next"]


def test_the_story_tells_the_first_withdrawal_and_the_last():
    """Both times, when a candidate was looked at more than once."""
    assert story(detected_s=AT_S + 3.0)["Decided"] == (
        "Its traffic was taken away first at 22:13:23.000 (+3.0 s), 600 ms after the first bad answer. "
        "At 22:13:23.500 (+3.5 s), its traffic was taken away: 18 of 40 answers were errors."
    )


def test_the_story_of_a_version_that_never_ran_takes_no_traffic_away():
    """A candidate that crashes at its start had none."""
    told = story(requests=0, hurt=0, detect_s=None, detected_s=None, reason="it cannot run")["Decided"]
    assert told == "At 22:13:23.500 (+3.5 s), it was taken back before it had got a request: it cannot run."


def test_the_story_dates_a_rollback_that_came_after_traffic_was_away():
    """A question that nobody answered: traffic went when it was asked, the rollback came later."""
    release = replace(ROLLED_BACK, reason="nobody answered within 25 s")
    told = dict(tell(replace(PAGE, release=release, taken_back_s=AT_S + 28.5)))["Decided"]
    assert told == (
        "At 22:13:23.500 (+3.5 s), 600 ms after the first bad answer, its traffic was taken away. "
        "At 22:13:48.500 (+28.5 s), it was taken back: nobody answered within 25 s."
    )


def test_the_story_of_a_rollback_by_hand_claims_no_release():
    """After promotion nothing was to be replaced, and traffic moves only when the target is ready."""
    told = story(decided_s=AT_S, detected_s=AT_S, detect_s=None, reason="rolled back by ada")
    assert "orders-7 takes 1.2.0-bbbbbb back, after its promotion" in told["Changed"]
    assert "canary" not in told["Changed"]
    assert told["Decided"] == "At 22:13:20.000 (+0 ms) to go back to 1.0.0-aaaaaa: rolled back by ada."


def test_the_story_of_what_is_over_stands_in_the_past():
    """A release under way is to replace, a promoted one replaced, any other was to."""
    assert "orders-7 was to replace 1.0.0-aaaaaa" in story()["Changed"]
    assert "orders-7 replaced 1.0.0-aaaaaa" in story(phase="promoted", outcome="promoted")["Changed"]
    assert "orders-7 is to replace" in story(phase="exposed", outcome="under way")["Changed"]


def test_a_question_stands_below_the_table_with_its_answers():
    """Whoever reads the status alone knows what to type, and what silence means."""
    asking = replace(ROLLED_BACK, phase="asking", outcome="under way", answers_within_s=90.0, unanswered="rollback")
    text = " ".join(printed(render.status(replace(STATUS, services=(replace(ORDERS, release=asking),)))).split())
    assert "orders: a person is asked; answer within 1 min 30 s: `sternway rollback orders` takes it back" in text
    assert "without an answer it is rolled back" in text


def test_replicas_stand_beside_their_version():
    """A reader sees which version each replica runs; one of no known version stands last."""
    (entry,) = CATALOGUE.services
    (stable,) = entry.replicas
    others = (
        replace(stable, name="orders-c", version="1.2.0-bbbbbb"),
        replace(stable, name="orders-b"),
        replace(stable, name="orders-d", version="shop/orders:0.9.0"),
    )
    lines = printed(render.catalogue(replace(CATALOGUE, services=(replace(entry, replicas=(*others, stable)),))))
    names = [line.split() for line in lines.splitlines()[1:5]]
    assert names[0][:3] == ["orders", "127.0.0.1:8080", "1.0.0-aaaaaa"]
    assert "orders-b" in names[0]
    assert names[1][0] == "orders-a"
    assert names[2][:2] == ["1.2.0-bbbbbb", "leaving"]
    assert "orders-c" in names[2]
    assert names[3][0] == "orders-d"


def test_a_version_that_shares_its_replicas_is_not_called_without():
    """Two versions that differ in mesh policy alone run on the same replicas."""
    (entry,) = CATALOGUE.services
    stable = entry.versions[0]
    twin = replace(stable, id="1.0.0-cccccc", role="candidate", percent=0.0)
    text = printed(render.catalogue(replace(CATALOGUE, services=(replace(entry, versions=(stable, twin)),))))
    assert "1.0.0-cccccc candidate 0 % 2/2  shared" in text


def test_the_catalogue_of_a_narrow_terminal_leaves_columns_out_and_folds_none():
    """Names, addresses and versions stay whole in 80 columns; in 150 nothing is left out."""
    narrow = printed(render.catalogue(CATALOGUE), width=80).splitlines()
    assert narrow[0].split() == ["service", "address", "versions", "replica", "health"]
    assert "127.0.0.1:8080" in narrow[1]
    assert "1.0.0-aaaaaa stable 100 % 2/2" in narrow[1]
    assert len(printed(render.catalogue(CATALOGUE)).splitlines()[0].split()) == 11


def test_the_story_says_who_was_hurt():
    """In numbers, and plainly when it was nobody."""
    assert story()["Hurt"] == "3 of 40 requests to the candidate (7.5 %) were answered badly."
    assert story(hurt=0)["Hurt"] == "40 requests went to the candidate; no caller got a bad answer."
    slow = replace(ROLLED_BACK.criteria[0], name="latency-p99", candidate_bad=30, candidate_total=40, e_value=900.0)
    assert story(hurt=0, criteria=(slow,))["Hurt"] == (
        "40 requests went to the candidate; no caller got an error, but 30 of 40 (75 %) got a slow answer (latency-p99)."
    )
    assert story(requests=0, hurt=0)["Hurt"] == "No request of a caller reached the candidate."


def test_the_story_says_what_became_of_git():
    """Reverted, on a branch, still to be done, or left alone."""
    assert "Git: reverted by commit ccccccccc." in story()["Done"]
    assert (
        "Git: the revert stands on branch x as ccccccccc: a conflict."
        in story(revert_branch="x", revert_message="a conflict")["Done"]
    )
    assert "tried until it is done" in story(revert_commit=None)["Done"]
    assert "Git: left as it is." in story(revert_commit=None, reverts=False)["Done"]


def test_the_story_mentions_only_criteria_that_weigh():
    """A criterion without evidence against the candidate is in the table alone."""
    light = replace(ROLLED_BACK.criteria[0], name="latency-p50", e_value=1.2)
    assert "latency" not in story(criteria=(*ROLLED_BACK.criteria, light))["Seen"]


def test_events_tell_a_release_from_its_start_to_its_end():
    """One line for each thing that is new, and none for what is not."""
    quiet = replace(STATUS, services=(replace(ORDERS, release=None, note="", troubles=()),), problems=(), troubles=())
    under_way = replace(
        ROLLED_BACK,
        phase="exposed",
        step="1 of 2: 5 requests/s",
        outcome="under way",
        reason="it is ready",
        revert_commit=None,
    )

    def with_release(**changes: object):
        service = replace(quiet.services[0], release=replace(under_way, **changes))  # type: ignore[arg-type]
        return replace(quiet, services=(service,))

    started = with_release()
    assert [e.text for e in events(quiet, started)] == [
        "1.0.0-aaaaaa -> 1.2.0-bbbbbb, canary: 5 requests/s, 20 %",
        "step 1 of 2: 5 requests/s: it is ready",
    ]
    assert events(started, with_release(requests=41, percent=5.1)) == ()
    (paused,) = events(started, with_release(paused=True))
    assert paused.text == "paused"
    ended = replace(quiet, services=(replace(quiet.services[0], release=ROLLED_BACK),))
    texts = [e.text for e in events(started, ended)]
    assert texts[0] == "rolled back: 18 of 40 answers were errors"
    assert texts[1] == "reverted by commit ccccccccc"
    assert texts[2].startswith("rolled back; 40 requests served, 3 hurt, decided 600 ms after the first bad answer")


def test_events_tell_troubles_and_their_end():
    """With the hint when they begin, and that it works again."""
    well = replace(STATUS, troubles=())
    (began,) = events(well, STATUS)
    assert (began.about, began.text, began.kind) == ("git", "the Git server does not answer (check the network)", "bad")
    (ended,) = events(STATUS, well)
    assert (ended.about, ended.text, ended.kind) == ("git", "works again", "good")


def test_events_tell_readiness_and_its_loss():
    """With the address, and with the failure."""
    down = replace(ORDERS, ready=False, versions=(replace(ORDERS.versions[0], failure="exited"),))
    before, after = replace(STATUS, services=(down,)), STATUS
    (ready,) = events(before, after)
    assert ready.text == "1.0.0-aaaaaa is ready at http://127.0.0.1:8080"
    (lost,) = events(after, before)
    assert lost.text == "1.0.0-aaaaaa is not ready: exited"


def test_events_tell_of_a_first_version_that_cannot_run():
    """A platform that has just begun does not stay silent about it; it is said once."""
    starting = replace(ORDERS, ready=False, release=None, versions=(replace(ORDERS.versions[0], ready=0),))
    failing = replace(starting, versions=(replace(starting.versions[0], failure="command not found: x"),))
    before, after = replace(STATUS, services=(starting,)), replace(STATUS, services=(failing,))
    (told,) = events(before, after)
    assert (told.text, told.kind) == ("1.0.0-aaaaaa cannot run: command not found: x", "bad")
    assert events(after, after) == ()


def test_the_first_status_tells_what_is_not_as_it_should_be():
    """A finished release of yesterday is no news; a problem is."""
    texts = [str(e) for e in events(None, STATUS)]
    assert any("is not in force" in text for text in texts)
    assert not any("orders-7" in text for text in texts)


def test_events_tell_a_service_that_is_gone():
    """Removed from Git."""
    (gone,) = events(STATUS, replace(STATUS, services=()))
    assert str(gone) == "22:13:25.000  orders: removed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"phase": "exposed", "step": "2 of 3: 10 %"}, "step 2 of 3: 10 %"),
        ({"phase": "exposed", "step": "requests with header x=y"}, "exposed to requests with header x=y"),
        ({"phase": "exposed", "step": "2 of 3: 10 %", "paused": True}, "step 2 of 3: 10 %, paused"),
        ({"phase": "withdrawn", "looks_again_in_s": 19.6}, "withdrawn, looking again in 20 s"),
        ({"phase": "asking", "answers_within_s": 600.0}, "asking, 10 min left to answer"),
        ({"phase": "exposed", "step": "a share of 10 %"}, "exposed to a share of 10 %"),
        ({"phase": "preview"}, "preview"),
        ({"phase": "preview", "awaits_promote": True}, "preview, waits for `sternway promote orders`"),
        ({"phase": "baking", "bake_percent": 40.0}, "baking, 40 % done"),
        ({"phase": "rolling-back"}, "rolling back"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_phase_is_told_in_a_few_words(changes: dict[str, object], said: str):
    """What it waits for is part of it."""
    assert phase(replace(ROLLED_BACK, **changes)) == said  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0123, "12 ms"), (3.21, "3.2 s"), (59.9, "59.9 s"), (250, "4 min 10 s"), (240, "4 min"), (7500, "2 h 5 min")],
)
def test_durations_have_the_unit_that_suits_them(seconds: float, said: str):
    """From milliseconds to hours."""
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0.4, "less than 1 : 1"), (1.0, "1.0 : 1"), (148.4, "148 : 1"), (1.1e26, "10^26 : 1")]
)
def test_evidence_is_told_as_odds(value: float, said: str):
    """Large ones as a power of ten."""
    assert words.odds(value) == said


def test_a_revert_without_a_commit_says_why():
    """Git asked for something else already, for instance."""
    release = replace(ROLLED_BACK, revert_commit=None, revert_message="the branch has the good state already")
    assert revert_words(release) == "nothing was committed: the branch has the good state already"


def test_a_replay_that_differs_shows_where():
    """Line, fields, and both reasons."""
    mismatch = Mismatch(seq=12, at_s=AT_S, fields=("traffic", "reason"), recorded="because", recomputed="no harm")
    text = printed(render.replayed(Replayed(release="orders-7", passes=40, mismatches=(mismatch,))))
    assert "1 of 40 passes came out differently" in text
    assert text.splitlines()[2].split() == ["12", "22:13:20.000", "traffic,", "reason", "because", "no", "harm"]


def test_an_empty_platform_is_told_so():
    """And so is a history without a release, and a service without a replica."""
    assert printed(render.status(replace(STATUS, services=(), problems=(), troubles=()))) == "no services yet\n"
    assert "no release yet" in printed(render.history([]))
    lonely = replace(CATALOGUE, services=(replace(CATALOGUE.services[0], replicas=()),), calls=())
    assert "no replica" in printed(render.catalogue(lonely))
    assert "no calls seen yet" in printed(render.catalogue(lonely))
    disconnected = replace(
        STATUS, connected=False, services=(), problems=(), troubles=(Trouble(about="a", message="b"),)
    )
    assert "the proxy is not connected" in printed(render.status(disconnected))


def test_status_tells_which_gate_is_waited_for():
    """One that runs, and for how long; one that failed and holds the release; none of a release that is over."""
    gates = (
        GateView(name="smoke", point="before any user", state="running", since_s=AT_S, message="no node takes its pod"),
        GateView(name="backup", point="before all traffic", state="failed", message="too old"),
        GateView(name="late", point="before all traffic", state="to come"),
    )
    under_way = replace(ROLLED_BACK, outcome="under way", phase="starting", gates=gates)
    found = printed(render.status(replace(STATUS, services=(replace(ORDERS, release=under_way),))))
    assert "orders: gate smoke (before any user) running for 5.0 s: no node takes its pod" in found
    assert "orders: gate backup (before all traffic) failed: too old" in found
    assert "late" not in found
    assert "gate smoke" not in printed(render.status(STATUS))
