"""A release told in plain words, for whoever reads it the morning after. Pure; used by `cli.render`."""

from __future__ import annotations

from sternway.cli.events import phase, revert_words
from sternway.cli.words import clock, day_and_clock, duration, number, percent, sentence, share, since
from sternway.control.status import ReleaseView
from sternway.web.release_page import Change, ReleasePage

SPEAKS = 2.718
"""A criterion is mentioned from this log of its evidence on (about 3 to 1)."""


def tell(page: ReleasePage) -> tuple[tuple[str, str], ...]:
    """Give (heading, sentences): what changed, was seen, decided, who was hurt, what was done, what to do next."""
    release = page.release
    parts = (
        ("Changed", _changed(release, page.change)),
        ("Seen", _seen(release)),
        ("Decided", _decided(page)),
        ("Hurt", _hurt(release)),
        ("Done", _done(page)),
        ("Next", _next(page)),
    )
    return tuple((heading, " ".join(sentences)) for heading, sentences in parts if sentences)


def _changed(release: ReleaseView, change: Change) -> list[str]:
    author = f" by {change.author}" if change.author else ""
    when = f", {day_and_clock(change.at_s)}" if change.at_s else ""
    subject = f": {change.subject}" if change.subject else ""
    found = [sentence(f"commit {change.commit[:9]}{author}{when}{subject}")] if change.commit else []
    if change.differences:
        found.append(sentence("; ".join(change.differences)))
    if change.unread:
        found.append(sentence(f"Git could not be asked who made it: {change.unread}"))
    began = f"it began {day_and_clock(release.started_s)}."
    if _after_promotion(release):
        found.append(f"{release.name} takes {release.to_version} back, after its promotion; {began}")
    else:
        verb = {"promoted": "replaced", "under way": "is to replace"}.get(release.outcome, "was to replace")
        found.append(
            f"{release.name} {verb} {release.from_version} by {release.to_version} ({release.strategy}); {began}"
        )
    return found


def _after_promotion(release: ReleaseView) -> bool:
    """Whether it is a rollback of a version that was stable already: it was decided when it began."""
    return release.decided_s is not None and release.decided_s == release.started_s


def _seen(release: ReleaseView) -> list[str]:
    found = [sentence(release.judgement)] if release.judgement else []
    # Only what weighs; and a criterion that is counted in two units once, in requests, which a reader means.
    weighs = {c.name for c in release.criteria if c.e_value > SPEAKS}
    told = {c.name: c for c in reversed(release.criteria) if c.name in weighs}
    found += [
        f"{criterion.name}: candidate {share(criterion.candidate_bad, criterion.candidate_total)}, "
        f"stable {share(criterion.stable_bad, criterion.stable_total)}."
        for criterion in reversed(told.values())
    ]
    if release.decided_by:
        found.append(f"It rests on {release.decided_by}.")
    if release.otherwise is not None:
        found.append(sentence(release.otherwise.sentence))
    if release.common_trouble:
        found.append(sentence(release.common_trouble))
    if release.withdrawals:
        times = {1: "once", 2: "twice"}.get(release.withdrawals, f"{release.withdrawals} times")
        found.append(f"Its traffic was withdrawn on suspicion {times}.")
    if release.blind_s is not None:
        what = f"{sentence(release.blind_to)} Not seen" if release.blind_to else "Nothing can be seen"
        found.append(f"{what} for {duration(release.blind_s)}: the split holds.")
    if release.uncounted:
        found.append(sentence(release.uncounted))
    if release.hold:
        found.append(sentence(f"held: {release.hold}"))
    return found


def _decided(page: ReleasePage) -> list[str]:
    release = page.release
    taken_away = release.outcome == "rolled back" or release.phase in ("rolling-back", "withdrawn", "asking")
    if taken_away and release.decided_s is not None:
        return _taken_away(page, release.decided_s)
    if release.outcome != "under way" and release.ended_s is not None:
        return [f"{_at(release, release.ended_s)} it was {release.outcome}: {release.reason}."]
    return [sentence(f"{phase(release)}: {release.reason}")]


def _at(release: ReleaseView, at_s: float) -> str:
    return f"At {clock(at_s)} ({since(release.started_s, at_s)})"


