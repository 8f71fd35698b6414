"""A release told in plain words, from its Release and its Guard in a cluster. Pure; used by `cli.kubectl`.

What is not in the status is not told: the evidence, and each moment, stand in the journal alone.
"""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sternway.cli.render import PHASE_STYLES
from sternway.cli.words import clock, day_and_clock, duration, number, percent, sentence, since
from sternway.kubernetes.api import Object, condition_of, name_of, namespace_of
from sternway.operator.accounts import at_s

_OVER = {"promoted": "promoted", "rolled-back": "taken back", "superseded": "superseded"}


def tell(release: Object, guard: Object | None) -> tuple[tuple[str, str], ...]:
    """Give (heading, sentences): what changed, was decided, who was hurt, what was done, what to do next."""
    said = release.get("status") or {}
    if not said:
        return (("Seen", "Sternway has not looked at it yet."),)
    parts = (
        ("Changed", _changed(release, said)),
        ("Gates", _gates(said)),
        ("Decided", _decided(said)),
        ("Hurt", _hurt(said)),
        ("Done", _done(said)),
        ("Next", _next(release, said, guard)),
    )
    return tuple((heading, " ".join(sentences)) for heading, sentences in parts if sentences)


def rendered(release: Object, guard: Object | None) -> RenderableType:
    """Render the story."""
    phase = str((release.get("status") or {}).get("phase", ""))
    title = Text(f"{name_of(release)}: ", "bold").append(phase, PHASE_STYLES.get(phase, "cyan"))
    story = Table.grid(padding=(0, 2))
    story.add_column(style="bold", no_wrap=True)
    story.add_column(ratio=1)
    for heading, words in tell(release, guard):
        story.add_row(heading, Text(words))
    return Group(title, Text(), story, Text())


def _changed(release: Object, said: Object) -> list[str]:
    spec = release["spec"]
    stable, candidate = spec["stable"]["id"], _version(spec["candidate"])
    began = f"it began {day_and_clock(at_s(said['startedAt']) or 0.0)}."
    if said.get("afterPromotion"):
        return [f"{name_of(release)} takes {candidate} back, after its promotion; {began}"]
    verb = {"promoted": "replaced", "rolled-back": "was to replace", "superseded": "was to replace"}
    found = [f"{name_of(release)} {verb.get(said['phase'], 'is to replace')} {stable} by {candidate}; {began}"]
    if said.get("revision"):
        found.append(f"Argo CD or Flux brought it with commit {said['revision'][:9]}.")
    return found


def _version(version: Object) -> str:
    return f"{version['id']} ({version['image']})" if version.get("image") else str(version["id"])


def _gates(said: Object) -> list[str]:
    found = []
    for gate in said.get("gates") or ():
        why = f", {gate['message']}" if gate.get("message") else ""
        found.append(f"{gate['name']} ({gate['point']}): {gate['state']}{why}.")
    return found


def _decided(said: Object) -> list[str]:
    started_s, ended_s = at_s(said["startedAt"]) or 0.0, at_s(said.get("endedAt"))
    found = []
    if said.get("withdrawals"):
        times = {1: "once", 2: "twice"}.get(said["withdrawals"], f"{said['withdrawals']} times")
        found.append(f"Its traffic was withdrawn on suspicion {times}.")
    detected_s = at_s(said.get("detectedAt"))
    if detected_s is not None and not said.get("afterPromotion"):
        after = f", {duration(said['detectSeconds'])} after harm began" if "detectSeconds" in said else ""
        found.append(
            f"Its traffic was taken away first at {clock(detected_s)} ({since(started_s, detected_s)}){after}."
        )
    why = f": {said['message']}" if said.get("message") else ""
    if ended_s is None:
        return [*found, sentence(f"{said['phase']}, {percent(said.get('weight', 0.0))} of the traffic{why}")]
    by = {"engine": " by Sternway", "person": " by a person"}.get(said.get("endedBy", ""), "")
    what = _OVER.get(said["phase"], said["phase"])
    return [*found, sentence(f"At {clock(ended_s)} ({since(started_s, ended_s)}) it was {what}{by}{why}")]


def _hurt(said: Object) -> list[str]:
    requests, hurt = said.get("requests", 0), said.get("hurt", 0)
    if not requests:
        return ["No request of a caller is known to have reached the candidate."]
    if not hurt:
        return [f"{number(requests, 'request')} went to the candidate; no caller got a bad answer."]
    part = percent(100 * hurt / requests)
    return [f"{hurt:,} of {number(requests, 'request')} to the candidate ({part}) were answered badly."]


def _done(said: Object) -> list[str]:
    found = []
    if "restoreSeconds" in said:
        began = "the command" if said.get("afterPromotion") else "harm began"
        found.append(f"All traffic was back {duration(said['restoreSeconds'])} after {began}.")
    if said.get("blindSeconds"):
        found.append(f"For {duration(said['blindSeconds'])} something was out of sight that the judge needs.")
    if said.get("reverted"):
        found.append(f"Commit {said['reverted'][:9]} takes it back in Git.")
    if said.get("undone"):
        found.append(sentence(said["undone"]))
    if said.get("falseAlarm"):
        found.append("A person said that this rollback was wrong: it is counted as a false alarm.")
    return found


def _next(release: Object, said: Object, guard: Object | None) -> list[str]:
    service = f"{release['spec']['service']} -n {namespace_of(release)}"
    if said["phase"] == "asking":
        ways = {"rollback": "takes it back", "resume": "exposes it again", "promote": "gives it all traffic"}
        return [f"Answer: {', '.join(f'`kubectl sternway {verb} {service}` {does}' for verb, does in ways.items())}."]
    if "endedAt" not in said:
        return [f"`kubectl sternway status {service}` shows where it stands."]
    if said["phase"] == "promoted":
        return [f"Nothing; should it turn out bad after all, `kubectl sternway rollback {service}` takes it back."]
    latest = ((guard or {}).get("status") or {}).get("release") == name_of(release)
    held = guard is not None and condition_of(guard, "Degraded").get("reason") == "RolledBack"
    if said["phase"] != "rolled-back" or not (latest and held):
        return []
    return [f"Deploy another version, or `kubectl sternway retry {service}`: this one is held."]
