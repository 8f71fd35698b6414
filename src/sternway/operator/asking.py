"""People's commands in a cluster: an annotation of the Guard, as `kubectl sternway …` writes it. Called before each pass.

Who may patch Guards may command; the answer stands in the Guard's status under the command's id.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sternway.domain.releases import Reply, Verb
from sternway.kubernetes.api import Object
from sternway.kubernetes.ours import annotation
from sternway.manifests.models.status import CommandStatus
from sternway.ports import CommandQueue

COMMAND = "sternway.dev/command"
"""Annotation of a Guard: {"id", "verb", "by", "to", "reason"}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A command as somebody wrote it. verb None: it cannot be understood, for the reason in `wrong`."""

    id: str
    verb: Verb | None
    by: str = ""
    to: str | None = None
    reason: str = ""
    wrong: str = ""


class Answers:
    """Records commands, and knows what became of the last one of each service, for its Guard's status."""

    def __init__(self) -> None:
        self._last: dict[str, CommandStatus] = {}
        self._waiting: dict[int, tuple[str, str]] = {}

    def of(self, service: str) -> CommandStatus | None:
        """What became of the last command."""
        return self._last.get(service)

    async def take(self, service: str, guard: Object, commands: CommandQueue, now_s: float) -> None:
        """Record the command that stands on a Guard, once: also when who recorded it has died before it could say so there."""
        asked = asked_of(guard)
        told = self._last.get(service)
        if asked is None or (told is not None and told.id == asked.id):
            return
        if asked.verb is None:
            self._last[service] = CommandStatus(id=asked.id, accepted=False, message=asked.wrong)
            return
        command = await commands.add(
            service, asked.verb.value, asked.by, now_s, asked.to, asked.reason, asked=asked.id[:253]
        )
        self._last[service] = CommandStatus(id=asked.id, accepted=True, message="recorded")
        self._waiting[command.id] = (service, asked.id)

    def told(self, reply: Reply) -> None:
        """The engine has answered a command."""
        waiting = self._waiting.pop(reply.command, None)
        if waiting is not None:
            service, asked = waiting
            self._last[service] = CommandStatus(id=asked, accepted=reply.accepted, message=reply.message)


def asked_of(guard: Object) -> Asked | None:
    """Read the command on a Guard that is not answered yet."""
    text = annotation(guard, COMMAND)
    if not text:
        return None
    try:
        said = json.loads(text)
        one = Asked(
            id=str(said["id"]),
            verb=Verb(said["verb"]),
            by=str(said.get("by") or "somebody"),
            to=str(said["to"]) if said.get("to") else None,
            reason=str(said.get("reason") or ""),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        known = ", ".join(verb.value for verb in Verb)
        form = '{"id": …, "verb": …, "by": …, "to": …, "reason": …}'
        one = Asked(id=text[:64], verb=None, wrong=f"{COMMAND} must be {form} with a verb of {known}")
    answered = (guard.get("status") or {}).get("lastCommand") or {}
    return None if answered.get("id") == one.id else one


def spelled(one: Asked) -> str:
    """Write a command as an annotation."""
    assert one.verb is not None
    said = {"id": one.id, "verb": one.verb.value, "by": one.by, "to": one.to, "reason": one.reason}
    return json.dumps({key: value for key, value in said.items() if value})
