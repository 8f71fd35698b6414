"""The Policies of a cluster: what they ask for, and the status that people see. Used by `desired` and the composition root.

A Policy is about the services of its namespace; one in Sternway's own namespace about those of all. One that cannot be
understood changes nothing: what it last said validly stays in force, and its status says what is wrong.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from sternway.domain.policies import Policy
from sternway.errors import Problem
from sternway.kubernetes.api import Object, name_of, namespace_of
from sternway.kubernetes.reading import Reader
from sternway.kubernetes.resources import POLICIES
from sternway.manifests.models import policy as model
from sternway.manifests.models.status import PolicyStatus
from sternway.manifests.report import explain_errors
from sternway.manifests.yamltext import Document
from sternway.operator.conditions import Said, conditions, when
from sternway.policy import frozen, frozen_until, governs

AGAIN_S = 60.0
"""How often the status of a Policy is looked at; what has not changed is not written."""


@dataclass(slots=True, kw_only=True)
class _Known:
    """A Policy as it was read last: its generation, what it last said validly, and what is wrong with it now."""

    read: tuple[str, int]
    said: Policy | None
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True, kw_only=True)
class ClusterPolicies:
    """Reads Policies when they are asked for. own: Sternway's own namespace; "" where it has none."""

    reader: Reader
    own: str = ""
    _known: dict[tuple[str, str], _Known] = field(default_factory=dict)

    def of(self, service: str) -> tuple[Policy, ...]:
        """What holds for a service."""
        spaces = dict.fromkeys((service.partition(".")[2], self.own))
        objects = [one for space in spaces if space for one in self.reader.all(POLICIES, space)]
        found = (self._look(one).said for one in sorted(objects, key=lambda one: (namespace_of(one), name_of(one))))
        return tuple(said for said in found if said is not None and governs(said, service))

    def concerns(self, policy: Object, service: str) -> bool:
        """Whether a Policy that changed may be about a service: by its namespace, as its patterns may have changed."""
        return namespace_of(policy) in (self.own, service.partition(".")[2])

    def status(self, policy: Object, services: Collection[str], now_s: float) -> Object:
        """Give the status of a Policy. services: every one that has a Guard."""
        known = self._look(policy)
        said = known.said
        governed = [one for one in services if said is not None and governs(said, one)]
        now = frozen(said.freeze, now_s) if said is not None else ()
        until_s = frozen_until(said.freeze, now_s) if said is not None and now else None
        word = "service" if len(governed) == 1 else "services"
        told = (
            Said(type="Ready", holds=False, reason="Invalid", message="; ".join(map(str, known.problems)))
            if known.problems
            else Said(type="Ready", holds=True, reason="InForce", message=f"it governs {len(governed)} {word}"),
            Said(
                type="Frozen",
                holds=bool(now),
                reason="InWindow" if now else "Open",
                message=f"nothing new is released until {when(until_s) or 'further notice'}" if now else "",
            ),
        )
        generation = int(policy["metadata"].get("generation", 0))
        status = PolicyStatus(
            observed_generation=generation,
            governs=len(governed),
            frozen=bool(now),
            frozen_until=when(until_s),
            conditions=conditions(told, policy.get("status") or {}, generation, now_s),
        )
        return status.model_dump(mode="json", by_alias=True, exclude_none=True)

    def _look(self, obj: Object) -> _Known:
        key = (namespace_of(obj), name_of(obj))
        read = (str(obj["metadata"].get("uid", "")), int(obj["metadata"].get("generation", 0)))
        before = self._known.get(key)
        if before is not None and before.read == read:
            return before
        same = before is not None and before.read[0] == read[0]
        last = before.said if before is not None and same else None
        value = {name: item for name, item in obj.items() if name != "status"}
        namespace = "" if self.own and namespace_of(obj) == self.own else namespace_of(obj)
        try:
            known = _Known(read=read, said=model.Policy.model_validate(value).to_domain(namespace))
        except ValidationError as exc:
            document = Document(file=f"Policy {key[0]}/{key[1]}", value=value, lines={})
            problems = explain_errors(document, model.Policy, exc, secret=False)
            known = _Known(read=read, said=last, problems=tuple(replace(one, line=None) for one in problems))
        self._known[key] = known
        return known
