"""Everything about one release: what changed, where it stands, and what happened when. Pure; called by `web.gather`.

The timeline is the journal condensed for a reader: a line when something was decided, done, refused or failed, and
none for a pass that only looked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from sternway.control.status import ReleaseView
from sternway.domain.releases import Decision, Observation, Phase
from sternway.domain.versions import ConfigFile, EnvVar, Version
from sternway.ports import EVIDENCE, Entry

_LONGEST = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The commit that began a release. differences: what differs between the two versions, in plain words.

    unread: why Git could not be asked about the commit.
    """

    commit: str
    author: str
    subject: str
    at_s: float | None
    differences: tuple[str, ...]
    unread: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A line of the timeline. kind: decision, applied, failed, seen, person, git, ledger or note."""

    at_s: float
    kind: str
    text: str
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePage:
    """One release in full. stable_now: what the service runs today. held: the candidate was taken back.

    taken_back_s: when it was decided to roll it back; its traffic may have been away already.
    """

    release: ReleaseView
    change: Change
    timeline: tuple[Moment, ...]
    stable_now: str | None
    held: bool
    latest: bool
    taken_back_s: float | None = None


def differences(old: Version, new: Version) -> tuple[str, ...]:
    """Say in plain words what `new` changes. Secrets are named, never shown."""
    a, b = old.workload, new.workload
    found = []
    if a.image != b.image:
        found.append(f"image {a.image} -> {b.image}")
    for name in ("command", "args", "port", "readiness", "liveness", "startup", "grace_s"):
        before, after = getattr(a, name), getattr(b, name)
        if before != after:
            found.append(f"{name.removesuffix('_s').replace('_', ' ')} changed")
    found += _by_name("environment", {e.name: e for e in a.env}, {e.name: e for e in b.env})
    found += _by_name("file", {f.path: f for f in a.files}, {f.path: f for f in b.files})
    before_policy, after_policy = asdict(old.policy), asdict(new.policy)
    for name, before in before_policy.items():
        if before == after_policy[name]:
            continue
        if name == "rules":  # a route's rules are no short text
            found.append("the rules of its routes changed")
        else:
            found.append(f"mesh policy {name} {_short(before)} -> {_short(after_policy[name])}")
    return tuple(found)


def _by_name(
    what: str, old: dict[str, EnvVar] | dict[str, ConfigFile], new: dict[str, EnvVar] | dict[str, ConfigFile]
) -> Iterator[str]:
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before is None:
            yield f"{what} {name} added"
        elif after is None:
            yield f"{what} {name} removed"
        elif before != after:
            if isinstance(before, EnvVar) and isinstance(after, EnvVar) and not (before.secret or after.secret):
                yield f"{what} {name} {_short(before.value)} -> {_short(after.value)}"
            else:
                yield f"{what} {name} changed"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return repr(text) if not text else text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def timeline(entries: Iterable[Entry]) -> tuple[Moment, ...]:
    """Condense a release's journal, oldest first."""
    teller = _Teller()
    moments: list[Moment] = []
    for entry in entries:
        moments.extend(teller.tell(entry))
    moments.sort(key=lambda moment: moment.at_s)
    return tuple(_collapsed(moments))


def taken_back_s(entries: Iterable[Entry]) -> float | None:
    """When it was decided to roll the release back, if it was."""
    for entry in entries:
        if entry.decision is not None and entry.decision.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
            return entry.at_s if entry.observation is None else entry.observation.now_s
    return None


class _Teller:
    """Remembers what was said, so that only news is told."""

    def __init__(self) -> None:
        self._said: tuple[Phase | None, str] | None = None
        self._share_said = False
        self._first_bad = False
        self._reverted = False
        self._marked: set[tuple[str, str]] = set()

    def tell(self, entry: Entry) -> Iterator[Moment]:
        if entry.kind == "applied":
            # The share of a step stated in requests per second follows the traffic; once a decision is enough.
            if not (entry.text.startswith("traffic:") and self._share_said and "workloads:" not in entry.text):
                yield Moment(at_s=entry.at_s, kind="applied", text=entry.text)
            self._share_said = True
        elif entry.kind not in ("pass", EVIDENCE):
            kind = entry.kind if entry.kind == "failed" else "note"
            yield Moment(at_s=entry.at_s, kind=kind, text=entry.text)
        if entry.decision is not None and entry.observation is not None:
            yield from self._observed(entry.observation, entry.release)
            yield from self._decided(entry.decision, entry.observation)

    def _observed(self, seen: Observation, release: str | None) -> Iterator[Moment]:
        if seen.reading.first_bad_s is not None and not self._first_bad:
            self._first_bad = True
            yield Moment(at_s=seen.reading.first_bad_s, kind="seen", text="the candidate's first bad answer")
        # The revert of the release before is reported until there is a newer one.
        if seen.reverted is not None and seen.reverted.release == release and not self._reverted:
            self._reverted = True
            yield Moment(at_s=seen.now_s, kind="git", text=_git_words(seen))

    def _decided(self, decision: Decision, seen: Observation) -> Iterator[Moment]:
        answers = {reply.command: reply for reply in decision.replies}
        for command in seen.commands:
            reply = answers.get(command.id)
            if reply is not None:
                why = f" ({command.reason})" if command.reason else ""
                outcome = "" if reply.accepted else "refused: "
                text = f"{command.by} asked to {command.verb.value}{why}: {outcome}{reply.message}"
                yield Moment(at_s=command.at_s, kind="person", text=text)
        news = (decision.phase, decision.reason)
        if news != self._said:
            self._said = news
            self._share_said = False
            phase = decision.phase.value.replace("-", " ") if decision.phase else "at rest"
            yield Moment(at_s=seen.now_s, kind="decision", text=f"{phase}: {decision.reason}")
        for mark in decision.marks:
            if (mark.version, mark.verdict) not in self._marked:
                self._marked.add((mark.version, mark.verdict))
                text = f"{mark.version} is called {mark.verdict}: {mark.why}"
                yield Moment(at_s=mark.at_s, kind="ledger", text=text)


def _git_words(seen: Observation) -> str:
    reverted = seen.reverted
    assert reverted is not None
    place = f"revert {reverted.commit[:9]}" if reverted.commit else "no revert"
    place += f" on branch {reverted.branch}" if reverted.branch else ""
    return f"{place}: {reverted.message}" if reverted.message else place


def _collapsed(moments: Sequence[Moment]) -> list[Moment]:
    """Say a thing that was repeated (a server that is down) once, with a count."""
    kept: list[Moment] = []
    for moment in moments:
        last = kept[-1] if kept else None
        if last is not None and (last.kind, last.text) == (moment.kind, moment.text):
            kept[-1] = replace(last, times=last.times + 1)
        else:
            kept.append(moment)
    return kept
