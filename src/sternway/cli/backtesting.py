"""`sternway backtest`: replays recorded releases. Called by `cli.app`; needs no platform."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sternway.backtest import Answer, Backtested, Line, Summary, backtest, choose_rules, summaries
from sternway.backtest.release import CANDIDATE, STABLE
from sternway.cli.checking import files_of
from sternway.cli.session import Code, Output, show
from sternway.cli.words import duration
from sternway.domain.guards import Guard
from sternway.domain.tallies import Question, Reading
from sternway.errors import InvalidInput, Problem
from sternway.manifests.load import load
from sternway.manifests.models.guard import Guard as GuardManifest
from sternway.manifests.read import read
from sternway.manifests.report import Report, suggest
from sternway.signals.counting import Counter, Outcome

if TYPE_CHECKING:
    from rich.table import Table

STDIN = "-"


def run(
    files: Sequence[str],
    guard: Path,
    *,
    service: str | None,
    compare: Sequence[str],
    plot: tuple[str, str] | None,
    output: Output,
) -> Code:
    """Print what the Guard, and the rules to compare it with, would have done with every release."""
    chosen = choose_rules(compare)
    follow = plot[0] if plot else None
    found = backtest(lines_of(files), read_guard(guard, service), counting=Recorded, rules=chosen, follow=follow)
    if plot is not None and not (plot[1] == "-" and output is Output.JSON):
        _plot(found, *plot)
    if output is Output.JSON:
        print(json.dumps([as_json(one, compared=bool(chosen)) for one in found], indent=2, ensure_ascii=False))
        return Code.OK
    if not found:
        print("the recording holds no release")
        return Code.OK
    show(_releases(found))
    show(_summaries(summaries(found)))
    return Code.OK


def _plot(found: Sequence[Backtested], release: str, where: str) -> None:
    """Write the picture of one release's evidence."""
    trail = next((one.trail for one in found if one.trail is not None), None)
    if trail is None:
        fix = suggest(release, [one.release for one in found])
        raise InvalidInput((Problem(file="--plot", message=f"the recording holds no release {release}", fix=fix),))
    from sternway.cli.plotting import plot  # noqa: PLC0415  see the package

    plot(trail, where)


class Recorded:
    """Counts recorded answers with the counter that counts live ones."""

    def __init__(self) -> None:
        self._counter = Counter("recorded")

    def add(self, answer: Answer, number: int) -> None:
        """Count an answer. It falls into a placebo arm by its key, else by its number."""
        self._counter.add(
            Outcome(
                service="recorded",
                version=CANDIDATE if answer.candidate else STABLE,
                at_s=answer.t,
                duration_ms=answer.duration_ms,
                status=answer.status,
                replica=answer.replica,
                key=answer.key,
                request_id=answer.key or str(number),
            )
        )

    def ask(self, now_s: float, question: Question | None) -> None:
        """From now on count by this question."""
        self._counter.ask(now_s, question)

    def read(self, now_s: float) -> Reading:
        """Everything since the last read."""
        return self._counter.read(now_s)


def lines_of(files: Sequence[str]) -> Iterator[Line]:
    """Read the lines of every file in turn. Raises InvalidInput."""
    for name in files:
        if name == STDIN:
            yield from (Line("stdin", number, text) for number, text in enumerate(sys.stdin.buffer, 1))
            continue
        try:
            with Path(name).open("rb") as file:
                yield from (Line(name, number, text) for number, text in enumerate(file, 1))
        except OSError as exc:
            said = f"cannot be read: {exc.strerror}"
            raise InvalidInput((Problem(file=name, message=said, fix="name a file of JSON Lines, or -"),)) from exc


def read_guard(path: Path, service: str | None) -> Guard:
    """Read the Guard of a manifest file, or of a service in a folder. Raises InvalidInput."""
    if path.is_dir():
        guards = {w.service.name: w.guard for w in load(files_of(path), origin=str(path.absolute())).wanted}
    else:
        guards = _guards_in(path)
    if service is None and len(guards) == 1:
        return next(iter(guards.values()))
    if service in guards:
        return guards[service]
    if not guards:
        said, fix = "holds no Guard", "name a manifest with `kind: Guard`"
    elif service is None:
        said, fix = "holds several", f"choose with --service: {', '.join(sorted(guards))}"
    else:
        said, fix = f"says nothing of service {service}", suggest(service, guards)
    raise InvalidInput((Problem(file=str(path), message=said, fix=fix),))


def _guards_in(path: Path) -> dict[str, Guard]:
    name = str(path)
    try:
        text = path.read_bytes().decode()
    except OSError as exc:
        fix = "name a manifest with a Guard, or a folder"
        raise InvalidInput((Problem(file=name, message=f"cannot be read: {exc.strerror}", fix=fix),)) from exc
    except UnicodeDecodeError as exc:
        raise InvalidInput((Problem(file=name, message="is not written in UTF-8", fix="save it as UTF-8"),)) from exc
    report = Report()
    manifest = path.with_suffix(".yaml").name  # whatever the file is called, it is read as YAML
    found = read({manifest: text}, report)
    report.problems = [_renamed(problem, manifest, name) for problem in report.problems]
    report.check()
    return {guard.spec.service: guard.to_domain() for _, guard in found.of(GuardManifest)}


def _renamed(problem: Problem, manifest: str, name: str) -> Problem:
    if problem.file != manifest:
        return problem
    return Problem(file=name, line=problem.line, field=problem.field, message=problem.message, fix=problem.fix)


def as_json(found: Backtested, *, compared: bool) -> dict[str, Any]:
    """Give a release as the JSON output has it."""
    told: dict[str, Any] = {
        "release": found.release,
        "verdict": found.verdict.value,
        "decidedAt": found.decided_s,
        "withdrawals": found.withdrawals,
        "hurt": found.hurt,
        "requests": found.requests,
        "reason": found.reason,
    }
    if found.trail is not None:
        told["trail"] = asdict(found.trail)
    if compared:
        told["compare"] = {
            label: {
                "verdict": said.verdict.value,
                "decidedAt": said.decided_s,
                "hurt": said.hurt,
                "reason": said.reason,
            }
            for label, said in found.compare
        }
    return told


def _releases(found: Sequence[Backtested]) -> Table:
    from rich.table import Table  # noqa: PLC0415  see the package

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("release", overflow="fold")
    for column in ("verdict", "after"):
        table.add_column(column)
    for column in ("withdrawals", "hurt"):
        table.add_column(column, justify="right")
    for label, _ in found[0].compare:
        table.add_column(label)
        table.add_column("hurt", justify="right")
    for one in found:
        others = [
            cell for _, said in one.compare for cell in (_when(said.verdict, said.decided_s, one), f"{said.hurt:g}")
        ]
        after = "" if one.decided_s is None else _after(one.decided_s, one)
        table.add_row(one.release, one.verdict.value, after, str(one.withdrawals), f"{one.hurt:g}", *others)
    return table


def _when(verdict: str, decided_s: float | None, one: Backtested) -> str:
    return verdict if decided_s is None else f"harmful after {_after(decided_s, one)}"


def _after(decided_s: float, one: Backtested) -> str:
    return duration(max(0.0, decided_s - (one.began_s or 0.0)))


def _summaries(found: Sequence[Summary]) -> str:
    lines = [""]
    for one in found:
        median = "" if one.median_s is None else f", median after {duration(one.median_s)}"
        lines.append(
            f"{one.rule}: {one.condemned} of {one.releases} condemned{median};"
            f" {one.healthy} healthy, {one.undecided} undecided; {one.hurt:,.6g} users hurt"
        )
    return "\n".join(lines)
