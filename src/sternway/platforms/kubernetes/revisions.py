"""What a cluster keeps of each version: its pod template and immutable copies of its configuration. Pure.

A ControllerRevision for each version, called `DEPLOYMENT-FINGERPRINT`. Nothing here has an owner: a Guard that is deleted
must not take away what the twin's pods still read.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from sternway.kubernetes.api import Object, name_of
from sternway.kubernetes.ours import POD, ROLE, SERVICE
from sternway.kubernetes.template import ConfigName, canonical, config_digest
from sternway.platforms.kubernetes.scene import Scene, names_in

KEEP = 10
"""How many versions are kept beside those that run."""
_LONGEST = 253


def revision_of(scene: Scene) -> Object:
    """What is kept of the version that the user's Deployment asks for now."""
    assert scene.user is not None
    copies = {"/".join(key): copy_name(key[1], held) for key, held in scene.config.items()}
    number = 1 + max((int(one.get("revision", 0)) for one in scene.revisions.values()), default=0)
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": revision_name(scene.user.name, scene.pod),
            "namespace": scene.namespace,
            "labels": {SERVICE: scene.name, POD: scene.pod, ROLE: "version"},
        },
        "data": {"template": canonical(scene.user.template), "config": copies},
        "revision": number,
    }


def revision_name(deployment: str, pod: str) -> str:
    """Under which name a version is kept."""
    return f"{deployment[: _LONGEST - 13]}-{pod}"


def copies_of(scene: Scene) -> tuple[Object, ...]:
    """Immutable copies of the configuration that is used now. Secrets are copied as Secrets."""
    return tuple(_copy(scene, key, held) for key, held in sorted(scene.config.items()))


def template_of(revision: Object) -> Object:
    """The pod template of a version, as the user wrote it."""
    template: Object = copy.deepcopy(revision["data"]["template"])
    return template


def copy_name(name: str, config: Object) -> str:
    """`settings` -> `settings-1f2e3d4c`."""
    return f"{name[: _LONGEST - 9]}-{config_digest(config)}"


def outdated(revisions: Mapping[str, Object], keep: Iterable[str]) -> tuple[str, ...]:
    """The versions that need not be kept any more: none that runs, and none of the latest."""
    wanted = set(keep)
    others = sorted((pod for pod in revisions if pod not in wanted), key=lambda pod: -int(revisions[pod]["revision"]))
    return tuple(others[KEEP:])


def unused_copies(scene: Scene, gone: Iterable[str]) -> tuple[ConfigName, ...]:
    """The copies that no version needs when these are gone."""
    left = [one for pod, one in scene.revisions.items() if pod not in set(gone)]
    used = {(kind, name) for one in left for (kind, _), name in names_in(one).items()}
    now = {(key[0], copy_name(key[1], held)) for key, held in scene.config.items()}
    return tuple(sorted(scene.copies.keys() - used - now))


def _copy(scene: Scene, key: ConfigName, held: Object) -> Object:
    data = {field: copy.deepcopy(held[field]) for field in ("data", "binaryData", "type") if held.get(field)}
    if data.get("type") == "kubernetes.io/service-account-token":  # the API would ask for its account, and fill it anew
        data["type"] = "Opaque"
    return {
        "apiVersion": "v1",
        "kind": key[0],
        "metadata": {
            "name": copy_name(name_of(held), held),
            "namespace": scene.namespace,
            "labels": {SERVICE: scene.name, ROLE: "version"},
        },
        "immutable": True,
        **data,
    }
