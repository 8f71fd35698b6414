"""What the tests of the meshes share: a service with its two Services, versions of it, wishes, and golden files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sternway.domain.mesh import MeshPolicy
from sternway.domain.traffic import MirrorTo, Pin, Split, TrafficPlan
from sternway.domain.versions import Service, Version, Workload
from sternway.kubernetes.api import Object
from sternway.kubernetes.backends import Backend, Backends
from sternway.traffic.kubernetes.dialect import Wish, wish_of
from sternway.traffic.kubernetes.registry import dialect

GOLDEN = Path(__file__).parent / "golden"
OWNER = {
    "apiVersion": "sternway.dev/v1alpha1",
    "kind": "Guard",
    "name": "orders",
    "uid": "11111111-2222-3333-4444-555555555555",
}


def version(tag: str, service: str = "orders.shop") -> Version:
    """Make a version."""
    return Version(service=service, workload=Workload(image=f"orders:{tag}", service=service), policy=MeshPolicy())


STABLE, CANDIDATE = version("1.0.0"), version("1.1.0")


def plan(
    percent: float = 0.0, *, pins: tuple[Pin, ...] = (), mirror: float = 0.0, namespace: str = "shop"
) -> TrafficPlan:
    """`percent` to the candidate, the rest to stable."""
    return TrafficPlan(
        service=Service(name=f"orders.{namespace}", port=80, namespace=namespace),
        versions=(STABLE, CANDIDATE),
        split=Split.between(STABLE.id, CANDIDATE.id, percent),
        pins=pins,
        mirror=MirrorTo(version=CANDIDATE.id, percent=mirror) if mirror else None,
    )


def backends(ports: Any = (("http", 80, ""),), *, replicas: int = 2, namespace: str = "shop") -> Backends:
    """The service `orders`, with its twin and a candidate."""
    return Backends(
        namespace=namespace,
        service="orders",
        deployment="orders",
        ports=tuple(tuple(port) for port in ports),
        stable=Backend(
            workload_id=STABLE.workload.id,
            service="orders-stable",
            labels=(("app", "orders-stable"), ("sternway.dev/twin", "orders")),
            replicas=replicas,
        ),
        candidate=Backend(
            workload_id=CANDIDATE.workload.id,
            service="orders-candidate",
            labels=(("app", "orders"),),
            replicas=replicas,
        ),
    )


@dataclass
class Case:
    """One golden pair: a wish and what is there; what is written."""

    path: Path
    wish: Wish
    seen: tuple[Object, ...]
    out: Path

    @property
    def plan(self) -> TrafficPlan:
        """The plan that the wish is of."""
        said = next(iter(yaml.safe_load_all(self.path.read_text())))
        return plan_from(said["wish"], self.wish.backends.namespace)

    @property
    def dialect(self) -> Any:
        """The folder says which mesh it is."""
        return dialect(self.path.parent.name)

    def written(self) -> tuple[Object, ...]:
        """What the dialect writes."""
        return self.dialect.write(self.wish, self.seen)

    def after(self) -> tuple[Object, ...]:
        """The cluster when it has been written."""
        written = self.written()
        there = {key_of(obj) for obj in written}
        return (*(obj for obj in self.seen if key_of(obj) not in there), *written)


def key_of(obj: Object) -> tuple[str, str]:
    """Kind and name, in one namespace."""
    return f"{obj['apiVersion']}/{obj['kind']}", obj["metadata"]["name"]


def cases(namespace: str = "shop") -> Iterator[Case]:
    """Every golden pair; in another namespace where one is given."""
    for path in sorted(GOLDEN.glob("*/*.in.yaml")):
        text = path.read_text().replace("namespace: shop", f"namespace: {namespace}")
        said, *objects = yaml.safe_load_all(text.replace("orders.shop.", f"orders.{namespace}."))
        yield Case(
            path=path,
            wish=wish_from(said["wish"], namespace),
            seen=tuple(objects),
            out=path.with_name(path.name.replace(".in.", ".out.")),
        )


def plan_from(said: dict[str, Any], namespace: str) -> TrafficPlan:
    """Read the plan of the first document of a golden file."""
    pins = tuple(
        Pin(
            version=CANDIDATE.id,
            header=tuple(one["header"]) if "header" in one else None,
            cookie=tuple(one["cookie"]) if "cookie" in one else None,
        )
        for one in said.get("pins", ())
    )
    return plan(said.get("percent", 0), pins=pins, mirror=said.get("mirror", 0), namespace=namespace)


def wish_from(said: dict[str, Any], namespace: str = "shop") -> Wish:
    """Read the first document of a golden file."""
    known = backends(said.get("ports", (("http", 80, ""),)), namespace=namespace)
    return wish_of(plan_from(said, namespace), known, OWNER)


class _Plain(yaml.SafeDumper):
    """YAML without anchors."""

    def ignore_aliases(self, _: object) -> bool:
        """See SafeDumper."""
        return True


def dump(objects: tuple[Object, ...]) -> str:
    """Objects as one file."""
    return yaml.dump_all(objects, Dumper=_Plain, sort_keys=False, width=120)


if __name__ == "__main__":  # writes the golden files anew: look at the difference before you commit it
    for case in cases():
        case.out.write_text(dump(case.written()))
