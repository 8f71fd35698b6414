"""The benches' registry, and the form in which results are kept. Nothing is measured here."""

import json

import pytest
from bench.__main__ import main
from bench.page import BEGIN, END, PAGE, render, update
from bench.passes import a_pass
from bench.registry import BENCHES
from bench.results import FOLDER, Result, quantile
from bench.simulated import bound, candidate_requests, until_condemned

from sternway.domain.guards import JudgeSettings
from sternway.domain.releases import Phase

FIELDS = {"name", "value", "unit", "goal", "ok"}


def tiny(quick):
    """Stand for a bench: one goal reached (when quick), one number that promises nothing."""
    return [
        Result(name="took", value=1.0 if quick else 3.0, unit="ms", goal=2.0),
        Result(name="seen", value=7, unit="requests"),
    ]


def kept(folder):
    """Read what was written."""
    return json.loads((folder / "tiny.json").read_text())


def test_a_bench_prints_a_table_and_writes_its_results(tmp_path, capsys):
    """Every number is a {name, value, unit, goal, ok} in NAME.json, and a row of the table; 0 when no goal is missed."""
    assert main(["tiny", "--quick"], benches={"tiny": tiny}, folder=tmp_path) == 0
    assert kept(tmp_path) == [
        {"name": "took", "value": 1.0, "unit": "ms", "goal": 2.0, "ok": True},
        {"name": "seen", "value": 7, "unit": "requests", "goal": None, "ok": True},
    ]
    printed = capsys.readouterr().out
    assert "took" in printed
    assert "7 requests" in printed


def test_a_missed_goal_is_said_and_fails_the_run(tmp_path, capsys):
    """A value above its goal is not ok, stands out in the table, and makes the exit code 1."""
    assert main([], benches={"tiny": tiny}, folder=tmp_path) == 1
    assert [result["ok"] for result in kept(tmp_path)] == [False, True]
    printed = capsys.readouterr().out
    assert "MISSED" in printed
    assert "1 of 2 miss their goal" in printed


def test_an_unknown_bench_is_refused_with_the_known_ones(tmp_path, capsys):
    """A mistyped name runs nothing."""
    with pytest.raises(SystemExit) as refused:
        main(["tny", "tiny"], benches={"tiny": tiny}, folder=tmp_path)
    assert refused.value.code == 2
    assert "no bench named tny; there are tiny" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(BENCHES))
def test_every_bench_has_results_in_the_form_that_is_promised(name):
    """What is kept in bench/results has the promised fields, and `ok` says what value and goal say."""
    results = json.loads((FOLDER / f"{name}.json").read_text())
    assert results
    for result in results:
        assert set(result) == FIELDS
        assert result["ok"] is (result["goal"] is None or result["value"] <= result["goal"])
        assert result["unit"]
    assert len({result["name"] for result in results}) == len(results)


def test_the_page_shows_what_was_measured():
    """The tables of docs/performance.md are those of bench/results."""
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown.strip() == render(BENCHES).strip()


def test_a_run_replaces_the_tables_and_keeps_the_words(tmp_path):
    """Only what stands between the marks changes."""
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n\n{BEGIN}old\n{END}\nAfter.\n")
    main(["tiny"], benches={"tiny": tiny}, folder=tmp_path)
    update(["tiny"], page, tmp_path)
    assert page.read_text().startswith(f"Before.\n\n{BEGIN}")
    assert page.read_text().endswith(f"{END}\nAfter.\n")
    assert "| took | 3 ms | ≤ 2 | **missed** |" in page.read_text()
    assert "old" not in page.read_text()


def test_quantiles_are_nearest_ranks():
    """Of 1 to 100 the median is 51, p99 is 100 and p0 is 1; a single value is every quantile."""
    values = list(range(100, 0, -1))
    assert [quantile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 51, 100, 100]
    assert quantile([7.0], 0.99) == 7.0


def test_the_information_bound_is_the_published_one():
    """At 10 % of the traffic, evidence of 200 to 1 and no margins: 57.6 candidate requests from 0.1 % to 5 %, 1,585 to 0.5 %."""
    settings = JudgeSettings(worse_than_percent=0.0, and_percent=0.0)
    bounds = [
        bound(share=0.1, stable=0.001, candidate=bad, log_needed=5.298317, settings=settings) for bad in (0.05, 0.005)
    ]
    assert bounds == pytest.approx([57.6, 1585], rel=0.01)


def test_simulated_releases_are_the_same_each_time_and_need_more_than_the_bound():
    """A seed gives the same release twice; the mean of 40 lies between the bound and three times it."""

    def requests(seed):
        return candidate_requests(until_condemned(seed, rate_per_s=200, share=0.1, stable=0.001, candidate=0.05))

    found = [requests(seed) for seed in range(40)]
    assert found[:5] == [requests(seed) for seed in range(5)]
    mean = sum(total for total, _ in found) / len(found)
    floor = bound(share=0.1, stable=0.001, candidate=0.05, log_needed=found[0][1])
    assert floor < mean < 3 * floor


async def test_what_the_bench_of_the_judge_times_is_a_pass_of_the_product():
    """The fakes that it runs over still fit: a candidate is exposed, and the next pass is one line of the journal."""
    entry = await a_pass()

    assert entry.observation is not None
    assert entry.observation.reading.tallies
    assert entry.decision is not None
    assert entry.decision.phase is Phase.EXPOSED