def _taken_away(page: ReleasePage, decided_s: float) -> list[str]:
    """Tell the last decision that took traffic away, and the first one if there were several.

    When traffic was away already, taking the release back is a decision of its own, with a time of its own.
    """
    release, back_s = page.release, page.taken_back_s
    after = f", {duration(release.detect_s)} after the first bad answer" if release.detect_s is not None else ""
    if _after_promotion(release):
        return [f"{_at(release, decided_s)} to go back to {release.from_version}: {release.reason}."]
    first = release.detected_s
    found = []
    if first is not None and first != decided_s:
        found = [f"Its traffic was taken away first at {clock(first)} ({since(release.started_s, first)}){after}."]
        after = ""
    at = f"{_at(release, decided_s)}{after}"
    if back_s is not None and back_s > decided_s:
        return [
            *found,
            f"{at}, its traffic was taken away. {_at(release, back_s)}, it was taken back: {release.reason}.",
        ]
    unseen = not release.requests and release.phase in ("rolling-back", "rolled-back")
    what = "it was taken back before it had got a request" if unseen else "its traffic was taken away"
    return [*found, f"{at}, {what}: {release.reason}."]


def _hurt(release: ReleaseView) -> list[str]:
    if not release.requests:
        return ["No request of a caller reached the candidate."]
    if not release.hurt:
        slow = _slow_answers(release)
        went = f"{number(release.requests, 'request')} went to the candidate"
        return [f"{went}; no caller got an error{slow}." if slow else f"{went}; no caller got a bad answer."]
    part = percent(100 * release.hurt / release.requests)
    return [f"{release.hurt:,} of {number(release.requests, 'request')} to the candidate ({part}) were answered badly."]


def _slow_answers(release: ReleaseView) -> str:
    """Count the slow answers, by the criterion of latency that weighs most; nothing where none weighs."""
    slow = [c for c in release.criteria if c.name.startswith("latency") and c.e_value > SPEAKS]
    if not slow:
        return ""
    worst = max(slow, key=lambda criterion: criterion.e_value)
    return f", but {share(worst.candidate_bad, worst.candidate_total)} got a slow answer ({worst.name})"


def _done(page: ReleasePage) -> list[str]:
    release = page.release
    if release.outcome == "rolled back" or release.phase == "rolling-back":
        mesh = f"Mesh: all traffic is back on {release.from_version}"
        mesh += (
            f", the last request to the candidate began {_after(release.switch_s)} the decision."
            if release.switch_s is not None
            else "."
        )
        held = f"{release.to_version} is held." if page.held else f"{release.to_version} is not held any more."
        return [
            mesh,
            f"Workload: {release.to_version} is stopped once its last requests are answered; {held}",
            _git(release),
        ]
    if release.outcome == "promoted":
        return [f"All traffic is on {release.to_version}, which is proven good."]
    if release.phase in ("withdrawn", "asking"):
        return [f"All traffic is on {release.from_version} meanwhile; nothing was written to Git."]
    return []


def _after(seconds: float) -> str:
    return "before" if seconds <= 0 else f"{duration(seconds)} after"


def _git(release: ReleaseView) -> str:
    if not release.reverts:
        return "Git: left as it is."
    if release.revert_commit is None and release.revert_branch is None and not release.revert_message:
        return "Git: the revert is still to be pushed; it is tried until it is done."
    return sentence(f"Git: {revert_words(release)}")


def _next(page: ReleasePage) -> list[str]:
    release = page.release
    service = release.service
    if release.phase == "asking":
        return [sentence(answers(release))]
    if release.outcome == "under way":
        return ["`sternway status --watch` shows it live."]
    if release.outcome == "promoted":
        return [f"Nothing; should it turn out bad after all, `sternway rollback {service}` takes it back."]
    held = release.outcome == "rolled back" and page.latest and page.held
    return _after_a_rollback(release) if held else []


def answers(release: ReleaseView) -> str:
    """Say how a release that asks is answered, and what happens if it is not."""
    service = release.service
    left = f" within {duration(release.answers_within_s)}" if release.answers_within_s is not None else ""
    otherwise = {"rollback": "it is rolled back", "promote": "it is promoted", "hold": "it stays as it is"}
    return (
        f"answer{left}: `sternway rollback {service}` takes it back, `sternway resume {service}` exposes it again, "
        f"`sternway promote {service}` gives it all traffic; without an answer "
        f"{otherwise.get(release.unanswered or '', 'it stays as it is')}"
    )


def _after_a_rollback(release: ReleaseView) -> list[str]:
    service = release.service
    if release.revert_branch:
        return [f"Merge or drop the branch {release.revert_branch}: the watched branch still asks for the bad version."]
    if release.revert_commit:
        return [
            "Mend the cause and commit a new version.",
            f"To try this one again as it is: bring it back in Git, then `sternway retry {service}`.",
        ]
    return [f"Git still asks for it: commit another version, or `sternway retry {service}`."]
