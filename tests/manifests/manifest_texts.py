"""Manifest texts for the tests, and short ways to load them."""

from textwrap import dedent, indent
from typing import Any

import yaml

from sternway.errors import InvalidInput, Problem
from sternway.manifests.catalogue import Catalogue
from sternway.manifests.load import load

IMAGES = 'images:\n  shop/web: "run --port {port}"\n'


def deployment(
    name: str = "web",
    *,
    app: str | None = None,
    image: str = "shop/web:1.0.0",
    ports: str = "[{containerPort: 8080}]",
    container: str = "",
    pod: str = "",
    replicas: int = 1,
) -> str:
    """Write a Deployment; `container` and `pod` are further fields of the container and of the pod."""
    app = app or name
    head = dedent(f"""\
        apiVersion: apps/v1
        kind: Deployment
        metadata: {{name: {name}}}
        spec:
          replicas: {replicas}
          selector: {{matchLabels: {{app: {app}}}}}
          template:
            metadata: {{labels: {{app: {app}}}}}
            spec:
              containers:
              - name: main
                image: {image}
        """)
    head += f"        ports: {ports}\n" if ports else ""
    return head + _lines(container, 8) + _lines(pod, 6)


def _lines(text: str, depth: int) -> str:
    text = indent(dedent(text), " " * depth)
    return text if text.endswith("\n") or not text else text + "\n"


def service(name: str = "web", *, app: str | None = None, ports: str = "[{port: 80, targetPort: 8080}]") -> str:
    """Write a Service that selects by the label `app`."""
    return dedent(f"""\
        apiVersion: v1
        kind: Service
        metadata: {{name: {name}}}
        spec:
          selector: {{app: {app or name}}}
          ports: {ports}
        """)


def guard(spec: str = "", *, service: str = "web", name: str = "guard") -> str:
    """Write a Guard with the given further fields."""
    head = f"apiVersion: sternway.dev/v1alpha1\nkind: Guard\nmetadata: {{name: {name}}}\nspec:\n  service: {service}\n"
    return head + indent(dedent(spec), "  ")


def policy(spec: str = "", *, service: str = "web", name: str = "policy") -> str:
    """Write a MeshPolicy with the given further fields."""
    return guard(spec, service=service, name=name).replace("kind: Guard", "kind: MeshPolicy")


def config_map(name: str = "settings", data: str = "{COLOUR: blue}") -> str:
    """Write a ConfigMap."""
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {data}\n"


def secret(name: str = "keys", data: str = "{TOKEN: c2VzYW1l}") -> str:
    """Write a Secret; TOKEN is `sesame`."""
    return f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ndata: {data}\n"


def route(rule: str, *, parents: str = "[{group: '', kind: Service, name: web}]", spec: str = "") -> str:
    """Write an HTTPRoute with one rule."""
    head = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web-route}\nspec:\n"
    head += f"  parentRefs: {parents}\n" + indent(dedent(spec), "  ")
    return head + "  rules:\n  - " + indent(dedent(rule), "    ").lstrip()


def together(*documents: str) -> str:
    """Several documents in one text."""
    return "---\n".join(document if document.endswith("\n") else document + "\n" for document in documents)


def load_texts(*documents: str, images: str | None = IMAGES, commit: str = "c1") -> Catalogue:
    """Load documents that stand in one file, beside images.yaml."""
    files = {"app.yaml": together(*documents)}
    return load(files | ({"images.yaml": images} if images is not None else {}), commit=commit, origin="/srv/manifests")


def problems_of(*documents: str, images: str | None = IMAGES) -> tuple[Problem, ...]:
    """Return the problems that a load raises; none when it raises nothing."""
    try:
        load_texts(*documents, images=images)
    except InvalidInput as exc:
        return exc.problems
    return ()


def dump(value: Any) -> str:
    """Write a value as YAML text."""
    return str(yaml.safe_dump(value, sort_keys=False))
