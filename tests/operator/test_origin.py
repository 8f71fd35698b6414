"""Where a Deployment comes from, by what Argo CD and Flux write on it and say of themselves; and what cannot be followed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sternway.domain.gitops import Origin, Unfollowed
from sternway.kubernetes.api import Object, Resource, name_of, namespace_of
from sternway.kubernetes.ours import REVISIONS
from sternway.kubernetes.resources import (
    APPLICATIONS,
    DEPLOYMENTS,
    GIT_REPOSITORIES,
    HELM_RELEASES,
    KUSTOMIZATIONS,
)
from sternway.operator.origin import find
from sternway.operator.origins import Origins

SHA = "1f2e3d4c5b6a79880716253443526170deadbeef"
URL = "https://git.example.org/shop/manifests.git"


class Shelf:
    """A Reader over objects that are put there."""

    def __init__(self, *objects: tuple[Resource, Object]) -> None:
        self.objects = list(objects)

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """See Reader."""
        found = (one for one in self.all(resource, namespace) if name_of(one) == name)
        return next(found, None)

    def all(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        """See Reader."""
        return [one for kind, one in self.objects if kind == resource and namespace in ("", namespace_of(one))]

    def owned(self, resource: Resource, uid: str) -> Sequence[Object]:
        """See Reader."""
        return ()


def deployment(*, labels: Object | None = None, tracking: str = "") -> Object:
    """A Deployment with a tool's marks."""
    marks = {"argocd.argoproj.io/tracking-id": tracking} if tracking else {}
    return {"metadata": {"name": "orders", "namespace": "shop", "labels": labels or {}, "annotations": marks}}


TRACKED = deployment(tracking="shop:apps/Deployment:shop/orders")
FLUX = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
HELM = {"helm.toolkit.fluxcd.io/name": "orders", "helm.toolkit.fluxcd.io/namespace": "shop"}


def application(
    spec: Object | None = None, status: Object | None = None, name: str = "shop"
) -> tuple[Resource, Object]:
    """An Application."""
    given = spec or {"source": {"repoURL": URL, "path": "./apps/orders/", "targetRevision": "main"}}
    said = status or {"sync": {"status": "Synced", "revision": SHA}, "resources": [{"kind": "Deployment"}]}
    return APPLICATIONS, {"metadata": {"name": name, "namespace": "argocd"}, "spec": given, "status": said}


def kustomization(**spec: Any) -> tuple[Resource, Object]:
    """A Kustomization that applied a revision."""
    status = {
        "lastAppliedRevision": f"main@sha1:{SHA}",
        "conditions": [{"type": "Ready", "status": "True"}],
        "inventory": {"entries": [{"id": "shop_orders_apps_Deployment"}, {"id": "shop_orders__Service"}]},
    }
    given = {"path": "./apps", "sourceRef": {"kind": "GitRepository", "name": "manifests"}, **spec}
    return KUSTOMIZATIONS, {"metadata": {"name": "apps", "namespace": "flux-system"}, "spec": given, "status": status}


def repository(**ref: str) -> tuple[Resource, Object]:
    """A GitRepository."""
    metadata = {"name": "manifests", "namespace": "flux-system"}
    return GIT_REPOSITORIES, {"metadata": metadata, "spec": {"url": URL, "ref": ref or {"branch": "main"}}}


def helm_release(spec: Object, labels: Object | None = None) -> tuple[Resource, Object]:
    """A HelmRelease."""
    return HELM_RELEASES, {"metadata": {"name": "orders", "namespace": "shop", "labels": labels or {}}, "spec": spec}


def test_an_application_tells_repository_branch_and_path() -> None:
    """Found by the tracking id, with the commit in force, and that nothing else comes from there."""
    assert find(Shelf(application()), TRACKED) == Origin(
        by="Argo CD Application argocd/shop",
        repository=URL,
        branch="main",
        folders=("apps/orders",),
        revision=SHA,
        synced=True,
        alone=True,
    )


