"""Manifests of services to measure with. Used by the benches that run the whole product."""

from __future__ import annotations

import json
from pathlib import Path

SERVICE = Path(__file__).parent / "service.py"
GOOD = "0-e1"
"""The version that everything begins with: one request in a thousand fails."""

_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      containers:
      - name: {name}
        image: bench/{name}:{tag}
        ports:
        - containerPort: 8080
        readinessProbe:
          httpGet: {{path: /healthz, port: 8080}}
          periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  selector: {{app: {name}}}
  ports:
  - port: 80
    targetPort: 8080
"""


def service(name: str, *, replicas: int = 2) -> dict[str, str]:
    """A Deployment and its Service, in one file."""
    return {f"{name}.yaml": _DEPLOYMENT.format(name=name, replicas=replicas, tag=GOOD)}


def guard(
    name: str, *, steps: list[dict[str, float]] | None = None, key: bool, shield: bool, latency: bool = True
) -> dict[str, str]:
    """A Guard; without `steps` the default ones. What is not said here is the default, but for short waits."""
    judge: dict[str, object] = {"warmUp": "0s"} | ({"clusterKey": {"header": "x-user"}} if key else {})
    judge |= {} if latency else {"latency": {"quantiles": []}}
    spec: dict[str, object] = {
        "service": name,
        "shield": {"enabled": shield},
        "withdraw": {"for": "5s"},
        "keep": "1s",
        "judge": judge,
    }
    spec |= {"strategy": {"canary": {"steps": steps}}} if steps else {}
    document = {
        "apiVersion": "sternway.dev/v1alpha1",
        "kind": "Guard",
        "metadata": {"name": name},
        "spec": spec,
    }
    return {f"{name}-guard.yaml": json.dumps(document, indent=2) + "\n"}


def images(*names: str) -> dict[str, str]:
    """What the images mean here; the command stands in the repository that is made for the run alone."""
    command = f"{{python}} {SERVICE} --port {{port}} --version {{tag}}"
    return {"images.yaml": json.dumps({"images": {f"bench/{name}": command for name in names}}, indent=2) + "\n"}
