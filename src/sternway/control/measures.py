"""Every release in figures, out of the journal's lines in their order. Pure: the same lines give the same figures.

Fed by `sternway.web.figures` with the lines that hold progress or say what was applied, and with where services stand now;
read by `sternway report` and by the metrics that Sternway exports. Keeps some hundred bytes of a release.

An `Account` is what a report needs of a release. The operator writes it into the Release's status, so that `kubectl sternway
report` computes from the same figures what `sternway report` computes from the journal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from sternway.control.histograms import OF_RELEASES_S, Histogram
from sternway.control.status import harm_began_s
from sternway.domain.releases import Phase, Progress, Release
from sternway.engine.lifecycle import PROMOTED_BY, TAKEN_BACK_BY
from sternway.ports import Entry


class By(StrEnum):
    """Who decided how a release ended. PERSON: with a command, or with another commit."""

    ENGINE = "engine"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One release in figures. Times are seconds since the epoch.

    harm_s: the first bad answer (a slow one, when it was judged by latency), else when users first got the candidate.
    detected_s: the first decision that took traffic away. decided_s: the last one, after which it never came back.
    restored_s: when the proxies had acknowledged that. reverted_s: when the revert was on the watched branch.
    of_stable: a person took back what was promoted already; `harm_s` is not known then.
    blind_from_s: since when something is out of sight, and `blind_s` what was before that.
    """

    service: str
    name: str
    version: str
    phase: Phase
    by: By
    started_s: float
    entered_s: float
    ended_s: float | None
    committed_s: float | None
    harm_s: float | None
    detected_s: float | None
    decided_s: float | None
    restored_s: float | None
    reverted_s: float | None
    requests: int
    hurt: int
    rescued: int
    withdrawals: int
    blind_s: float
    blind_from_s: float | None
    of_stable: bool
    false_alarm: bool = False

    @property
    def detect_s(self) -> float | None:
        """How long it took to detect harm, of a release that was rolled back."""
        return self._took_s(self.detected_s)

    @property
    def restore_s(self) -> float | None:
        """How long it took until all traffic was back; for what had been promoted, from the command on."""
        began_s = self.detected_s if self.of_stable else self.harm_s
        return _between(began_s, self.restored_s) if self.phase is Phase.ROLLED_BACK else None

    @property
    def revert_s(self) -> float | None:
        """How long it took until Git was reverted."""
        return self._took_s(self.reverted_s)

    @property
    def lead_s(self) -> float | None:
        """How long it took from the commit to the promotion."""
        return _between(self.committed_s, self.ended_s) if self.phase is Phase.PROMOTED else None

    def blind_until(self, now_s: float) -> float:
        """For how many seconds something was out of sight, by now."""
        here_s = self.ended_s if self.ended_s is not None else now_s
        return self.blind_s + (max(0.0, here_s - self.blind_from_s) if self.blind_from_s is not None else 0.0)

    def _took_s(self, end_s: float | None) -> float | None:
        return _between(self.harm_s, end_s) if self.phase is Phase.ROLLED_BACK else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a report needs to know of a release: plain figures, out of the journal or out of a cluster's Release.

    See Measured, and its properties, for what they mean.
    """

    service: str
    name: str
    version: str
    phase: Phase
    by: By
    started_s: float
    ended_s: float | None
    lead_s: float | None
    detect_s: float | None
    restore_s: float | None
    requests: int
    hurt: int
    withdrawals: int
    blind_s: float
    of_stable: bool
    false_alarm: bool = False


One = TypeVar("One", Measured, Account)


def account(one: Measured) -> Account:
    """Give what a report needs. What is out of sight still counts once the release has ended."""
    return Account(
        service=one.service,
        name=one.name,
        version=one.version,
        phase=one.phase,
        by=one.by,
        started_s=one.started_s,
        ended_s=one.ended_s,
        lead_s=one.lead_s,
        detect_s=one.detect_s,
        restore_s=one.restore_s,
        requests=one.requests,
        hurt=one.hurt,
        withdrawals=one.withdrawals,
        blind_s=one.blind_until(0.0),
        of_stable=one.of_stable,
        false_alarm=one.false_alarm,
    )


def measure(release: Release) -> Measured:
    """Take the figures of a release as it stands."""
    person = release.reason.startswith((PROMOTED_BY, *TAKEN_BACK_BY)) or release.phase is Phase.SUPERSEDED
    of_stable = release.detected_s == release.started_s and release.reason.startswith(TAKEN_BACK_BY)
    reverted = release.reverted
    landed = reverted is not None and reverted.commit is not None and reverted.branch is None
    return Measured(
        service=release.candidate.service,
        name=release.name,
        version=release.candidate.id,
        phase=release.phase,
        by=By.PERSON if person else By.ENGINE,
        started_s=release.started_s,
        entered_s=release.entered_s,
        ended_s=release.ended_s,
        committed_s=release.committed_s,
        harm_s=None if of_stable else _harm_s(release),
        detected_s=release.detected_s,
        decided_s=release.decided_s,
        restored_s=None,
        reverted_s=release.ended_s if landed else None,
        requests=release.requests,
        hurt=release.hurt,
        rescued=release.rescued,
        withdrawals=release.withdrawals,
        blind_s=release.blind_s,
        blind_from_s=release.blind_from_s,
        of_stable=of_stable,
    )


def _harm_s(release: Release) -> float | None:
    """Since when users were harmed; what was found otherwise than by bad answers began with the exposure at the latest."""
    began_s, found_s = harm_began_s(release), release.detected_s
    return began_s if began_s is not None and (found_s is None or began_s <= found_s) else release.exposed_s


def measure_ended(release: Release, applied: Iterable[Entry]) -> Measured:
    """Take the figures of a release that has ended. applied: the lines that say what was applied for it, in their order."""
    found = measure(release)
    for entry in applied:
        if release.ended_s is None or entry.at_s <= release.ended_s:
            found = _restored(found, entry)
    return _at_the_latest(found)


def gave_way(old: One, new: One) -> One:
    """End a release that gave way to the next one in a single pass, of which nothing shows its end."""
    return replace(old, phase=Phase.SUPERSEDED, by=By.PERSON, ended_s=new.started_s)


def judged_by_people(releases: Iterable[One], said: Collection[str]) -> Iterator[One]:
    """Mark the rollbacks that were wrong: a person says so, or the version was tried again and promoted.

    releases: all of one service. said: the names of those of which a person says so.
    """
    ordered = sorted(releases, key=lambda one: one.started_s)
    promoted_s = {one.version: one.started_s for one in ordered if one.phase is Phase.PROMOTED}
    for one in ordered:
        ours = one.phase is Phase.ROLLED_BACK and one.by is By.ENGINE
        wrong = ours and (one.name in said or one.started_s < promoted_s.get(one.version, 0.0))
        yield replace(one, false_alarm=True) if wrong else one


class Totals:
    """The figures of one service's releases in sum."""

    def __init__(self) -> None:
        self.outcomes: dict[tuple[Phase, By], int] = {}
        self.withdrawals = self.requests = self.hurt = self.rescued = self.false_alarms = 0
        self.blind_s = 0.0
        self.detect, self.restore, self.revert = (Histogram(OF_RELEASES_S) for _ in range(3))

    def add(self, one: Measured, now_s: float) -> None:
        """Count a release."""
        if one.phase.over:
            self.outcomes[one.phase, one.by] = self.outcomes.get((one.phase, one.by), 0) + 1
        self.withdrawals += one.withdrawals
        self.requests += one.requests
        self.hurt += one.hurt
        self.rescued += one.rescued
        self.false_alarms += one.false_alarm
        self.blind_s += one.blind_until(now_s)
        for histogram, took_s in (
            (self.detect, one.detect_s),
            (self.restore, one.restore_s),
            (self.revert, one.revert_s),
        ):
            if took_s is not None:
                histogram.add(took_s)


