"""JSON schemas of our own manifests, for editors and, on Kubernetes, for custom resource definitions."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from sternway.manifests.models.guard import Guard
from sternway.manifests.models.images import ImagesFile
from sternway.manifests.models.mesh import MeshPolicy
from sternway.manifests.models.policy import Policy

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """Kind -> schema. `images.yaml` has no kind and stands under its file's name."""
    models: dict[str, type[BaseModel]] = {
        "Guard": Guard,
        "MeshPolicy": MeshPolicy,
        "Policy": Policy,
        "images.yaml": ImagesFile,
    }
    return {kind: {"$schema": _DIALECT, **model.model_json_schema()} for kind, model in models.items()}
