"""People's commands. Pure; called by `engine.step`. Every command is answered, once, accepted or refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sternway.domain.guards import Then
from sternway.domain.policies import Consent, Point, Rule
from sternway.domain.releases import Command, Mark, Observation, Phase, Progress, Release, Reply, Verb
from sternway.domain.versions import Version
from sternway.engine.barring import KEEP_CONSENTS, barred, how_to_pass
from sternway.engine.gates import failed, overruled
from sternway.engine.lifecycle import KEEP_FALSE_ALARMS, PROMOTED_BY, TAKEN_BACK_BY, enter, open_rollback, take_back
from sternway.engine.transitions import Trigger

_ABORTED_BY, _ROLLED_BACK_BY = TAKEN_BACK_BY


class _Refusal(Exception):
    """Why a command cannot be obeyed now."""


def obey(progress: Progress, seen: Observation) -> tuple[Progress, tuple[Reply, ...]]:
    """Carry out the new commands in their order."""
    replies: list[Reply] = []
    for command in seen.commands:
        if command.id <= progress.last_command:
            continue
        progress = replace(progress, last_command=command.id)
        try:
            progress, message = _VERBS[command.verb](progress, seen, command)
            replies.append(Reply(command=command.id, accepted=True, message=message))
        except _Refusal as refusal:
            replies.append(Reply(command=command.id, accepted=False, message=str(refusal)))
    return progress, tuple(replies)


def _active(progress: Progress) -> Release:
    release = progress.release
    if release is None or release.phase.over:
        raise _Refusal(f"no release of {progress.service} is under way")
    if release.phase is Phase.ROLLING_BACK:
        raise _Refusal(f"{release.name} is being rolled back: {release.reason}")
    return release


def _promote(progress: Progress, seen: Observation, command: Command) -> tuple[Progress, str]:
    release = _active(progress)
    reason = f"{PROMOTED_BY} {command.by}{_because(command)}"
    _refuse_while_held(progress, release, seen)
    if release.phase is Phase.BAKING:
        release = replace(release, baked_s=max(release.baked_s, release.guard.bake_s), reason=reason, paused=False)
        return replace(progress, release=release), f"{release.name}: the bake ends now"
    if release.phase is Phase.STARTING:
        what = f"is {release.reason}" if release.gates_running else "is not ready yet"
        if failed(release, Then.HOLD):
            what = "is held by a gate: resume it to go on without that gate"
        raise _Refusal(f"{release.name} {what}; promote it when it is exposed, or abort it")
    progress = _agree(progress, release.candidate, Rule.APPROVAL, command)  # who promotes has approved
    release = replace(release, paused=False)
    trigger = Trigger.OVERRULED_AT_ALL if release.phase is Phase.ASKING else Trigger.SWITCH
    release = enter(release, trigger, seen.now_s, reason)
    return replace(
        progress, release=release
    ), f"{release.name}: all traffic goes to {release.candidate.id}, then it bakes"


def _pause(progress: Progress, _seen: Observation, _command: Command) -> tuple[Progress, str]:
    release = replace(_active(progress), paused=True)
    return replace(
        progress, release=release
    ), f"{release.name} is paused at {release.percent:g} %; harm still takes it back"


def _resume(progress: Progress, seen: Observation, command: Command) -> tuple[Progress, str]:
    release = _active(progress)
    if release.phase is Phase.ASKING:
        _refuse_while_held(progress, release, seen)
        trigger = Trigger.OVERRULED_AT_ALL if release.returns_to is Phase.BAKING else Trigger.OVERRULED
        release = enter(release, trigger, seen.now_s, f"overruled by {command.by}{_because(command)}")
        release = replace(release, paused=False)
        return replace(progress, release=release), f"{release.name} is exposed again, its evidence starts anew"
    held = failed(release, Then.HOLD)
    if held and not release.paused:
        why = f"passed over by {command.by}{_because(command)}"
        return replace(progress, release=overruled(release, why)), f"{release.name} goes on though {held}"
    if not release.paused:
        raise _Refusal(f"{release.name} is not paused")
    return replace(progress, release=replace(release, paused=False)), f"{release.name} goes on"


def _abort(progress: Progress, seen: Observation, command: Command) -> tuple[Progress, str]:
    release = _active(progress)
    progress = take_back(progress, release, seen.now_s, f"{_ABORTED_BY} {command.by}{_because(command)}", revert=False)
    return (
        progress,
        f"{release.name}: traffic goes back to {release.stable.id}; Git is left as it is, {release.candidate.id} is held",
    )


def _retry(progress: Progress, seen: Observation, command: Command) -> tuple[Progress, str]:
    wanted = seen.wanted.version if seen.wanted else None
    if wanted is None or (wanted.id not in progress.held and wanted.id not in seen.ledger_bad):
        held = ", ".join(progress.held) or "nothing"
        raise _Refusal(
            f"Git asks for {wanted.id if wanted else 'nothing'}, which is not held (held: {held}); "
            "commit the version that you want and it is released"
        )
    if progress.release and not progress.release.phase.over:
        raise _Refusal(f"{progress.release.name} is still {progress.release.phase.value}; wait for its end")
    pardon = Mark(
        service=progress.service,
        version=wanted.id,
        commit=wanted.commit,
        verdict="retry",
        release=progress.release.name if progress.release else "",
        why=f"retry asked by {command.by}{_because(command)}",
        at_s=command.at_s,
    )
    held_now = tuple(v for v in progress.held if v != wanted.id)
    progress = replace(
        progress,
        held=held_now,
        marks=(*progress.marks, pardon),
        pardoned=(*(v for v in progress.pardoned if v != wanted.id), wanted.id),
    )
    return progress, f"{wanted.id} is not held any more and is released again"


def _rollback(progress: Progress, seen: Observation, command: Command) -> tuple[Progress, str]:
    reason = f"{_ROLLED_BACK_BY} {command.by}{_because(command)}"
    release = progress.release
    if seen.wanted is None:
        raise _Refusal(f"{progress.service} was removed from Git")
    if release and not release.phase.over:
        release = _active(progress)
        if command.to and not _matches(release.stable, command.to):
            raise _Refusal(
                f"{release.name} is under way and goes back to {release.stable.id}; "
                f"roll it back first, then roll back to {command.to}"
            )
        progress = take_back(progress, release, seen.now_s, reason, revert=True)
        return progress, f"{release.name}: traffic goes back to {release.stable.id}"
    target = _target(progress, seen, command.to)
    progress = open_rollback(progress, seen, target, reason)
    return progress, f"traffic goes back to {target.id}, proven good before"


def _false_alarm(progress: Progress, _seen: Observation, command: Command) -> tuple[Progress, str]:
    """Remember what a person says of an ended release. Whoever asks has looked up that Sternway rolled it back."""
    name, release = command.to or "", progress.release
    latest = release is not None and release.name == name
    if name in progress.false_alarms:
        raise _Refusal(f"{name} is counted as a false alarm already")
    if release is not None and latest and release.phase is not Phase.ROLLED_BACK:
        raise _Refusal(f"{name} is {release.phase.value}: only a release that was rolled back can be a false alarm")
    if name.rpartition("-")[0] != progress.service:
        raise _Refusal(f"{name or 'nothing'} is no release of {progress.service}")
    progress = replace(progress, false_alarms=(*progress.false_alarms, name)[-KEEP_FALSE_ALARMS:])
    held = release is not None and latest and release.candidate.id in progress.held
    more = f"; its version is still held: `sternway retry {progress.service}` releases it again" if held else ""
    return progress, f"{name} is counted as a false alarm{more}"


def _approve(progress: Progress, seen: Observation, command: Command) -> tuple[Progress, str]:
    version = _asked_about(progress, seen, Rule.APPROVAL)
    return _agree(progress, version, Rule.APPROVAL, command), f"{version.id} is approved"


def _override(progress: Progress, seen: Observation, command: Command) -> tuple[Progress, str]:
    version = _asked_about(progress, seen, Rule.FREEZE)
    if not command.reason:
        raise _Refusal("a freeze is overridden for a reason, which is kept in the journal: add `--reason …`")
    return _agree(
        progress, version, Rule.FREEZE, command
    ), f"{version.id} passes the freeze; everything else stays frozen"


def _asked_about(progress: Progress, seen: Observation, rule: Rule) -> Version:
    """The version that a person may let pass: the one under way, or the one that waits."""
    release = progress.release
    under_way = release is not None and not release.phase.over
    version = release.candidate if release is not None and under_way else seen.wanted.version if seen.wanted else None
    stable = progress.stable
    if version is None or (not under_way and stable is not None and version.id == stable.id):
        raise _Refusal(f"no version of {progress.service} waits or is being released")
    if not any(bar.rule is rule for bar in seen.bars):
        what = "asks for an approval" if rule is Rule.APPROVAL else "freezes it now"
        raise _Refusal(f"no policy of {progress.service} {what}")
    known = next((one for one in progress.consents if one.version == version.id and one.rule is rule), None)
    if known is not None:
        raise _Refusal(f"{version.id} needs no more: {known}")
    return version


def _agree(progress: Progress, version: Version, rule: Rule, command: Command) -> Progress:
    """Keep a person's word on a version; once for each rule."""
    consent = Consent(version=version.id, rule=rule, by=command.by, at_s=command.at_s, reason=command.reason)
    others = tuple(one for one in progress.consents if (one.version, one.rule) != (version.id, rule))
    return replace(progress, consents=(*others, consent)[-KEEP_CONSENTS:])


