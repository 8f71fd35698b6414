"""How things are given back: a version that was rolled back, and a service whose Guard is gone. Pure; called by `platform`."""

from __future__ import annotations

from collections.abc import Collection

from sternway.kubernetes.api import Object
from sternway.kubernetes.ours import POD, PREFIX, REPLICAS, ROLE, SELECTOR, SERVICE, STAMP, named
from sternway.kubernetes.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, SERVICES
from sternway.kubernetes.template import NO_RELEASE, config_digest
from sternway.platforms.kubernetes import followers, revisions
from sternway.platforms.kubernetes.plan import points_at_twin, wished
from sternway.platforms.kubernetes.scene import KINDS, Scene, owned_by_gitops, selector_of
from sternway.platforms.kubernetes.states import rolled_out
from sternway.platforms.kubernetes.writes import Write, edit, merge_patch, remove


def restored(scene: Scene, bad: str, good: str) -> tuple[tuple[Write, ...], str]:
    """Give the user's Deployment and its configuration back what the good version had: (writes, what was done, in words).

    Only while they are as the bad version had them: what somebody changed since is theirs.
    """
    user, revision = scene.user, scene.revisions.get(good)
    where = f"Deployment {scene.deployment}"
    if user is None:
        return (), f"{where} is gone"
    if scene.pod == good:
        return (), f"{where} is as it was"
    if scene.pod != bad:
        return (), f"{where} was changed since and is left as it is"
    if revision is None:
        return (), f"{where} is left as it is: no ControllerRevision {scene.deployment}-{good} holds what it was"
    template = owned_by_gitops(user.deployment, "spec", "template", "spec")
    if template:
        return (), f"{where} is left as it is: {template} keeps it as Git says, so it has to be reverted in Git"
    wanted = _with_marks_of(user.template, revisions.template_of(revision))
    change = merge_patch(user.template, wanted)
    writes: list[Write] = []
    said: list[str] = []
    left: list[str] = []
    for (kind, name), copied in sorted(revisions.names_in(revision).items()):
        now, then = scene.config.get((kind, name)), scene.copies.get((kind, copied))
        if now is None or then is None or config_digest(now) == config_digest(then):
            continue
        keeper = owned_by_gitops(now, "data")
        if keeper or now.get("immutable"):
            left.append(f"{kind} {name} ({'kept as Git says by ' + keeper if keeper else 'immutable'})")
            continue
        both = {field: then.get(field) or {} for field in ("data", "binaryData") if now.get(field) or then.get(field)}
        held = {field: now.get(field) or {} for field in both}
        writes.append(edit(KINDS[kind], now, merge_patch(held, both)))
        said.append(f"{kind} {name}")
    if change:
        writes.append(edit(DEPLOYMENTS, user.deployment, {"spec": {"template": change}}))
        said.append(where)
    done = f"{', '.join(said)} restored" if said else "nothing could be restored"
    return tuple(writes), f"{done}; left as it is: {', '.join(left)}" if left else done


def given_back(scene: Scene, carrying: Collection[str]) -> tuple[Write, ...]:
    """The next writes that take Sternway out of a service; nothing when it is out, or waits for pods or routes.

    The user's Deployment first, then the user's Service, and the twin only when nothing reaches it.
    """
    user, service = scene.user, scene.service
    if user is not None:
        woken = _woken(scene)
        if woken:
            return woken
        if user.replicas and not rolled_out(scene, user, scene.live(user) or scene.pod):
            return ()
    if service is not None and user is not None and (points_at_twin(scene) or _kept_selector(service)):
        own = selector_of(scene)
        now: dict[str, str] = service["spec"].get("selector") or {}
        change = {"metadata": {"annotations": {SELECTOR: None}}, "spec": {"selector": merge_patch(now, own)}}
        return (edit(SERVICES, service, change),)
    ours = {named(scene.name, "stable"), named(scene.name, "candidate")}
    return () if ours & set(carrying) else leftovers(scene)


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
    remembered = REPLICAS in (user.deployment["metadata"].get("annotations") or {})
    if not user.replicas and remembered and wished(scene):
        spec = {"replicas": wished(scene), "paused": None, "template": {"metadata": {"annotations": {STAMP: None}}}}
        return (
            *keda,
            edit(DEPLOYMENTS, user.deployment, {"metadata": {"annotations": {REPLICAS: None}}, "spec": spec}),
        )
    if user.paused or remembered:
        change = {"metadata": {"annotations": {REPLICAS: None}}, "spec": {"paused": None}}
        return (*keda, edit(DEPLOYMENTS, user.deployment, change))
    return keda


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
