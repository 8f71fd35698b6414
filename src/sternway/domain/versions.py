"""What a service runs: workloads, versions, and the services themselves.

Built by `sternway.manifests` from a Git commit; read by everyone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache

from sternway.domain.mesh import MeshPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKey:
    """A reference to one key of a Secret. The value itself is never stored; its digest tells a change."""

    name: str
    key: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    """An environment variable: a literal `value`, or a `secret` that is looked up when a process starts."""

    name: str
    value: str = ""
    secret: SecretKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """A file that a ConfigMap volume puts at `path` (the container's view)."""

    path: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A Kubernetes probe. Exactly one of `http_path`, `tcp` and `exec_command` is used."""

    http_path: str | None = None
    tcp: bool = False
    exec_command: tuple[str, ...] = ()
    initial_delay_s: float = 0.0
    period_s: float = 10.0
    timeout_s: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What one replica runs: the image and all configuration that reaches it.

    service: whose replicas they are; equal workloads of two services are two, with replicas of their own.
    pod: on Kubernetes the fingerprint of the whole pod template and of the configuration that it uses; the cluster keeps
        the template itself. Empty on one machine, where the other fields say everything.
    """

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    files: tuple[ConfigFile, ...] = ()
    port: int | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    startup: Probe | None = None
    grace_s: float = 30.0
    service: str = ""
    pod: str = ""

    @property
    def id(self) -> str:
        """A fingerprint: equal workloads have equal ids, on every machine."""
        return _workload_id(self)

    @property
    def image_name(self) -> str:
        """`registry/my-service:1.0.0` -> `registry/my-service`."""
        return split_image(self.image)[0]

    @property
    def tag(self) -> str:
        """`my-service:1.0.0` -> `1.0.0`; without a tag, `latest`."""
        return split_image(self.image)[1]


@lru_cache(maxsize=16_384)
def _workload_id(workload: Workload) -> str:
    """Kept, because every pass asks for it ten times: without this it was four tenths of a pass.

    A few for each of thousands of services: were there more of them than are kept, each pass would work all out again.
    """
    said = asdict(workload)
    if not workload.pod:
        del said["pod"]  # as before there was such a field: the ledger knows versions by their ids
    return _fingerprint(said)


def split_image(image: str) -> tuple[str, str]:
    """Split an image reference into its name and its tag (`latest` when there is none)."""
    name, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:
        return image, "latest"
    return name, tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """An immutable fingerprint of what a service runs: workload and mesh policy, seen at a Git commit.

    Two commits that give the same workload and policy give the same `id`.
    """

    service: str
    workload: Workload
    policy: MeshPolicy
    commit: str = ""
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            digest = _fingerprint({"workload": self.workload.id, "policy": asdict(self.policy)})
            object.__setattr__(self, "id", f"{self.workload.tag}-{digest[:6]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A named, addressable workload. `port` is the address that callers use; None has no address."""

    name: str
    port: int | None = None
    namespace: str = "default"


def _fingerprint(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
