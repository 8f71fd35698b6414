"""What every journal and command queue must do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sternway.domain.releases import Decision, Phase, Verb
from sternway.errors import SternwayError
from sternway.ports import Entry
from sternway.store import SqlStore
from sternway.store.lines import keep
from sternway.testing import MemoryStore
from store.conftest import Store
from store.values import a_pass


async def test_lines_come_back_equal_and_in_order(store: Store) -> None:
    """Observation and decision of every pass are read back as they were written, oldest first."""
    written = [a_pass(float(second), bad=second) for second in range(5)]
    await store.record(written[:2])
    await store.record(written[2:], sync=True)

    read = await store.entries(service="orders")

    assert [(e.observation, e.decision, e.at_s) for e in read] == [(e.observation, e.decision, e.at_s) for e in written]
    assert [e.seq for e in read] == sorted({e.seq for e in read})


async def test_latest_progress_is_that_of_the_last_line(store: Store) -> None:
    """A restart goes on from the newest progress, whole."""
    await store.record([a_pass(1.0), a_pass(2.0), a_pass(3.0, service="web")])
    await store.record([a_pass(4.0)])

    assert await store.progress("orders") == a_pass(4.0).progress
    assert await store.progress("web") == a_pass(3.0, service="web").progress
    assert await store.progress("stock") is None
    assert await store.services() == ("orders", "web")


async def test_a_line_without_progress_leaves_the_latest_progress(store: Store) -> None:
    """A note changes nothing about where the service stands."""
    await store.record([a_pass(1.0)])
    await store.record([Entry(service="orders", release="orders-1", kind="note", at_s=2.0, text="Envoy came back")])

    assert await store.progress("orders") == a_pass(1.0).progress
    assert (await store.entries(release="orders-1"))[-1].text == "Envoy came back"


async def test_entries_are_found_by_service_and_by_release(store: Store) -> None:
    """A question about one service or release is answered with its lines alone."""
    passes = [a_pass(1.0), a_pass(2.0, release="orders-2"), a_pass(3.0, service="web", release="web-1")]
    await store.record(passes)

    assert [e.at_s for e in await store.entries(service="orders")] == [1.0, 2.0]
    assert [e.at_s for e in await store.entries(release="orders-2")] == [2.0]
    assert [e.at_s for e in await store.entries(service="web", release="orders-2")] == []
    assert [e.at_s for e in await store.entries()] == [1.0, 2.0, 3.0]


async def test_entries_can_be_read_page_by_page(store: Store) -> None:
    """A long journal is read in pieces, by the seq of the last line seen."""
    await store.record([a_pass(float(second)) for second in range(5)])

    first = await store.entries(service="orders", limit=3)
    rest = await store.entries(service="orders", after=first[-1].seq)

    assert [e.at_s for e in (*first, *rest)] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert len(first) == 3


async def test_the_first_line_of_a_release_holds_the_progress_before_it(store: Store) -> None:
    """A replay of a release starts from what was known when it began."""
    idle = a_pass(1.0, release=None)
    await store.record([idle])
    await store.record([a_pass(2.0), a_pass(3.0)])

    first, second = await store.entries(release="orders-1")

    assert first.before == idle.progress
    assert second.before is None


async def test_lines_on_which_the_phase_changed_hold_progress(store: Store) -> None:
    """The evidence of a finished release can be shown; passes in between do not repeat it."""
    passes = [
        a_pass(1.0),
        a_pass(2.0),
        a_pass(3.0, phase=Phase.WITHDRAWN, percent=0),
        a_pass(4.0, phase=Phase.WITHDRAWN, percent=0),
        a_pass(5.0, phase=Phase.ROLLED_BACK, percent=0),
    ]
    await store.record(passes)

    read = await store.entries(release="orders-1")

    assert [e.progress for e in read] == [passes[0].progress, None, passes[2].progress, None, passes[4].progress]
    assert await store.entries(release="orders-1", checkpoints=True) == (read[0], read[2], read[4])


async def test_commands_are_numbered_and_kept_until_asked_for(store: Store) -> None:
    """Ids rise with each command to the platform; a service sees its own after the last one answered."""
    first = await store.add("orders", "rollback", "anna", 1.0, "1.0.0-ab12cd", "customers complain")
    other = await store.add("web", "pause", "ben", 2.0, None, "")
    second = await store.add("orders", "promote", "anna", 3.0, None, "")

    assert first.verb is Verb.ROLLBACK
    assert [c.id for c in (first, other, second)] == [1, 2, 3]
    assert await store.after("orders", 0) == (first, second)
    assert await store.after("orders", first.id) == (second,)
    assert await store.after("orders", second.id) == ()


async def test_a_command_that_was_given_before_is_not_stored_again(store: Store) -> None:
    """Who asks again after a crash is given the command that is there; one without a name is always a new one."""
    first = await store.add("orders", "promote", "anna", 1.0, None, "", asked="7c1e")
    again = await store.add("orders", "promote", "anna", 9.0, None, "", asked="7c1e")
    other = await store.add("web", "promote", "anna", 9.0, None, "", asked="7c1e")
    nameless = [await store.add("orders", "promote", "anna", 9.0, None, "") for _ in range(2)]

    assert again == first
    assert await store.after("orders", 0) == (first, *nameless)
    assert await store.after("web", 0) == (other,)


async def test_an_unknown_verb_is_refused(store: Store) -> None:
    """Nothing enters the queue that the engine could not read."""
    with pytest.raises((ValueError, SternwayError)):
        await store.add("orders", "explode", "anna", 1.0, None, "")

    assert await store.after("orders", 0) == ()


async def test_strange_words_do_not_make_a_record_fail(store: Store) -> None:
    """What a program printed or a shell passed on may hold half characters and NULs; they are replaced."""
    await store.record([Entry(service="orders", release=None, kind="failed", at_s=1.0, text="a\ud800b\0c")])
    command = await store.add("orders", "rollback", "anna\udcff", 1.0, "1.0\0", "why \udc80")

    assert [e.text for e in await store.entries(service="orders")] == ["a?b\ufffdc"]
    assert (command.by, command.to, command.reason) == ("anna?", "1.0\ufffd", "why ?")
    assert await store.after("orders", 0) == (command,)


async def test_many_services_may_record_at_the_same_time(store: Store) -> None:
    """Concurrent passes of different services lose nothing."""
    names = [f"service-{n}" for n in range(20)]
    await asyncio.gather(*(store.record([a_pass(1.0, service=name)]) for name in names))

    assert await store.services() == tuple(sorted(names))
    assert {e.service for e in await store.entries()} == set(names)


async def test_roll_up_drops_passes_that_changed_nothing_and_says_so(store: Store) -> None:
    """Of an old release its first and last line, each changed decision and each checkpoint stay."""
    old = [
        *(a_pass(float(s)) for s in range(10)),
        *(a_pass(10.0 + s, percent=50) for s in range(10)),
        a_pass(20.0, phase=Phase.ROLLED_BACK, percent=0),
        a_pass(21.0, phase=Phase.ROLLED_BACK, percent=0),
    ]
    await store.record(old)
    await store.record([a_pass(30.0, release="orders-2"), a_pass(31.0, release="orders-2")])

    await store.roll_up(40.0, keep_releases=1)
    await store.roll_up(50.0, keep_releases=1)

    left = await store.entries(release="orders-1")
    assert [(e.kind, e.at_s) for e in left] == [
        ("pass", 0.0),
        ("pass", 10.0),
        ("pass", 20.0),
        ("pass", 21.0),
        ("note", 40.0),
    ]
    assert "rolled up: 18 passes" in left[-1].text
    assert left[2].progress == old[20].progress
    assert [e.at_s for e in await store.entries(release="orders-2")] == [30.0, 31.0]


@pytest.mark.parametrize("kind", [SqlStore, MemoryStore], ids=["sqlite", "memory"])
async def test_roll_up_keeps_the_evidence_of_what_it_drops(kind: type[Store], tmp_path: Path) -> None:
    """Asked once, while every pass is still there; what came out stays, and makes the release no younger."""
    asked: list[tuple[str, int]] = []

    def condense(release: str, entries: Sequence[Entry]) -> str:
        asked.append((release, len(entries)))
        return f"evidence of {release}"

    if kind is SqlStore:
        store: Store = SqlStore(tmp_path / "journal.sqlite", condense=condense)
    else:
        store = MemoryStore(condense=condense)
    await store.open()
    await store.record([a_pass(float(s)) for s in range(10)])
    await store.record([a_pass(30.0, release="orders-2")])

    await store.roll_up(40.0, keep_releases=1)
    await store.roll_up(50.0, keep_releases=1)

    left = await store.entries(release="orders-1")
    assert [(e.kind, e.at_s) for e in left] == [("pass", 0.0), ("pass", 9.0), ("evidence", 40.0), ("note", 40.0)]
    assert left[2].text == "evidence of orders-1"
    assert asked == [("orders-1", 10)]
    await store.roll_up(100.0, keep_releases=1, forget_s=80.0)
    assert await store.entries(release="orders-1") == ()
    await store.close()


async def test_roll_up_keeps_repeated_failures_once(store: Store) -> None:
    """A time-out that repeats for hours is one line; a different one is another."""
    failed = Entry(service="orders", release="orders-1", kind="failed", at_s=2.0, text="no answer from Git")
    await store.record([a_pass(1.0), failed, failed, failed, replace(failed, text="disk full"), a_pass(3.0)])
    await store.record([a_pass(4.0, release="orders-2")])

    await store.roll_up(10.0, keep_releases=1)

    left = await store.entries(release="orders-1")
    assert [e.text for e in left if e.kind == "failed"] == ["no answer from Git", "disk full"]


async def test_roll_up_drops_idle_passes_after_an_hour(store: Store) -> None:
    """Passes without a release serve a short look back only; the newest and those of releases stay."""
    await store.record([a_pass(float(s), release=None) for s in (0, 10, 20)])
    await store.record([a_pass(30.0), a_pass(3700.0, release=None)])

    await store.roll_up(3700.0)

    # the first line changed something (it was the first decision): it stays as long as a release would
    assert [e.at_s for e in await store.entries(service="orders")] == [0.0, 30.0, 3700.0]


async def test_roll_up_forgets_releases_in_the_end(store: Store) -> None:
    """The journal does not grow for ever: releases beyond the newest that are too old are gone."""
    for number in range(4):
        await store.record([a_pass(float(number), release=f"orders-{number}")])

    await store.roll_up(100.0, keep_releases=2, forget_s=50.0)

    assert {e.release for e in await store.entries()} == {"orders-2", "orders-3"}
    assert await store.progress("orders") == a_pass(3.0, release="orders-3").progress


async def test_roll_up_never_touches_the_newest_release(store: Store) -> None:
    """A release that has run for longer than anything is kept can still be replayed."""
    await store.record([a_pass(float(s)) for s in range(5)])

    await store.roll_up(1e9, keep_releases=1, keep_s=1.0, forget_s=1.0)

    assert len(await store.entries(release="orders-1")) == 5


async def test_a_decision_that_only_looks_again_later_is_no_change() -> None:
    """Times, questions and reasons differ on every pass; they do not make a pass worth keeping."""
    first, second = a_pass(1.0), a_pass(2.0)
    assert isinstance(second.decision, Decision)
    again = replace(second, decision=replace(second.decision, reason="still waiting"))
    replicas = replace(second, decision=replace(second.decision, workloads=()))

    assert [line.essential for line in keep([first, again, replicas], {})] == [True, False, False]