@pytest.mark.parametrize(
    ("marks", "status", "found"),
    [
        pytest.param({"tracking": "argocd_shop:apps/Deployment:shop/orders"}, None, True, id="app in any namespace"),
        pytest.param({"tracking": "other:apps/Deployment:shop/orders"}, None, False, id="another application"),
        pytest.param(
            {"labels": {"app.kubernetes.io/instance": "shop"}},
            {"resources": [{"kind": "Deployment", "namespace": "shop", "name": "orders"}]},
            True,
            id="label, and the application says so",
        ),
        pytest.param({"labels": {"app.kubernetes.io/instance": "shop"}}, None, False, id="Helm's own label"),
    ],
)
def test_the_application_is_known_by_what_argo_wrote(marks: Any, status: Object | None, found: bool) -> None:
    """A label that Helm sets too counts only when the Application lists the Deployment."""
    assert isinstance(find(Shelf(application(status=status)), deployment(**marks)), Origin) is found


def test_values_of_a_chart_from_elsewhere_stand_in_git() -> None:
    """The pattern of a chart from a registry and values by `$ref`: the file is the place, with its own revision."""
    sources = [
        {"repoURL": "oci://charts", "chart": "web", "helm": {"valueFiles": ["$values/apps/orders/values.yaml"]}},
        {"repoURL": URL, "targetRevision": "HEAD", "ref": "values"},
    ]
    status = {"sync": {"status": "Synced", "revisions": ["1.2.3", SHA]}}
    found = find(Shelf(application({"sources": sources}, status)), TRACKED)
    assert isinstance(found, Origin)
    assert (found.branch, found.folders, found.files, found.revision) == ("", (), ("apps/orders/values.yaml",), SHA)


def test_out_of_sync_the_commit_that_was_synced_last_counts() -> None:
    """The one that was compared is not in force."""
    synced = {"syncResult": {"revision": SHA}}
    status = {"sync": {"status": "OutOfSync", "revision": "f" * 40}, "operationState": synced}
    found = find(Shelf(application(status=status)), TRACKED)
    assert isinstance(found, Origin)
    assert (found.revision, found.synced) == (SHA, False)


def test_a_kustomization_tells_path_and_its_repository_the_rest() -> None:
    """Flux: by the labels, over the Kustomization, to the GitRepository."""
    found = find(Shelf(kustomization(), repository()), deployment(labels=FLUX))
    assert found == Origin(
        by="Flux Kustomization flux-system/apps",
        repository=URL,
        branch="main",
        folders=("apps",),
        revision=SHA,
        synced=True,
        alone=True,
    )


def test_a_helm_release_is_a_document_that_a_kustomization_keeps() -> None:
    """Its values are reverted where it stands, by its own name."""
    spec = {"chart": {"spec": {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "charts"}}}}
    found = find(Shelf(helm_release(spec, FLUX), kustomization(), repository()), deployment(labels=HELM))
    assert isinstance(found, Origin)
    assert ("HelmRelease", "orders") in found.names
    assert found.folders == ("apps",)


