"""What the tests of rules share: manifests of two services, and promtool."""

import subprocess
from pathlib import Path

import yaml

from sternway.manifests.load import load

IMAGES = "images:\n  app: serve {port}\n"
OBJECTIVES = {"judge": {"objectives": {"availability": 99.9, "latency": {"p99": "500ms"}}}}


def service(name, *, port=80, **spec):
    """Write a Deployment, and a Guard when something is said for it."""
    container = {"name": name, "image": "app:1", "ports": [{"containerPort": port}] if port else []}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }
    guard = {
        "apiVersion": "sternway.dev/v1alpha1",
        "kind": "Guard",
        "metadata": {"name": name},
        "spec": {"service": name, **spec},
    }
    return yaml.safe_dump_all([deployment, guard] if spec else [deployment])


def catalogue(**services):
    """Load services from their manifests."""
    return load({f"{name}.yaml": text for name, text in services.items()} | {"images.yaml": IMAGES})


def promtool(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run promtool to its end."""
    return subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, timeout=100, check=False)
