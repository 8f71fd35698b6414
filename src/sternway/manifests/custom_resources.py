"""The custom resource definitions, made from the models. A test compares them with `deploy/crds.yaml`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from sternway.manifests.models.guard import Guard
from sternway.manifests.models.mesh import MeshPolicy
from sternway.manifests.models.policy import Policy
from sternway.manifests.models.status import GuardStatus, PolicyStatus, Release
from sternway.manifests.structural import structural

GROUP, VERSION = "sternway.dev", "v1alpha1"

Column = tuple[str, str, str, str, int]
"""(heading, JSON path, type, description, priority): priority 1 is shown with `-o wide` alone."""

_WEIGHT: Column = ("Weight", ".status.weight", "number", "The candidate's share of the traffic, in percent", 0)
_AGE: Column = ("Age", ".metadata.creationTimestamp", "date", "", 0)
_GUARD_COLUMNS: tuple[Column, ...] = (
    ("Service", ".spec.service", "string", "", 0),
    ("Phase", ".status.phase", "string", "Where the present release stands", 0),
    ("Stable", ".status.stable.id", "string", "The version that is proven good", 0),
    ("Candidate", ".status.candidate.id", "string", "The version that is being released", 0),
    _WEIGHT,
    ("Ready", '.status.conditions[?(@.type=="Ready")].status', "string", "Whether the Guard is in force", 0),
    ("Message", ".status.message", "string", "What happens now", 1),
    _AGE,
)
_RELEASE_COLUMNS: tuple[Column, ...] = (
    ("Service", ".spec.service", "string", "", 0),
    ("Candidate", ".spec.candidate.id", "string", "", 0),
    ("Phase", ".status.phase", "string", "", 0),
    _WEIGHT,
    ("Hurt", ".status.hurt", "integer", "Bad answers that reached a caller", 0),
    ("Message", ".status.message", "string", "What was decided last and why", 0),
    ("Revision", ".status.revision", "string", "The Git commit that brought it", 1),
    ("Reverted", ".status.reverted", "string", "The Git commit that took it back", 1),
    _AGE,
)


_POLICY_COLUMNS: tuple[Column, ...] = (
    ("Services", ".spec.services", "string", "Which services it is about", 0),
    ("Governs", ".status.governs", "integer", "How many services with a Guard that are", 0),
    ("Frozen", ".status.frozen", "boolean", "Whether nothing new is released now", 0),
    ("Until", ".status.frozenUntil", "string", "When that ends", 0),
    ("Approve", ".spec.approve.before", "string", "Where a person must agree", 1),
    ("Ready", '.status.conditions[?(@.type=="Ready")].status', "string", "Whether the Policy is in force", 0),
    ("Message", '.status.conditions[?(@.type=="Ready")].message', "string", "What holds now", 1),
    _AGE,
)


def _exactly_one(*fields: str) -> str:
    return f"[{', '.join(f'has(self.{field})' for field in fields)}].filter(stated, stated).size() == 1"


RULES: dict[str, tuple[tuple[str, str], ...]] = {
    "Step": (
        (
            "!(has(self.requestsPerSecond) && has(self.usersHurt))",  # `percent` has several types: CEL does not see it
            "a step needs exactly one of percent, requestsPerSecond and usersHurt",
        ),
    ),
    "AB": ((_exactly_one("header", "cookie"), "an A/B test needs either header or cookie"),),
    "Strategy": (
        (
            _exactly_one("adaptive", "canary", "blueGreen", "ab"),
            "a strategy is exactly one of adaptive, canary, blueGreen, ab (`adaptive: {}` is the default)",
        ),
    ),
    "ClusterKey": ((_exactly_one("header", "cookie"), "a cluster key needs either header or cookie"),),
    "GuardSpec": (
        (
            "!has(self.fallback) || !has(self.deployment) || self.fallback.deployment != self.deployment",
            "the fallback is the Deployment that is released: name another one",
        ),
        (
            "!has(oldSelf.service) || self.service == oldSelf.service",
            "a Guard keeps its service: make another Guard for another service",
        ),
    ),
    "FreezeWindow": (
        (
            "self.from.size() == self.to.size()",
            "from and to are written alike: both with a date, a weekday, or neither",
        ),
        ("!has(self.days) || self.days.size() == 0 || self.from.size() == 5", "days goes with times of the day"),
        ("self.from != self.to && (self.from.size() != 16 || self.from < self.to)", "it ends before it begins"),
        ("!self.from.endsWith('24:00')", "nothing begins at 24:00: write 00:00 of the next day"),
    ),
    "PolicySpec": (
        (
            "(has(self.freeze) && self.freeze.size() > 0) || has(self.require) || has(self.approve)",
            "this policy says nothing: add freeze, require or approve",
        ),
        ("!has(self.services) || self.services.size() > 0", "services must not be empty: leave it out for all"),
    ),
}
"""What the models check across fields and CEL can say too: then `kubectl apply` says it already."""


def definitions() -> tuple[dict[str, Any], ...]:
    """Every custom resource definition of ours."""
    return (
        _definition(Guard, "guards", ("grd",), _GUARD_COLUMNS, status=GuardStatus),
        _definition(Release, "releases", ("rel",), _RELEASE_COLUMNS),
        _definition(Policy, "policies", ("pol",), _POLICY_COLUMNS, status=PolicyStatus),
        _definition(MeshPolicy, "meshpolicies", ("mpol",), (("Service", ".spec.service", "string", "", 0), _AGE)),
    )


def _definition(
    model: type[BaseModel],
    plural: str,
    short: tuple[str, ...],
    columns: tuple[Column, ...],
    status: type[BaseModel] | None = None,
) -> dict[str, Any]:
    kind = model.__name__
    schema = structural(model, RULES)
    schema["properties"] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": schema["properties"]["spec"],
        "status": structural(status, RULES) if status else schema["properties"].get("status", {"type": "object"}),
    }
    schema["required"] = ["spec"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"app.kubernetes.io/name": "sternway"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": list(short),
                "categories": ["sternway"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in columns],
                }
            ],
        },
    }


def _column(column: Column) -> dict[str, Any]:
    name, path, kind, said, priority = column
    found: dict[str, Any] = {"name": name, "jsonPath": path, "type": kind}
    return found | ({"description": said} if said else {}) | ({"priority": priority} if priority else {})
