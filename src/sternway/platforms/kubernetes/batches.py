"""The pods of a StatefulSet or DaemonSet by the revision of its template that they run. Pure; read by `scene`, used by `in_place`.

Its controller keeps a ControllerRevision for each template, and each pod names its own in a label, so that a Service can select
the pods of one version alone. Of a StatefulSet that is the revision's name, of a DaemonSet what the revision's own label says.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

from sternway.kubernetes.api import Object, is_ready, name_of
from sternway.kubernetes.reading import Reader
from sternway.kubernetes.resources import CONTROLLER_REVISIONS, PODS
from sternway.kubernetes.template import stamped, template_digest

HASH = "controller-revision-hash"
"""The label by which a pod tells its revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A revision and its pods. hash: the value of the label. version: its fingerprint; "" where nobody knows it.

    pods: those that are to stay. leaving: those that are on their way out.
    """

    hash: str
    template: Object
    version: str
    pods: tuple[Object, ...] = ()
    leaving: tuple[Object, ...] = ()

    @property
    def ready(self) -> tuple[Object, ...]:
        """The pods that take traffic."""
        return tuple(pod for pod in self.pods if is_ready(pod))

    @property
    def unready(self) -> tuple[Object, ...]:
        """The pods that do not."""
        return tuple(pod for pod in self.pods if not is_ready(pod))


def read_batches(reader: Reader, workload: Object, kept: Mapping[str, Object], asked: str) -> tuple[Batch, ...]:
    """Every revision of a workload. kept: what we keep of each version. asked: the version that its template is now."""
    uid = workload["metadata"]["uid"]
    known = _known(kept, workload, asked)
    pods = reader.owned(PODS, uid)
    found = []
    for revision in reader.owned(CONTROLLER_REVISIONS, uid):
        template = copy.deepcopy(revision["data"]["spec"]["template"])
        template.pop("$patch", None)
        word = hash_of(revision) or name_of(revision)
        mine = [pod for pod in pods if hash_of(pod) == word]
        found.append(
            Batch(
                hash=word,
                template=template,
                version=_version(template, known),
                pods=tuple(pod for pod in mine if not pod["metadata"].get("deletionTimestamp")),
                leaving=tuple(pod for pod in mine if pod["metadata"].get("deletionTimestamp")),
            )
        )
    return tuple(found)


def hash_of(obj: Object) -> str:
    """Of which revision a pod (or a DaemonSet's revision itself) says that it is."""
    return str((obj["metadata"].get("labels") or {}).get(HASH, ""))


def _known(kept: Mapping[str, Object], workload: Object, asked: str) -> dict[str, str]:
    """Version by the fingerprint of its template alone: the first that was kept of it, or else what is asked for."""
    latest_first = sorted(kept, key=lambda version: -int(kept[version]["revision"]))
    now = {template_digest(workload["spec"]["template"]): asked}
    return now | {template_digest(kept[version]["data"]["template"]): version for version in latest_first}


def _version(template: Object, known: Mapping[str, str]) -> str:
    """By our mark, or else by the template alone: it is only marked where what it says had not changed."""
    pod, of_template = stamped(template)
    digest = template_digest(template)
    return pod if pod and of_template == digest else known.get(digest, "")