class Books:
    """Takes lines and gives the figures of every release. `seq`: the last line that was taken."""

    def __init__(self) -> None:
        self.seq = 0
        self._releases: dict[str, dict[str, Measured]] = {}
        self._said: set[str] = set()
        self._of_ended: dict[str, Totals] = {}

    def take(self, entry: Entry) -> None:
        """Take the next line of the journal."""
        self.seq = max(self.seq, entry.seq)
        for progress in (entry.before, entry.progress):
            if progress is not None:
                self.see(progress)
        if entry.kind == "applied" and entry.release is not None:
            self._applied(entry.service, entry.release, entry)

    def now(self, progress: Progress) -> None:
        """Take where a service stands now. A release counts once the journal holds its beginning."""
        self._listen(progress)
        if progress.release is not None and progress.release.name in self._releases.get(progress.service, {}):
            self.see(progress)

    def see(self, progress: Progress) -> None:
        """Take where a service stood; what is older than what is known changes nothing."""
        self._listen(progress)
        if progress.release is None:
            return
        found = measure(progress.release)
        known = self._releases.setdefault(progress.service, {})
        old = known.get(found.name)
        if old is None:
            self._give_way(known, found)
        elif old.phase.over or (found.entered_s, found.requests) < (old.entered_s, old.requests):
            return
        elif old.decided_s == found.decided_s:
            found = replace(found, restored_s=old.restored_s)
        known[found.name] = _at_the_latest(found)
        if found.phase.over:
            self._of_ended.pop(progress.service, None)

    def releases(self) -> tuple[Measured, ...]:
        """Every release that was seen, those of a service in their order."""
        return tuple(one for known in self._releases.values() for one in judged_by_people(known.values(), self._said))

    def totals(self, now_s: float) -> dict[str, Totals]:
        """The sums by service. Those of ended releases are kept until another one ends."""
        for service, known in self._releases.items():
            if service not in self._of_ended:
                self._of_ended[service] = Totals()
                for one in judged_by_people((one for one in known.values() if one.phase.over), self._said):
                    self._of_ended[service].add(one, now_s)
        found = deepcopy(self._of_ended)
        for service, known in self._releases.items():
            latest = next(reversed(known.values()))
            if not latest.phase.over:
                found[service].add(latest, now_s)
        return found

    def _listen(self, progress: Progress) -> None:
        """Hear what people say of ended releases."""
        if not self._said.issuperset(progress.false_alarms):
            self._said.update(progress.false_alarms)
            self._of_ended.pop(progress.service, None)

    def _give_way(self, known: dict[str, Measured], new: Measured) -> None:
        """End the release under way that a new one follows."""
        for name, old in known.items():
            if not old.phase.over:
                known[name] = gave_way(old, new)
                self._of_ended.pop(new.service, None)

    def _applied(self, service: str, name: str, entry: Entry) -> None:
        """The proxies have acknowledged something: perhaps that all traffic is back."""
        found = self._releases.get(service, {}).get(name)
        if found is not None:
            self._releases[service][name] = _restored(found, entry)


def _restored(found: Measured, entry: Entry) -> Measured:
    """Note when the proxies had acknowledged the last decision, if this is the line that says so."""
    if found.decided_s is None or found.restored_s is not None or entry.at_s < found.decided_s:
        return found
    back = entry.text.startswith("traffic:") and found.version not in entry.text.replace(",", " ").split()
    return replace(found, restored_s=entry.at_s) if back else found


def _at_the_latest(found: Measured) -> Measured:
    """A rollback is over when the proxies show it, so its end will do where the line that says since when is lost."""
    lost = found.phase is Phase.ROLLED_BACK and found.decided_s is not None and found.restored_s is None
    return replace(found, restored_s=found.ended_s) if lost else found


def _between(start_s: float | None, end_s: float | None) -> float | None:
    return None if start_s is None or end_s is None else max(0.0, end_s - start_s)
