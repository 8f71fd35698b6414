"""Which Git repository and path a workload comes from, by what Argo CD and Flux wrote on it. Pure: objects -> Origin.

Read by `operator.origins`. What cannot be followed is said in a sentence, with what a person can do.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence

from sternway.domain.gitops import Origin, Unfollowed
from sternway.kubernetes.api import Object, Resource, is_ready, name_of, namespace_of
from sternway.kubernetes.ours import annotation
from sternway.kubernetes.reading import Reader
from sternway.kubernetes.resources import APPLICATIONS, GIT_REPOSITORIES, HELM_RELEASES, KUSTOMIZATIONS

KINDS = (APPLICATIONS, KUSTOMIZATIONS, GIT_REPOSITORIES, HELM_RELEASES)
"""What the reader must follow, where the cluster has it."""
Found = Origin | Unfollowed | None
"""None: the workload is in nobody's hands but people's."""

_TRACKING = "argocd.argoproj.io/tracking-id"
_INSTANCES = ("argocd.argoproj.io/instance", "app.kubernetes.io/instance")
_KUSTOMIZE = "kustomize.toolkit.fluxcd.io"
_HELM = "helm.toolkit.fluxcd.io"
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Rollout", "CronJob", "Job", "HelmRelease"})
_FOLLOW_A_BRANCH = "let it follow a branch, or revert by hand"


def find(reader: Reader, deployment: Object) -> Found:
    """Where a Deployment comes from."""
    labels = deployment["metadata"].get("labels") or {}
    if labels.get(f"{_HELM}/name"):
        return _of_helm_release(reader, labels)
    if labels.get(f"{_KUSTOMIZE}/name"):
        return _of_kustomization(reader, labels)
    return _of_argo(reader, deployment)


def rests_on(found: Found, reader: Reader, deployment: Object) -> frozenset[tuple[str, str, str]]:
    """The objects of the tool that tell where a Deployment comes from, as (plural, namespace, name)."""
    if found is None:
        return frozenset()
    labels = deployment["metadata"].get("labels") or {}
    keys: set[tuple[str, str, str]] = set()
    for group, resource in ((_HELM, HELM_RELEASES), (_KUSTOMIZE, KUSTOMIZATIONS)):
        if labels.get(f"{group}/name"):
            one = _labelled(reader, resource, labels, group)
            keys.add((resource.plural, labels.get(f"{group}/namespace", ""), labels[f"{group}/name"]))
            labels = (one["metadata"].get("labels") or {}) if one else labels
    application = _application(reader, deployment)
    if application is not None:
        keys.add((APPLICATIONS.plural, namespace_of(application), name_of(application)))
    return frozenset(keys)


# Argo CD ----------------------------------------------------------------------------------------------------------


def _of_argo(reader: Reader, deployment: Object) -> Found:
    application = _application(reader, deployment)
    tracked = annotation(deployment, _TRACKING)
    if application is None:
        if not tracked:
            return None
        name = tracked.partition(":")[0]
        return Unfollowed(
            why=f"Argo CD's Application {name} is not to be seen",
            fix="let Sternway see its namespace too (sternway install --watch), or revert by hand",
        )
    by = f"Argo CD Application {namespace_of(application)}/{name_of(application)}"
    spec, status = application["spec"], application.get("status") or {}
    if spec.get("sourceHydrator"):
        return Unfollowed(why=f"{by} has its manifests written by a hydrator", fix="revert its dry source by hand")
    sources = spec.get("sources") or ([spec["source"]] if spec.get("source") else [])
    return _of_sources(by, sources, status)


def _application(reader: Reader, deployment: Object) -> Object | None:
    name = annotation(deployment, _TRACKING).partition(":")[0]
    if name:
        namespace, between, rest = name.rpartition("_")
        if between:
            found = reader.get(APPLICATIONS, rest, namespace)
            if found is not None:
                return found
        return next((one for one in reader.all(APPLICATIONS) if name_of(one) == name), None)
    labels = deployment["metadata"].get("labels") or {}
    wanted = {labels[key] for key in _INSTANCES if labels.get(key)}
    named = [one for one in reader.all(APPLICATIONS) if name_of(one) in wanted] if wanted else []
    return next((one for one in named if _holds(one, deployment)), None)


def _holds(application: Object, deployment: Object) -> bool:
    """Whether an Application says of a Deployment that it is one of its resources: Helm sets the same label."""
    wanted = (deployment.get("kind", "Deployment"), namespace_of(deployment), name_of(deployment))
    listed = (application.get("status") or {}).get("resources") or ()
    return any((one.get("kind"), one.get("namespace"), one.get("name")) == wanted for one in listed)


def _of_sources(by: str, sources: Sequence[Object], status: Object) -> Found:
    """One place for all sources that stand in Git; a values file of a chart from elsewhere counts."""
    synced = (status.get("sync") or {}).get("status") == "Synced"
    places: dict[tuple[str, str], tuple[list[str], list[str], int]] = {}
    refs = {one["ref"]: (index, one) for index, one in enumerate(sources) if one.get("ref")}
    for index, source in enumerate(sources):
        in_git = not source.get("chart") and not source["repoURL"].startswith("oci://")
        if in_git and (source.get("path") or not source.get("ref")):
            folders, _, _ = places.setdefault(_where(source), ([], [], index))
            folders.append(_clean(source.get("path") or ""))
        for file in (source.get("helm") or {}).get("valueFiles") or ():
            ref, _, path = file.partition("/")
            if ref.startswith("$") and ref[1:] in refs:
                of_ref, other = refs[ref[1:]]
                places.setdefault(_where(other), ([], [], of_ref))[1].append(_clean(path))
            elif in_git and not file.startswith(("/", "http://", "https://")):
                places[_where(source)][1].append(_clean(posixpath.join(source.get("path") or "", file)))
    if not places:
        return Unfollowed(
            why=f"{by} takes its manifests from no Git repository", fix="bring the good version back there"
        )
    if len(places) > 1:
        repositories = ", ".join(sorted(repository for repository, _ in places))
        return Unfollowed(why=f"{by} puts the manifests together from {repositories}", fix="revert by hand")
    [((repository, branch), (folders, files, index))] = places.items()
    if _COMMIT.fullmatch(branch) or branch.startswith("refs/tags/"):
        return Unfollowed(why=f"{by} follows {branch}, which is no branch", fix=_FOLLOW_A_BRANCH)
    return Origin(
        by=by,
        repository=repository,
        branch=branch,
        folders=tuple(folders),
        files=tuple(files),
        revision=_argo_revision(status, index, synced=synced),
        synced=synced,
        alone=_alone(one.get("kind", "") for one in status.get("resources") or ()),
    )


def _where(source: Object) -> tuple[str, str]:
    branch = str(source.get("targetRevision") or "").removeprefix("refs/heads/")
    return str(source["repoURL"]), "" if branch == "HEAD" else branch


def _argo_revision(status: Object, index: int, *, synced: bool) -> str:
    """The commit in force: what was compared and found in sync, or else what was synced last."""
    done = (status.get("operationState") or {}).get("syncResult") or {}
    for told in (status.get("sync") or {}, done) if synced else (done, status.get("sync") or {}):
        revisions = told.get("revisions") or ()
        found = revisions[index] if index < len(revisions) else told.get("revision")
        if found:
            return str(found)
    return ""


# Flux -------------------------------------------------------------------------------------------------------------


def _of_kustomization(reader: Reader, labels: Object, names: frozenset[tuple[str, str]] = frozenset()) -> Found:
    place = f"{labels.get(f'{_KUSTOMIZE}/namespace', '')}/{labels[f'{_KUSTOMIZE}/name']}"
    by = f"Flux Kustomization {place}"
    kustomization = _labelled(reader, KUSTOMIZATIONS, labels, _KUSTOMIZE)
    if kustomization is None:
        fix = "let Sternway see its namespace too (sternway install --watch), or revert by hand"
        return Unfollowed(why=f"{by} is not to be seen", fix=fix)
    spec, status = kustomization["spec"], kustomization.get("status") or {}
    entries = ((status.get("inventory") or {}).get("entries")) or ()
    return _of_git_repository(
        reader,
        spec["sourceRef"],
        Origin(
            by=by,
            repository="",
            branch="",
            folders=(_clean(spec.get("path") or ""),),
            revision=_flux_revision(status.get("lastAppliedRevision") or status.get("lastAttemptedRevision") or ""),
            synced=is_ready(kustomization),
            alone=_alone(str(one.get("id", "")).rpartition("_")[2] for one in entries),
            names=names,
        ),
        namespace_of(kustomization),
    )


def _of_helm_release(reader: Reader, labels: Object) -> Found:
    """A HelmRelease: its values stand in itself, which a Kustomization keeps; its chart may stand in Git too."""
    by = f"Flux HelmRelease {labels.get(f'{_HELM}/namespace', '')}/{labels[f'{_HELM}/name']}"
    release = _labelled(reader, HELM_RELEASES, labels, _HELM)
    if release is None:
        return Unfollowed(
            why=f"{by} is not to be seen",
            fix="let Sternway see its namespace too (sternway install --watch), or revert by hand",
        )
    values = release["spec"].get("valuesFrom") or ()
    names = frozenset({("HelmRelease", name_of(release)), *((str(one["kind"]), str(one["name"])) for one in values)})
    own = release["metadata"].get("labels") or {}
    if own.get(f"{_KUSTOMIZE}/name"):
        return _of_kustomization(reader, own, names)
    chart = ((release["spec"].get("chart") or {}).get("spec")) or {}
    if (chart.get("sourceRef") or {}).get("kind") != "GitRepository":
        return Unfollowed(why=f"{by} is kept by no Kustomization, and its chart is not in Git", fix="change it by hand")
    place = Origin(by=by, repository="", branch="", folders=(_clean(chart["chart"]),), alone=True, names=names)
    return _of_git_repository(reader, chart["sourceRef"], place, namespace_of(release))


def _of_git_repository(reader: Reader, reference: Object, origin: Origin, namespace: str) -> Found:
    kind, name = str(reference.get("kind", "")), str(reference.get("name", ""))
    namespace = str(reference.get("namespace") or namespace)
    if kind != "GitRepository":
        return Unfollowed(
            why=f"{origin.by} takes its manifests from {kind} {name}, not from Git", fix="change it there"
        )
    repository = reader.get(GIT_REPOSITORIES, name, namespace)
    if repository is None:
        return Unfollowed(
            why=f"GitRepository {namespace}/{name} of {origin.by} is not to be seen", fix="revert by hand"
        )
    spec = repository["spec"]
    reference = spec.get("ref") or {}
    branch = str(reference.get("branch") or "").strip() or str(reference.get("name") or "").removeprefix("refs/heads/")
    other = next((key for key in ("commit", "semver", "tag") if reference.get(key)), "")
    if other or branch.startswith("refs/"):
        said = f"a {other} ({reference[other]})" if other else branch
        return Unfollowed(why=f"GitRepository {namespace}/{name} follows {said}, no branch", fix=_FOLLOW_A_BRANCH)
    artifact = ((repository.get("status") or {}).get("artifact") or {}).get("revision") or ""
    return Origin(
        by=origin.by,
        repository=str(spec["url"]),
        branch=branch or "master",  # Flux's own default
        folders=origin.folders,
        revision=origin.revision or _flux_revision(artifact),
        synced=origin.synced,
        alone=origin.alone,
        names=origin.names,
    )


def _labelled(reader: Reader, resource: Resource, labels: Object, group: str) -> Object | None:
    return reader.get(resource, str(labels.get(f"{group}/name", "")), str(labels.get(f"{group}/namespace", "")))


def _flux_revision(text: str) -> str:
    """`main@sha1:1f2e…`, and `main/1f2e…` as it was before."""
    return re.split(r"[:/]", text)[-1] if text else ""


def _alone(kinds: Iterable[str]) -> bool:
    return sum(kind in _WORKLOADS for kind in kinds) == 1


def _clean(path: str) -> str:
    """A path in a repository, as Git writes it."""
    found = posixpath.normpath(path.strip("/") or ".")
    return "" if found == "." else found
