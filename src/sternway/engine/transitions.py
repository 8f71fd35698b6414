"""The state machine of a release, as data. Read by `engine.step`; the diagram in the docs is drawn from it."""

from __future__ import annotations

from enum import StrEnum

from sternway.domain.releases import Phase


class Trigger(StrEnum):
    """What moves a release from one phase to another."""

    READY_TO_MIRROR = "ready, mirror first"
    READY_TO_PREVIEW = "ready, preview first"
    READY_TO_EXPOSE = "ready"
    READY_TO_RETURN = "ready, proven good before or without an address"
    NEXT_STEP = "enough evidence, next step"
    SAME_STEP = "no harm in a second look"
    SWITCH = "switched, or last step passed"
    SUSPECTED = "suspected"
    LOOK_AGAIN = "looking again"
    CONDEMNED = "condemned"
    ASK = "condemned, a person is asked"
    TOO_OFTEN = "suspected too often, a person is asked"
    TAKEN_BACK = "taken back by a person, or patience ended"
    OVERRULED = "overruled by a person"
    OVERRULED_AT_ALL = "overruled by a person after the switch"
    BAKED = "baked"
    SETTLED = "traffic back, Git reverted"
    SUPERSEDED = "Git asks for something else"


_STARTED = (Phase.MIRRORING, Phase.PREVIEW, Phase.EXPOSED, Phase.WITHDRAWN, Phase.BAKING)
_ACTIVE = (Phase.STARTING, *_STARTED, Phase.ASKING)

TRANSITIONS: dict[tuple[Phase, Trigger], Phase] = (
    {
        (Phase.STARTING, Trigger.READY_TO_MIRROR): Phase.MIRRORING,
        (Phase.STARTING, Trigger.READY_TO_PREVIEW): Phase.PREVIEW,
        (Phase.STARTING, Trigger.READY_TO_EXPOSE): Phase.EXPOSED,
        (Phase.STARTING, Trigger.READY_TO_RETURN): Phase.BAKING,
        (Phase.MIRRORING, Trigger.LOOK_AGAIN): Phase.MIRRORING,
        (Phase.MIRRORING, Trigger.TOO_OFTEN): Phase.ASKING,
        (Phase.WITHDRAWN, Trigger.TOO_OFTEN): Phase.ASKING,
        (Phase.MIRRORING, Trigger.READY_TO_PREVIEW): Phase.PREVIEW,
        (Phase.MIRRORING, Trigger.READY_TO_EXPOSE): Phase.EXPOSED,
        (Phase.PREVIEW, Trigger.SWITCH): Phase.BAKING,
        (Phase.EXPOSED, Trigger.NEXT_STEP): Phase.EXPOSED,
        (Phase.EXPOSED, Trigger.SAME_STEP): Phase.EXPOSED,
        (Phase.EXPOSED, Trigger.SWITCH): Phase.BAKING,
        (Phase.WITHDRAWN, Trigger.SWITCH): Phase.BAKING,
        (Phase.MIRRORING, Trigger.SWITCH): Phase.BAKING,
        (Phase.EXPOSED, Trigger.SUSPECTED): Phase.WITHDRAWN,
        (Phase.BAKING, Trigger.SUSPECTED): Phase.WITHDRAWN,
        (Phase.WITHDRAWN, Trigger.LOOK_AGAIN): Phase.EXPOSED,
        (Phase.ASKING, Trigger.OVERRULED): Phase.EXPOSED,
        (Phase.ASKING, Trigger.OVERRULED_AT_ALL): Phase.BAKING,
        (Phase.BAKING, Trigger.BAKED): Phase.PROMOTED,
        (Phase.ROLLING_BACK, Trigger.SETTLED): Phase.ROLLED_BACK,
    }
    | {
        (phase, trigger): target
        for phase in _ACTIVE
        for trigger, target in (
            (Trigger.TAKEN_BACK, Phase.ROLLING_BACK),
            (Trigger.SUPERSEDED, Phase.SUPERSEDED),
        )
    }
    | {
        (phase, trigger): target
        for phase in (Phase.STARTING, *_STARTED)
        for trigger, target in (
            (Trigger.CONDEMNED, Phase.ROLLING_BACK),
            (Trigger.ASK, Phase.ASKING),
        )
    }
)


def next_phase(phase: Phase, trigger: Trigger) -> Phase:
    """The phase that a trigger leads to. Raises KeyError for a transition that the table does not hold."""
    return TRANSITIONS[phase, trigger]


def diagram() -> str:
    """The state machine as a Mermaid diagram, grouped by (from, to)."""
    edges: dict[tuple[Phase, Phase], list[str]] = {}
    for (phase, trigger), target in TRANSITIONS.items():
        edges.setdefault((phase, target), []).append(trigger.value)
    lines = ["stateDiagram-v2", "    [*] --> starting"]
    lines += [f"    {_id(a)} --> {_id(b)}: {' or '.join(t)}" for (a, b), t in sorted(edges.items())]
    lines += [f"    {_id(phase)} --> [*]" for phase in Phase if phase.over]
    return "\n".join(lines)


def _id(phase: Phase) -> str:
    return phase.value.replace("-", "_")
