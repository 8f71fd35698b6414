"""How things are given back: a version that was rolled back, and a service whose Guard is gone. Pure; called by `platform`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sternway.kubernetes.api import Object
from sternway.kubernetes.ours import (
    ADOPTING,
    POD,
    PREFIX,
    REPLICAS,
    ROLE,
    SELECTOR,
    SERVICE,
    STAMP,
    STRATEGY,
    annotation,
    named,
)
from sternway.kubernetes.reading import own_strategy
from sternway.kubernetes.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, SERVICES
from sternway.kubernetes.template import NO_RELEASE, template_digest
from sternway.platforms.kubernetes import followers, revisions
from sternway.platforms.kubernetes.plan import points_at_twin, wished
from sternway.platforms.kubernetes.revisions import template_of
from sternway.platforms.kubernetes.scene import KINDS, Scene, Seat, names_in, owned_by_gitops, selector_of
from sternway.platforms.kubernetes.states import rolled_out
from sternway.platforms.kubernetes.writes import Write, edit, merge_patch, remove

_OURS = (REPLICAS, ADOPTING)
"""Our annotations of the user's Deployment."""


@dataclass(slots=True)
class _Restoring:
    """What is restored, and what has to stay as it is."""

    writes: list[Write] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def words(self) -> str:
        parts = [f"{', '.join(self.done)} restored"] if self.done else []
        parts += [f"left as it is: {'; '.join(self.left)}"] if self.left else []
        return "; ".join(parts) or "everything is as it was"


def restored(scene: Scene, bad: str, good: str) -> tuple[tuple[Write, ...], str]:
    """Give the user's Deployment and its configuration back what the good version had: (writes, what was done, in words).

    Each part only while it is as the bad version had it: what somebody changed since is theirs. So it can be done again
    after it was cut off half-way.
    """
    where = scene.where
    if scene.user is None:
        return (), f"{where} is gone"
    unknown = next((pod for pod in (good, bad) if pod not in scene.revisions), None)
    if unknown:
        return (
            (),
            f"left as it is: no ControllerRevision {revisions.revision_name(scene.deployment, unknown)} says what it was",
        )
    restoring = _Restoring()
    _restore_template(scene, scene.user, scene.revisions[bad], scene.revisions[good], restoring)
    _restore_config(scene, scene.revisions[bad], scene.revisions[good], restoring)
    return tuple(restoring.writes), restoring.words()


def _restore_template(scene: Scene, user: Seat, bad: Object, good: Object, restoring: _Restoring) -> None:
    now, was, wanted = (template_digest(one) for one in (user.template, template_of(bad), template_of(good)))
    where = scene.where
    keeper = owned_by_gitops(user.deployment, "spec", "template", "spec")
    if now == wanted:
        return
    if now != was:
        restoring.left.append(f"{where}, which was changed since")
    elif keeper:
        restoring.left.append(f"{where}, which {keeper} keeps as Git says: revert it in Git")
    else:
        change = merge_patch(user.template, _as_it_was(scene, user, good))
        restoring.writes.append(edit(scene.kind, user.deployment, {"spec": {"template": change}}))
        restoring.done.append(where)


def _restore_config(scene: Scene, bad: Object, good: Object, restoring: _Restoring) -> None:
    before = names_in(bad)
    for key, copied in sorted(names_in(good).items()):
        kind, name = key
        now, then = scene.held(key), scene.copies.get((kind, copied))
        if now is None or then is None or revisions.copy_name(name, now) == copied:
            continue
        keeper = owned_by_gitops(now, "data")
        if revisions.copy_name(name, now) != before.get(key):
            restoring.left.append(f"{kind} {name}, which was changed since")
        elif keeper:
            restoring.left.append(f"{kind} {name}, which {keeper} keeps as Git says: revert it in Git")
        elif now.get("immutable"):
            restoring.left.append(f"{kind} {name}, which is immutable")
        else:
            fields = [one for one in ("data", "binaryData") if now.get(one) or then.get(one)]
            change = merge_patch(
                {one: now.get(one) or {} for one in fields}, {one: then.get(one) or {} for one in fields}
            )
            restoring.writes.append(edit(KINDS[kind], now, change))
            restoring.done.append(f"{kind} {name}")


def given_back(scene: Scene, carrying: Collection[str], *, quiet: bool) -> tuple[Write, ...]:
    """The next writes that take Sternway out of a service; nothing when it is out, or waits for pods or routes.

    The user's Deployment first, then the user's Service, and the twin only when nothing reaches it, and every proxy has had
    the time to learn that (`quiet`).
    """
    user, service = scene.user, scene.service
    if user is not None:
        woken = _woken(scene)
        if woken:
            return woken
        if user.replicas and not rolled_out(scene, user, scene.live(user) or scene.pod):
            return ()
    if service is not None and user is not None and (points_at_twin(scene) or _kept_selector(service)):
        return _own_selector(scene, service)
    ours = {named(scene.name, "stable"), named(scene.name, "candidate")}
    return () if ours & set(carrying) or not quiet else leftovers(scene)


