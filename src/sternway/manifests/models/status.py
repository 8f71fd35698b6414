"""What the operator writes into custom resources: the status of a Guard, and a Release. For people and for `kubectl`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Percent = Annotated[float, Field(ge=0, le=100)]
Seconds = Annotated[float, Field(ge=0)]
Plain = Annotated[Any, WithJsonSchema({"type": "object"})]


class Written(BaseModel):
    """A part of what the operator writes: camelCase, nothing unknown."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )


class Condition(Written):
    """One aspect of the present state, by the convention of Kubernetes."""

    type: Annotated[str, Field(max_length=316)]
    """Which aspect."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: int | None = None
    """The generation of the spec that this is about."""
    last_transition_time: Time
    """When `status` changed last."""
    reason: Annotated[str, Field(max_length=1024)]
    """Why, in one word for programs."""
    message: Annotated[str, Field(max_length=32768)]
    """Why, in a sentence for people."""


class Conditions(Written):
    """What every status has."""

    observed_generation: int | None = None
    """The generation of the spec that was read last."""
    conditions: tuple[Condition, ...] = ()
    """The present state, aspect by aspect."""


class VersionStatus(Written):
    """A version of a service."""

    id: str
    """Its name: the image's tag and a fingerprint of all that runs."""
    image: str = ""
    """The image of its main container."""


class CommandStatus(Written):
    """What became of a person's command."""

    id: str
    """Which one: as it stands in the annotation."""
    accepted: bool
    """Whether it is obeyed."""
    message: str
    """What it does, or why it was refused."""


class GuardStatus(Conditions):
    """Where the service stands.

    Conditions: `Ready` (the Guard is valid and in force), `Progressing` (a release is under way), `Degraded` (a release was
    taken back, or something is in the way), `Sighted` (a release can be judged by its requests).
    """

    phase: str | None = None
    """Where the present release stands: `starting`, `exposed`, `withdrawn`, `baking`, …; `idle` without one."""
    stable: VersionStatus | None = None
    """The version that is proven good and carries the traffic."""
    candidate: VersionStatus | None = None
    """The version that is being released."""
    weight: Percent | None = None
    """The candidate's share of the traffic, in percent."""
    release: str | None = None
    """The latest Release."""
    mesh: str | None = None
    """Through what traffic is shared."""
    evidence: str | None = None
    """By what a release is judged now: `access log` (the mesh's proxies send it), `metrics`, or `none` of both."""
    message: str | None = None
    """What happens now, in a sentence."""
    last_command: CommandStatus | None = None
    """The answer to the last command (`kubectl sternway …`)."""


class PolicyStatus(Conditions):
    """What the policy does now.

    Conditions: `Ready` (it is valid and in force), `Frozen` (nothing new is released now).
    """

    governs: int | None = None
    """How many services that have a Guard it is about."""
    frozen: bool | None = None
    """Whether nothing new of them is released now."""
    frozen_until: Time | None = None
    """When the freeze ends; not there where it has no end within a year."""


class ReleaseSpec(Written):
    """Which version shall replace which. Written by the operator; nothing is changed by editing it."""

    guard: str
    """The Guard that it is released under."""
    service: str
    """The service."""
    candidate: VersionStatus
    """The version that is released."""
    stable: VersionStatus
    """The version that it shall replace."""


class GateStatus(Written):
    """A gate of the release."""

    name: str
    """Which one."""
    point: str
    """When it runs, in words."""
    state: Literal["to come", "running", "passed", "passed over", "failed", "not run"]
    """How it stands."""
    since: Time | None = None
    """Since when."""
    message: str | None = None
    """Why it failed or was passed over, or what keeps its pod from starting."""


class ReleaseStatus(Conditions):
    """How it went. Conditions: `Progressing`, `Succeeded` (True: promoted; False: taken back), `Withdrawn`."""

    phase: str | None = None
    """Where it stands."""
    weight: Percent | None = None
    """The candidate's share of the traffic, in percent."""
    message: str | None = None
    """What was decided last and why, in a sentence."""
    requests: int | None = None
    """Requests that the candidate answered."""
    hurt: int | None = None
    """Of them, bad answers that reached a caller."""
    withdrawals: int | None = None
    """How often its traffic was taken away on suspicion."""
    started_at: Time | None = None
    """When the release began."""
    detected_at: Time | None = None
    """When traffic was taken away first."""
    ended_at: Time | None = None
    """When it was over."""
    ended_by: Literal["engine", "person"] | None = None
    """Who decided how it ended: Sternway, or a person with a command or with another change."""
    lead_seconds: Seconds | None = None
    """From the commit to the promotion, in seconds; not there where nobody knows when the commit was made."""
    detect_seconds: Seconds | None = None
    """From the first bad answer, else the first exposure, until its traffic was taken away first, in seconds. Of a rollback."""
    restore_seconds: Seconds | None = None
    """From the same moment, or from the command that took back what was promoted, until all traffic was back, in seconds."""
    blind_seconds: Seconds | None = None
    """For how long something was out of sight that the judge needs, in seconds; under way: without what is so now."""
    after_promotion: bool | None = None
    """Whether a person took back with it what had been promoted already."""
    false_alarm: bool | None = None
    """Whether a person said that its rollback was wrong."""
    revision: str | None = None
    """The Git commit with which Argo CD or Flux brought it, where that was seen."""
    gates: tuple[GateStatus, ...] | None = None
    """What must succeed before it goes on, where its Guard says so."""
    reverted: str | None = None
    """The commit that took it back in Git."""
    undone: str | None = None
    """What was given back after it was taken back, in the cluster and in Git, or why not."""


class Release(Written):
    """One attempt to replace the stable version of a service by a candidate. Made by the operator: read it."""

    api_version: Literal["sternway.dev/v1alpha1"]
    """`sternway.dev/v1alpha1`"""
    kind: Literal["Release"]
    """`Release`"""
    metadata: Plain
    """Name and labels."""
    spec: ReleaseSpec
    """Which version shall replace which."""
    status: ReleaseStatus | None = None
    """How it went."""