@pytest.mark.parametrize(
    ("shelf", "of", "why"),
    [
        (Shelf(), TRACKED, "Application shop is not to be seen"),
        (Shelf(application({"source": {"repoURL": "oci://x", "path": "."}})), TRACKED, "from no Git repository"),
        (Shelf(application({"source": {"repoURL": "https://x", "chart": "web"}})), TRACKED, "from no Git repository"),
        (
            Shelf(application({"source": {"repoURL": URL, "path": "a", "targetRevision": SHA}})),
            TRACKED,
            "which is no branch",
        ),
        (
            Shelf(application({"sources": [{"repoURL": URL, "path": "a"}, {"repoURL": "https://other", "path": "b"}]})),
            TRACKED,
            "puts the manifests together from",
        ),
        (Shelf(application({"sourceHydrator": {"drySource": {}}})), TRACKED, "hydrator"),
        (Shelf(), deployment(labels=FLUX), "Kustomization flux-system/apps is not to be seen"),
        (
            Shelf(kustomization(sourceRef={"kind": "OCIRepository", "name": "x"})),
            deployment(labels=FLUX),
            "from OCIRepository x, not from Git",
        ),
        (Shelf(kustomization(), repository(tag="v1")), deployment(labels=FLUX), "follows a tag"),
        (Shelf(kustomization(), repository(semver="1.x")), deployment(labels=FLUX), "follows a semver"),
        (Shelf(kustomization()), deployment(labels=FLUX), "GitRepository flux-system/manifests"),
        (Shelf(helm_release({"chart": {}})), deployment(labels=HELM), "kept by no Kustomization"),
    ],
)
def test_what_cannot_be_followed_is_said_with_a_way_out(shelf: Shelf, of: Object, why: str) -> None:
    """One sentence, and what a person can do."""
    found = find(shelf, of)
    assert isinstance(found, Unfollowed)
    assert why in found.why
    assert found.fix


def test_what_nobody_keeps_comes_from_nowhere() -> None:
    """A Deployment by kubectl: nothing to revert, nothing to say."""
    assert find(Shelf(application()), deployment()) is None
    assert find(Shelf(application()), deployment(labels={"app.kubernetes.io/instance": "orders"})) is None


def test_commits_are_remembered_by_the_version_that_was_in_force() -> None:
    """While the tool says that it is in sync; also after a restart, by what the Guard keeps."""
    shelf = Shelf(application(), (DEPLOYMENTS, TRACKED))
    pod = ["good"]
    guard: Object = {"metadata": {"name": "orders", "namespace": "shop", "annotations": {}}}
    origins = Origins(reader=shelf, deployment=lambda _: "orders", asked=lambda _: pod[0], guard=lambda _: guard)
    origins.look("orders.shop")
    sync = shelf.objects[0][1]["status"]["sync"]
    for commit, now, status in (
        ("b" * 40, "good", "Synced"),
        ("c" * 40, "good", "OutOfSync"),
        ("d" * 40, "bad", "Synced"),
    ):
        pod[0] = now
        sync |= {"revision": commit, "status": status}
        origins.changed(*shelf.objects[0])
    assert origins.commits("orders.shop", "good") == ("b" * 40, SHA)
    assert origins.commits("orders.shop", "bad") == ("d" * 40,)
    assert origins.brought("orders.shop", "bad") == "d" * 40
    guard["metadata"]["annotations"][REVISIONS] = origins.spelled("orders.shop", ["good", "unknown"])
    again = Origins(reader=shelf, deployment=lambda _: "orders", asked=lambda _: "", guard=lambda _: guard)
    assert again.commits("orders.shop", "good") == ("b" * 40,)
    guard["metadata"]["annotations"][REVISIONS] = "a person's words"
    assert again.commits("orders.shop", "good") == ()


def test_the_commit_that_brought_a_version_is_told_apart_from_the_one_before() -> None:
    """The cluster shows the new version while the tool still tells of the last sync."""
    shelf = Shelf(application(), (DEPLOYMENTS, TRACKED))
    pod = ["good"]
    origins = Origins(reader=shelf, deployment=lambda _: "orders", asked=lambda _: pod[0], guard=lambda _: None)
    origins.look("orders.shop")
    pod[0] = "bad"
    origins.look("orders.shop")
    assert origins.brought("orders.shop", "bad") == SHA  # all that is known yet
    shelf.objects[0][1]["status"]["sync"]["revision"] = "b" * 40
    origins.changed(*shelf.objects[0])
    assert origins.brought("orders.shop", "bad") == "b" * 40
    assert origins.brought("orders.shop", "good") == SHA
    assert origins.brought("orders.shop", "none") == ""