def let_go(scene: Scene, carrying: Collection[str], *, quiet: bool) -> tuple[Write, ...]:
    """The same where versions stand side by side within the user's workload: its own update strategy comes back last.

    What its template asks for by then rolls out by itself.
    """
    user, service = scene.user, scene.service
    if service is not None and _kept_selector(service):
        return _own_selector(scene, service)
    ours = {named(scene.name, "stable"), named(scene.name, "candidate")}
    if ours & set(carrying) or not quiet:
        return ()
    strategy: tuple[Write, ...] = ()
    if user is not None and annotation(user.deployment, STRATEGY):
        own = own_strategy(user.deployment)
        now = user.deployment["spec"].get("updateStrategy") or {}
        change = {"metadata": {"annotations": {STRATEGY: None}}, "spec": {"updateStrategy": merge_patch(now, own)}}
        strategy = (edit(scene.kind, user.deployment, change),)
    return strategy + leftovers(scene)


def is_held(scene: Scene) -> bool:
    """Whether anything of ours is still there, or in the user's workload."""
    held = scene.user is not None and bool(annotation(scene.user.deployment, STRATEGY))
    return held or bool(leftovers(scene))


def _own_selector(scene: Scene, service: Object) -> tuple[Write, ...]:
    now: dict[str, str] = service["spec"].get("selector") or {}
    selector = merge_patch(now, selector_of(scene))
    return (edit(SERVICES, service, {"metadata": {"annotations": {SELECTOR: None}}, "spec": {"selector": selector}}),)


def leftovers(scene: Scene) -> tuple[Write, ...]:
    """Everything of ours that is still there."""
    copies = [(resource, obj) for resource, obj in scene.followers if _is_of(obj, scene.name)]
    return (
        *(remove(resource, obj) for resource, obj in copies),
        *((remove(DEPLOYMENTS, scene.twin.deployment),) if scene.twin else ()),
        *(remove(SERVICES, one) for one in (scene.stable_service, scene.candidate_service) if one),
        *(remove(CONTROLLER_REVISIONS, one) for one in scene.revisions.values()),
        *(remove(KINDS[kind], one) for (kind, _), one in sorted(scene.copies.items())),
    )


def _woken(scene: Scene) -> tuple[Write, ...]:
    """Start the user's pods again, or let them roll."""
    user = scene.user
    assert user is not None
    keda: tuple[Write, ...] = tuple(
        edit(one.resource, one.obj, {"metadata": {"annotations": {followers.PAUSED: None}}})
        for one in followers.followers(scene)
        if followers.paused_by_keda(one) == "0"
    )
    marks = user.deployment["metadata"].get("annotations") or {}
    remembered = REPLICAS in marks
    if not user.replicas and remembered and wished(scene):
        spec = {"replicas": wished(scene), "paused": None, "template": {"metadata": {"annotations": {STAMP: None}}}}
        return (
            *keda,
            edit(DEPLOYMENTS, user.deployment, {"metadata": {"annotations": dict.fromkeys(_OURS)}, "spec": spec}),
        )
    if user.paused or any(mark in marks for mark in _OURS):
        change = {"metadata": {"annotations": dict.fromkeys(_OURS)}, "spec": {"paused": None}}
        return (*keda, edit(DEPLOYMENTS, user.deployment, change))
    return keda


def _as_it_was(scene: Scene, user: Seat, good: Object) -> Object:
    """The template of a version: where its controller still has it, that very one, so that its pods need not start anew."""
    version = good["metadata"]["labels"][POD]
    found = [one for one in scene.batches if one.version == version]
    if not found:
        return _with_marks_of(user.template, template_of(good))
    return max(found, key=lambda one: len(one.pods)).template


def _with_marks_of(live: Object, wanted: Object) -> Object:
    """A kept template with those annotations of the live one that are no part of a version."""
    marks = (live.get("metadata") or {}).get("annotations") or {}
    kept = {key: value for key, value in marks.items() if key in NO_RELEASE or key.startswith(PREFIX)}
    metadata = dict(wanted.get("metadata") or {})
    if kept:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **kept}
    return {**wanted, "metadata": metadata}


def _kept_selector(service: Object) -> bool:
    return SELECTOR in (service["metadata"].get("annotations") or {})


def _is_of(obj: Object, name: str) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return labels.get(SERVICE) == name and (ROLE in labels or POD in labels)
