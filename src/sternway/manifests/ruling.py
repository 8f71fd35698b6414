"""The policies of a folder, and the Guards that they refuse. Called by `sternway.manifests.load`; the sentences by `check`."""

from __future__ import annotations

from collections.abc import Sequence

from sternway.domain import policies
from sternway.domain.releases import Wanted
from sternway.manifests.models.guard import Guard
from sternway.manifests.models.policy import Policy
from sternway.manifests.read import Read
from sternway.manifests.report import Report
from sternway.manifests.yamltext import Document
from sternway.policy import breaches, governs


def rules(found: Read, wanted: Sequence[Wanted], report: Report) -> tuple[policies.Policy, ...]:
    """Read every policy. A Guard that breaks one is a problem, at its field."""
    guards = {guard.spec.service: document for document, guard in found.of(Guard)}
    every = []
    for document, manifest in found.of(Policy):
        policy = manifest.to_domain()
        every.append(policy)
        ours = [one for one in wanted if governs(policy, one.service.name)]
        if not ours:
            report.note(document, f"Policy {policy.name} names no service that is there", ("spec", "services"))
        for one in ours:
            _refuse(policy, document, one, guards.get(one.service.name), report)
    return tuple(every)


def _refuse(
    policy: policies.Policy, document: Document, wanted: Wanted, guard: Document | None, report: Report
) -> None:
    for breach in breaches(policy, wanted.guard):
        if guard is not None:
            report.wrong(guard, tuple(breach.field.split(".")), breach.message, breach.fix)
        else:
            said = f"service {wanted.service.name} has the default guard, in which {breach.message}"
            report.wrong(document, ("spec", "require"), said, f"add a Guard for it: {breach.fix}")


def ruled(every: Sequence[policies.Policy], service: str) -> list[str]:
    """Say what each policy of a service asks for."""
    return [f"policy {one.name}: {'; '.join(_said(one))}" for one in every if governs(one, service)]


def _said(policy: policies.Policy) -> list[str]:
    lines = []
    if policy.freeze:
        finish = all(window.finishes for window in policy.freeze)
        under_way = "goes on" if finish else "stays where it is"
        count = len(policy.freeze)
        lines.append(
            f"{count} time{'s' if count > 1 else ''} of freeze, in which nothing starts and a release under way {under_way}"
        )
    before = {policies.Point.EXPOSURE: "gets users", policies.Point.PROMOTION: "gets all traffic"}
    lines += [f"a person approves before it {before[point]} (`sternway approve`)" for point in policy.approve]
    if policy.require != policies.Requirements():
        lines.append("bounds on its Guard, which it keeps")
    return lines
