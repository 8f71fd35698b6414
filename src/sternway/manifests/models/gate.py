"""The gates of a Guard manifest: what must succeed before a release goes on. Used by `models.guard`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, Strict, ValidationError, WithJsonSchema, model_validator

from sternway.domain import guards
from sternway.manifests.models.base import Duration, Natural, Ours, Text, Words, spelled, wrong

_GATE = guards.Gate(name="")


def _pod_template(value: dict[str, Any]) -> dict[str, Any]:
    """What we rest on; the rest is for the API server to check, when the Job is made."""
    try:
        found = _Template.model_validate(value)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise wrong(f"this is no pod template: {where}: {first['msg'].lower()}") from None
    if not found.spec.containers:
        raise wrong("this is no pod template: it has no containers", "", ("spec", "containers"))
    return value


class _Container(BaseModel):
    name: str
    image: str
    env: tuple[dict[str, Any], ...] | None = None


class _Pod(BaseModel):
    containers: tuple[_Container, ...]
    init_containers: tuple[_Container, ...] | None = Field(default=None, alias="initContainers")


class _Metadata(BaseModel):
    labels: dict[str, str] | None = None


class _Template(BaseModel):
    metadata: _Metadata | None = None
    spec: _Pod


class GateJob(Ours):
    """A Job of a cluster."""

    template: Annotated[
        dict[str, Any], AfterValidator(_pod_template), WithJsonSchema({"title": "PodTemplate"}), Words("pod template")
    ]
    """What its pod is made from: `spec` with `containers`, as in a Job's own `template`. `restartPolicy` is Never where it says
    nothing."""
    backoff_limit: Natural = _GATE.backoff_limit
    """How often a pod that fails is tried again."""


class Gate(Ours):
    """Something of yours that must succeed before a release goes on: a Job in a cluster, a command on one machine.

    It learns of the release by its environment: STERNWAY_SERVICE, STERNWAY_NAMESPACE, STERNWAY_RELEASE, STERNWAY_VERSION,
    STERNWAY_IMAGE, STERNWAY_STABLE (the version that is proven good), and STERNWAY_URL, where the candidate answers.
    """

    name: Annotated[
        str, Strict(), Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?$"), Words("name of up to 30 letters")
    ]
    """What it is called: small letters, digits and hyphens."""
    before: Annotated[str, Strict(), Field(pattern=r"^(exposure|promotion|step [1-9]\d*)$"), Words("point")] = (
        "exposure"
    )
    """When it runs: `exposure` (before any user reaches the candidate), `step 2`, … (before this step of a canary), or
    `promotion` (before all traffic goes to the candidate)."""
    job: GateJob | None = None
    """In a cluster: the Job. Either this or `command`."""
    command: Text = _GATE.command
    """On one machine: the command line, run in the folder of the manifests."""
    timeout: Duration = Field(default=spelled(_GATE.timeout_s))
    """A gate that is not over after this long has failed."""
    then: Literal["rollback", "hold"] = "rollback"
    """What its failure does: `rollback` takes the release back as harm does; `hold` keeps it where it is until a person
    resumes it (and so passes over the gate) or aborts it."""

    @model_validator(mode="after")
    def _one(self) -> Gate:
        if (self.job is None) == (not self.command):
            raise wrong("a gate needs either job or command", "write `job` in a cluster, `command` on one machine")
        return self

    def to_domain(self) -> guards.Gate:
        """Return the domain's value."""
        points = {"exposure": 1, "promotion": None}
        step = points[self.before] if self.before in points else int(self.before.removeprefix("step "))
        return guards.Gate(
            name=self.name,
            before_step=step,
            job=json.dumps(self.job.template, sort_keys=True) if self.job else "",
            backoff_limit=self.job.backoff_limit if self.job else 0,
            command=self.command,
            timeout_s=self.timeout,
            then=guards.Then(self.then),
        )


def words_of(command: str) -> tuple[str, ...]:
    """A command line as words; none where it cannot be read."""
    try:
        return tuple(shlex.split(command))
    except ValueError:
        return ()


def refuse_misplaced(gates: Sequence[Gate], steps: int) -> None:
    """Refuse two gates of one name, and a gate before a step that the strategy does not have."""
    known: set[str] = set()
    for index, gate in enumerate(gates):
        if gate.name in known:
            raise wrong(f"the gate {gate.name} stands there twice", "rename one", ("gates", index, "name"))
        known.add(gate.name)
        step = gate.to_domain().before_step
        if step is not None and step > steps:
            said = f"the strategy has no step {step}, but {steps} in all"
            raise wrong(said, "name a step that there is, or `promotion`", ("gates", index, "before"))
