"""Lines of a recording: what is refused and how, and files whose releases are interleaved."""

import json
import random

import pytest
from recordings import SHORT, answers, lines, replay, steady

from sternway.backtest import Line, backtest, run
from sternway.cli.backtesting import Recorded
from sternway.errors import InvalidInput

OUTCOME = {"release": "a", "t": 1, "role": "stable", "status": 200, "duration_ms": 5}
TALLY = {"release": "a", "t": 1, "role": "stable", "criterion": "errors", "total": 5, "bad": 1}


def refusal(*texts: bytes) -> str:
    """Give what is said of a file with these lines."""
    told = [Line("history.jsonl", number, text) for number, text in enumerate(texts, 1)]
    with pytest.raises(InvalidInput) as caught:
        backtest(told, SHORT, counting=Recorded)
    return str(caught.value)


def changed(line: dict, **changes: object) -> bytes:
    """Give a line with other values; `...` takes a field out."""
    return json.dumps({k: v for k, v in {**line, **changes}.items() if v is not ...}).encode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"release": "a"', " is no JSON: EOF while parsing an object in column 15"),
        (b"\xff\xfe", " is no JSON: expected value in column 1"),
        (b'{"t": NaN}', " is no JSON: expected value in column 7"),
        (b"[1]", " is no JSON object (write one object a line)"),
        (changed(OUTCOME, statsu=1), " statsu: is not known (did you mean `status`?)"),
        (changed(TALLY, key="u"), " key: is not known in a tally (there is: bad, criterion,"),
        (changed(OUTCOME, duration_ms=...), " duration_ms: is missing (write milliseconds, for example `12.5`)"),
        (changed(TALLY, total=...), " total: is missing (write a whole number from 0 on)"),
        (changed(OUTCOME, release=7), " release: 7 is no name"),
        (changed(OUTCOME, t="1"), ' t: "1" is no time (write seconds, for example `12.5`)'),
        (changed(OUTCOME, t=True), " t: true is no time"),
        (changed(OUTCOME, t=1e300), " t: 1e+300 is no time"),
        (changed(OUTCOME, role="canary"), ' role: "canary" is no role (write stable or candidate)'),
        (changed(OUTCOME, role="Stable"), ' role: "Stable" is no role (write `stable`)'),
        (changed(OUTCOME, role=None), " role: null is no role"),
        (changed(OUTCOME, status="200"), ' status: "200" is no number (write an HTTP status from 100 to 599'),
        (changed(OUTCOME, status=0), " status: 0 is no HTTP status"),
        (changed(OUTCOME, duration_ms=-1), " duration_ms: -1 is no duration"),
        (changed(OUTCOME, key=5), " key: 5 is no text"),
        (changed(OUTCOME, replica=5), " replica: 5 is no text"),
        (changed(TALLY, criterion="erors"), ' criterion: "erors" is no criterion (did you mean `errors`?)'),
        (changed(TALLY, total=-1), " total: -1 is no count"),
        (changed(TALLY, bad=6), " bad: 6 is more than the total of 5 (write a whole number from 0 to `total`)"),
    ],
)
def test_a_line_that_is_wrong_is_named_with_its_field_and_fix(text: bytes, said: str):
    """File and line, field, what is wrong, and what to write instead."""
    found = refusal(changed(OUTCOME), text)
    assert found.startswith(f"history.jsonl:2:{said}")


def test_time_that_goes_back_within_a_release_is_refused():
    """Another release may begin at any time."""
    other = changed(OUTCOME, release="b", t=0)
    assert refusal(changed(OUTCOME), other, changed(OUTCOME, t=0.5)) == (
        "history.jsonl:3: t: 0.5 goes back, a was at 1 already (sort the lines of each release by t)"
    )


def test_outcomes_and_tallies_of_one_release_are_refused():
    """They would be counted twice."""
    assert refusal(changed(OUTCOME), changed(TALLY)).startswith(
        "history.jsonl:2: criterion: a is told by outcomes and by tallies"
    )


def test_empty_lines_and_criteria_that_nobody_asks_for_are_passed_over():
    """A file ends with a line break; another tool may have counted more than the Guard asks for."""
    told = [*lines(steady(range(10), bad=lambda _: 0)), Line("f", 9, b"\n")]
    odd = Line("f", 10, changed(TALLY, release="orders-1", t=9.5, criterion="latency-p77"))
    (found,) = backtest([*told, odd], SHORT, counting=Recorded)
    assert found.verdict == "healthy"


def test_interleaved_releases_end_as_they_would_alone():
    """Forty releases, line by line among each other: the same results as one after the other, in order of beginning."""
    apart = [list(answers(n, release=f"r{n}", candidate=0.002 if n % 2 else 0.3, for_s=20.0)) for n in range(40)]
    alone = {found.release: found for told in apart for found in replay(told)}
    order = [n for n, told in enumerate(apart) for _ in told]
    random.Random(1).shuffle(order)
    queues = [iter(told) for told in apart]
    together = replay(next(queues[n]) for n in order)
    assert {found.release: found for found in together} == alone
    assert [found.release for found in together] == [f"r{n}" for n in dict.fromkeys(order)]


def test_a_release_that_was_put_to_rest_comes_back_as_it_was(monkeypatch: pytest.MonkeyPatch):
    """With room for two, three releases in turn by seconds: rest after every second, and nothing is lost."""
    told = [
        one
        for second in range(40)
        for number in range(3)
        for one in steady([second], bad=lambda s, n=number: (s + n) % 7 // 5 * 3, release=f"r{number}")
    ]
    usual = replay(told)
    monkeypatch.setattr(run, "AT_ONCE", 2)
    assert replay(told) == usual
    assert {one.withdrawals for one in usual} != {0}
