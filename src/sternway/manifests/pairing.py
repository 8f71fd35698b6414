"""Which Deployment stands behind which Service. Called by `sternway.manifests.assemble`.

A Service and the Deployment that it selects are one service, named after the Service. A Deployment that no Service
selects is a service of its own, unless it is a Guard's fallback.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sternway.manifests.models.core import Service
from sternway.manifests.models.deployment import Deployment
from sternway.manifests.models.guard import Guard
from sternway.manifests.read import Read
from sternway.manifests.report import Report, suggest
from sternway.manifests.yamltext import Document, Path

Placed = tuple[Document, Deployment]
Guards = Mapping[str, tuple[Document, Guard]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One service: its Deployment, and its Service manifest where it has one."""

    name: str
    document: Document
    deployment: Deployment
    service: tuple[Document, Service] | None = None

    @property
    def namespace(self) -> str:
        """The namespace of both."""
        return self.deployment.metadata.namespace


def pair(found: Read, guards: Guards, report: Report) -> tuple[dict[str, Pair], frozenset[str]]:
    """Find every service, by its name, and the names of Services whose selector is a mistake."""
    deployments = tuple(found.of(Deployment))
    names = {service.metadata.name for _, service in found.of(Service)}
    fallbacks = {
        guard.spec.fallback.deployment
        for name, (_, guard) in guards.items()
        if guard.spec.fallback and (name in names or guard.spec.fallback.deployment != name)
    }
    mistaken: set[str] = set()
    selected: set[str] = set()
    pairs: list[Pair] = []
    for document, service in found.of(Service):
        if not service.spec.selector:
            report.note(document, f"Service {service.metadata.name} has no selector and is not used here")
            continue
        behind = [placed for placed in deployments if _selects(service, placed[1])]
        selected |= {deployment.metadata.name for _, deployment in behind}
        if not behind:
            if not _note_other_kind(found, document, service, report):
                _report_nothing_behind(found, document, service, report)
                mistaken.add(service.metadata.name)
            continue
        chosen = _choose(document, service, behind, guards, report)
        place, deployment = chosen or behind[0]
        pairs.append(
            Pair(name=service.metadata.name, document=place, deployment=deployment, service=(document, service))
        )
    named = _one_service_each(pairs, guards, report)
    for document, deployment in deployments:
        name = deployment.metadata.name
        _check_own_selector(document, deployment, report)
        if name in selected or name in fallbacks:
            continue
        if name in named:
            if named[name].service is None:
                continue  # the same Deployment twice, which has been reported
            said = f"no Service selects Deployment {name}, and its name is taken by a Service"
            report.wrong(document, ("metadata", "name"), said, "mend the Service's selector, or rename the Deployment")
            continue
        if name in guards and guards[name][1].spec.deployment not in ("", name):
            said = f"service {name} is the Deployment {name}, not {guards[name][1].spec.deployment}"
            report.wrong(guards[name][0], ("spec", "deployment"), said, "take `deployment` out")
        named[name] = Pair(name=name, document=document, deployment=deployment)
    return named, frozenset(mistaken)


def _selects(service: Service, deployment: Deployment) -> bool:
    same = service.metadata.namespace == deployment.metadata.namespace
    return same and service.spec.selector.items() <= deployment.spec.template.metadata.labels.items()


def _choose(
    document: Document, service: Service, behind: list[Placed], guards: Guards, report: Report
) -> Placed | None:
    """Choose the Deployment that is released, of those that a Service selects."""
    name = service.metadata.name
    guard = guards[name][1].spec if name in guards else None
    fallback = guard.fallback.deployment if guard and guard.fallback else None
    candidates = {deployment.metadata.name: (place, deployment) for place, deployment in behind}
    if guard and guard.deployment:
        chosen = candidates.get(guard.deployment)
        if chosen is None:
            said = f"Service {name} does not select a Deployment {guard.deployment}"
            report.absent(guards[name][0], ("spec", "deployment"), said, suggest(guard.deployment, candidates))
    else:
        free = [deployment for deployment in candidates if deployment != fallback]
        chosen = candidates[free[0]] if len(free) == 1 else None
        if len(free) > 1:
            said = f"Service {name} selects several Deployments: {', '.join(sorted(free))}"
            fix = "say in a Guard which one is released (`deployment`) and which one stands by (`fallback`)"
            report.wrong(document, ("spec", "selector"), said, fix)
        elif not free:
            said = f"Service {name} selects its own fallback {fallback} and nothing else"
            report.absent(document, ("spec", "selector"), said, "name another Deployment as fallback")
    for other, (place, _) in candidates.items():
        if chosen and other not in (chosen[1].metadata.name, fallback):
            report.note(place, f"Deployment {other} is not run: Service {name} releases {chosen[1].metadata.name}")
    return chosen


def _one_service_each(pairs: list[Pair], guards: Guards, report: Report) -> dict[str, Pair]:
    """Drop the further Services of one Deployment: it is run once, under one name."""
    by_deployment: dict[str, list[Pair]] = {}
    for one in pairs:
        by_deployment.setdefault(one.deployment.metadata.name, []).append(one)
    kept: dict[str, Pair] = {}
    for deployment, claims in by_deployment.items():
        main = claims
        for better in (
            [one for one in claims if one.name in guards],
            [one for one in claims if one.name == deployment],
            [one for one in claims if one.service and one.service[1].spec.cluster_ip != "None"],
        ):
            main = better if len(main) > 1 and better else main
        if len(main) > 1:
            said = f"Deployment {deployment} stands behind several Services: {', '.join(one.name for one in main)}"
            fix = "keep one of them, give one the Deployment's name, or write a Guard for one"
            assert main[1].service
            report.wrong(main[1].service[0], ("spec", "selector"), said, fix)
        kept[main[0].name] = main[0]
        for one in claims:
            if one not in main and one.service:
                said = f"Service {one.name} is not used here: Deployment {deployment} is called as {main[0].name}"
                report.note(one.service[0], said)
    return kept


def _note_other_kind(found: Read, document: Document, service: Service, report: Report) -> bool:
    """Note a Service for a kind that is not run here (a StatefulSet), which is no mistake."""
    for other in found.others:
        if service.spec.selector.items() <= _pod_labels(other).items():
            kind = other.value["kind"]
            report.note(document, f"Service {service.metadata.name} is not used here: it selects a {kind}")
            return True
    return False


def _report_nothing_behind(found: Read, document: Document, service: Service, report: Report) -> None:
    name, selector = service.metadata.name, service.spec.selector
    wants = ", ".join(f"{key}={value}" for key, value in selector.items())
    path: Path = ("spec", "selector")
    known = {
        f"{key}={value}" for _, one in found.of(Deployment) for key, value in one.spec.template.metadata.labels.items()
    }
    said = f"Service {name} selects no Deployment: none has the pod labels {wants}"
    report.absent(document, path, said, suggest(wants, known) if known else "add the Deployment")


def _pod_labels(document: Document) -> Mapping[str, str]:
    value = document.value
    for part in ("spec", "template", "metadata", "labels"):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _check_own_selector(document: Document, deployment: Deployment, report: Report) -> None:
    selector, labels = deployment.spec.selector, deployment.spec.template.metadata.labels
    if selector is None:
        said = f"Deployment {deployment.metadata.name} has no selector: fine here, but Kubernetes wants one"
        report.note(document, said, ("spec",))
    elif not selector.match_labels.items() <= labels.items():
        said = "the selector does not match the labels of the pod template"
        path: Path = ("spec", "selector", "matchLabels")
        report.wrong(document, path, said, "write the same labels under spec.template.metadata.labels")
