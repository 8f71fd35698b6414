"""The ledger in a cluster: the last word on each version, kept as an annotation of the service's Guard. Pure.

A rebuilt operator with an empty journal reads it back, and holds what was bad.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sternway.domain.releases import Mark
from sternway.kubernetes.api import Object
from sternway.kubernetes.ours import LEDGER, annotation

MOST = 40
"""How many versions are remembered."""
_LONGEST_WHY = 300


def read_ledger(guard: Object, service: str) -> tuple[Mark, ...]:
    """Every mark on a Guard, oldest first. What cannot be read is none: a person may have edited it."""
    try:
        lines = json.loads(annotation(guard, LEDGER) or "[]")
        return tuple(_mark(line, service) for line in lines)
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()


def with_marks(known: Sequence[Mark], new: Sequence[Mark]) -> tuple[Mark, ...]:
    """The ledger with further marks: one for each version, its latest, and of those the latest."""
    last = {mark.version: mark for mark in sorted((*known, *new), key=lambda mark: mark.at_s)}
    return tuple(sorted(last.values(), key=lambda mark: mark.at_s))[-MOST:]


def spell_ledger(marks: Sequence[Mark]) -> str:
    """The annotation's text."""
    lines = [
        {
            "version": mark.version,
            "verdict": mark.verdict,
            "pod": mark.commit,
            "release": mark.release,
            "why": mark.why[:_LONGEST_WHY],
            "at": round(mark.at_s, 3),
        }
        for mark in marks
    ]
    return json.dumps(lines, separators=(",", ":"))


def bad_versions(marks: Sequence[Mark]) -> tuple[str, ...]:
    """Ids of the versions whose last word is bad."""
    last = {mark.version: mark.verdict for mark in marks}
    return tuple(sorted(version for version, verdict in last.items() if verdict == "bad"))


def _mark(line: dict[str, object], service: str) -> Mark:
    return Mark(
        service=service,
        version=str(line["version"]),
        commit=str(line["pod"]),
        verdict=str(line["verdict"]),
        release=str(line["release"]),
        why=str(line["why"]),
        at_s=float(str(line["at"])),
    )