def _refuse_while_held(progress: Progress, release: Release, seen: Observation) -> None:
    """A freeze holds also against a person's word to go on; it has its own word, with a reason."""
    bar = barred(progress, release.candidate, seen, Point.MOVE)
    if bar is not None:
        raise _Refusal(f"{release.name}: {bar.sentence}; {how_to_pass(bar, progress.service)}")


def _target(progress: Progress, seen: Observation, to: str | None) -> Version:
    stable = progress.stable
    if stable is None:
        raise _Refusal(f"{progress.service} has no version in service")
    fallback = seen.wanted.fallback if seen.wanted else None
    good: list[Version] = [v for v in (*progress.good, *((fallback,) if fallback else ())) if v.id != stable.id]
    chosen: list[Version] = [v for v in good if to is None or _matches(v, to)]
    if chosen:
        return chosen[0]
    known = ", ".join(v.id for v in good) or "none"
    if to:
        raise _Refusal(
            f"{to} is no version of {progress.service} that was proven good; proven good besides {stable.id}: {known}"
        )
    raise _Refusal(
        f"no version of {progress.service} besides {stable.id} was proven good; name none, commit the one that you want"
    )


def _matches(version: Version, to: str) -> bool:
    return to in (version.id, version.workload.tag, version.workload.image) or (
        len(to) >= 7 and version.commit.startswith(to)
    )


def _because(command: Command) -> str:
    return f": {command.reason}" if command.reason else ""


_VERBS: dict[Verb, Callable[[Progress, Observation, Command], tuple[Progress, str]]] = {
    Verb.PROMOTE: _promote,
    Verb.PAUSE: _pause,
    Verb.RESUME: _resume,
    Verb.ABORT: _abort,
    Verb.RETRY: _retry,
    Verb.ROLLBACK: _rollback,
    Verb.FALSE_ALARM: _false_alarm,
    Verb.APPROVE: _approve,
    Verb.OVERRIDE: _override,
}
