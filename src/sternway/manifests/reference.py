"""The reference page of our own manifests, made from the models. A test compares it with docs/reference/manifests.md.

To write it anew: `python -m sternway.manifests.reference > docs/reference/manifests.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sternway.manifests.models.base import Kube, Words
from sternway.manifests.models.guard import Alone, Guard
from sternway.manifests.models.images import PLACEHOLDERS, Image, ImagesFile
from sternway.manifests.models.mesh import MeshPolicy
from sternway.manifests.models.monitoring import MonitoringFile
from sternway.manifests.models.policy import Policy
from sternway.manifests.report import unwrap

_INTRO = """\
# Manifests

<!-- Made from the models by `python -m sternway.manifests.reference`; a test compares. Do not edit by hand. -->

Sternway reads ordinary Kubernetes manifests (`Deployment`, `Service`, `ConfigMap`, `Secret`, `HTTPRoute`) and five
things of its own: `Guard`, `MeshPolicy`, `Policy` and the files `images.yaml` and `monitoring.yaml`. Every `*.yaml` and `*.yml` file
of the watched folder is read, but for those in hidden folders. Unknown fields are refused, in all of them; kinds that
Sternway does not use are accepted with a notice.

Durations are written `250ms`, `30s`, `5m`, `1h30m`; percentages `10` or `10%`.
"""
_DEPLOYMENTS = """\
## How Kubernetes manifests are read

- A Service and the Deployment that it selects are one service, named after the Service. A Deployment that no Service
  selects is a service of its own: with the port of its container (the one named `http`, or the first), or without an
  address. A Guard's fallback is no service of its own.
- A Service's port is the one named `http` (or with `appProtocol: http`), or its first.
- Environment: `value`, `configMapKeyRef`, `secretKeyRef`, `fieldRef`, `envFrom` with `prefix` and `optional`, and
  `$(NAME)`. A Secret's value is looked up when a process starts and never stored.
- ConfigMap volumes become files (`items`, `subPath`). Volumes of Secrets and projected volumes are refused.
- Probes: `httpGet`, `tcpSocket`, `exec`, on the port that the service uses.
- One container in a pod; init containers are refused.
- An HTTPRoute whose parent is a Service gives rules: matches by path, method and exact headers; timeouts; retry
  (`codes` 502, 503, 504); headers that are set, and request headers that are removed. Anything else is refused.
- What has no meaning on one machine (`resources`, `affinity`, `securityContext`, …) is accepted with a notice.

A change to a service's Deployment, to a ConfigMap or Secret that it uses, to its HTTPRoutes or to its MeshPolicy is a
release. Replicas, labels, the Service and the Guard may change without one.
"""


def reference() -> str:
    """Write the whole page."""
    parts = [
        _INTRO,
        _section("Guard", Guard),
        _section("MeshPolicy", MeshPolicy),
        _section("Policy", Policy),
        _images(),
        _section("monitoring.yaml", MonitoringFile),
        _DEPLOYMENTS,
    ]
    return "\n".join(parts)


def _section(title: str, model: type[BaseModel]) -> str:
    return f"## {title}\n\n{model.__doc__}\n\n{_HEAD}\n" + "\n".join(_rows(model, "")) + "\n"


def _images() -> str:
    holders = ", ".join(f"`{{{name}}}`" for name in PLACEHOLDERS)
    images = f"| `images` | mapping | *required* | {_words(ImagesFile.model_fields['images'].description)} |"
    rows = "\n".join([images, *_rows(Image, "images.NAME.")])
    return f"## images.yaml\n\n{ImagesFile.__doc__}\n\nPlaceholders: {holders}.\n\n{_HEAD}\n{rows}\n"


_HEAD = "| Field | Type | Default | Meaning |\n|---|---|---|---|"


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        inner = unwrap(field.annotation)
        listed = get_origin(inner) is tuple and not any(isinstance(item, Words) for item in field.metadata)
        inner = unwrap(get_args(inner)[0]) if listed else inner
        nested = isinstance(inner, type) and issubclass(inner, BaseModel)
        kind = ("list" if listed else "mapping") if nested else _type(field, listed=listed)
        yield f"| `{path}` | {kind} | {_default(field)} | {_words(field.description)} |"
        if nested and not issubclass(inner, Kube):
            yield from _rows(inner, f"{path}[]." if listed else f"{path}.")


def _type(field: FieldInfo, *, listed: bool) -> str:
    words = [item.text for item in field.metadata if isinstance(item, Words)]
    annotation = field.annotation
    for _ in range(3):
        words += [item.text for item in getattr(annotation, "__metadata__", ()) if isinstance(item, Words)]
        candidates = [arg for arg in get_args(annotation) if arg is not type(None)]
        if get_origin(annotation) is Literal or not candidates:
            break
        annotation = candidates[0]
    if not words and get_origin(annotation) is Literal:
        words = [" or ".join(f"`{choice}`" for choice in get_args(annotation))]
    text = words[0] if words else "text"
    return f"list of {text}" if listed else text


def _default(field: FieldInfo) -> str:
    default: Any = field.default
    if field.default_factory is not None:
        default = field.get_default(call_default_factory=True)
        return _default_of_many(default)
    if default is PydanticUndefined:
        return "*required*"
    if default is None or default in ("", ()):
        return "none"
    if isinstance(default, tuple):
        return ", ".join(f"`{item:g}`" if isinstance(item, float) else f"`{item}`" for item in default)
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def _default_of_many(default: Any) -> str:
    if not isinstance(default, tuple):
        return "see below" if isinstance(default, BaseModel) else "none"
    if isinstance(default[0], Alone):
        return "; ".join(f"{one.errors}, {one.worse_than:g} % and {one.and_:g} points more" for one in default)
    return "; ".join(f"{step.to_domain()} for {step.min_requests} requests" for step in default)


def _words(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
