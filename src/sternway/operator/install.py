"""What stands in a cluster that has Sternway: its rights, its Deployment and what protects it. Used by `sternway install`.

Pure: settings in, objects out. `deploy/` holds what the defaults give; a test compares.
"""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from sternway.kubernetes.api import Object
from sternway.manifests.custom_resources import GROUP, definitions

NAME = "sternway"
PORT = 8080
ACCESS_LOG = 15010
"""The port for the access log of the mesh's proxies."""
NAMESPACE = "sternway-system"
"""Where Sternway itself runs, unless another namespace is named."""
STATE = "/var/lib/sternway"
MONITORING = "/etc/sternway"
"""Where the Secret `sternway-monitoring` is seen, if there is one: monitoring.yaml, and the files that it names."""
GIT = "/etc/sternway-git"
"""Where the Secret `sternway-git` is seen, if there is one: with what a rollback is pushed to Git."""
USER = 65532
_LABELS = {"app.kubernetes.io/name": NAME}
_SCRAPED = {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT), "prometheus.io/path": "/metrics"}
_READ = ["get", "list", "watch"]
_KEEP = [*_READ, "create", "patch", "update", "delete"]

Rule = tuple[str, tuple[str, ...], list[str]]
"""(API group, resources, verbs)."""

RULES: tuple[Rule, ...] = (
    (GROUP, ("guards", "meshpolicies"), [*_READ, "patch"]),
    (GROUP, ("policies",), _READ),
    (GROUP, ("releases",), _KEEP),
    (GROUP, ("guards/status", "policies/status", "releases/status"), ["get", "patch", "update"]),
    (GROUP, ("guards/finalizers",), ["update"]),  # to own what we make for a Guard
    ("apps", ("deployments", "controllerrevisions"), _KEEP),
    ("apps", ("deployments/scale",), ["get", "patch", "update"]),
    ("apps", ("statefulsets", "daemonsets"), [*_READ, "patch"]),
    ("apps", ("replicasets",), _READ),
    ("", ("pods",), [*_READ, "delete"]),  # of StatefulSets and DaemonSets, to replace one
    ("", ("services", "configmaps", "secrets"), _KEEP),
    ("batch", ("jobs",), ["get", "list", "watch", "create", "delete"]),  # the gates of Guards
    ("", ("events",), ["create", "list", "patch"]),
    ("discovery.k8s.io", ("endpointslices",), _READ),
    ("autoscaling", ("horizontalpodautoscalers",), _KEEP),
    ("autoscaling.k8s.io", ("verticalpodautoscalers",), _KEEP),
    ("keda.sh", ("scaledobjects",), _KEEP),
    ("policy", ("poddisruptionbudgets",), _KEEP),
    ("networking.istio.io", ("virtualservices", "destinationrules"), _KEEP),
    ("gateway.networking.k8s.io", ("httproutes", "grpcroutes"), _KEEP),
    ("policy.linkerd.io", ("httproutes",), _KEEP),
    ("networking.k8s.io", ("ingresses",), _KEEP),
    ("traefik.io", ("ingressroutes", "traefikservices"), _KEEP),
    ("projectcontour.io", ("httpproxies",), _KEEP),
    ("consul.hashicorp.com", ("servicesplitters", "serviceresolvers", "servicedefaults"), _KEEP),
    ("argoproj.io", ("applications",), _READ),
    ("kustomize.toolkit.fluxcd.io", ("kustomizations",), _READ),
    ("source.toolkit.fluxcd.io", ("gitrepositories",), _READ),
    ("helm.toolkit.fluxcd.io", ("helmreleases",), _READ),
)
"""All that Sternway may do where it looks after services. Nothing more: no node, no role, no webhook."""
_EVERYWHERE: tuple[Rule, ...] = (("", ("namespaces",), _READ),)
"""Beside it, where all namespaces are looked after: which of them are in a mesh."""
_OWN: tuple[Rule, ...] = (
    ("coordination.k8s.io", ("leases",), ["get", "list", "watch", "create", "update"]),
    (GROUP, ("policies",), _READ),
    (GROUP, ("policies/status",), ["get", "patch", "update"]),
)
"""In its own namespace: who leads, and the Policies that hold for every other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """How Sternway stands in a cluster.

    namespace: its own. watches: the namespaces that it looks after; empty: all. image: with its tag. storage: the size of
    the volume that the journal is kept on. A volume has one writer, so there is one replica.
    """

    namespace: str = NAMESPACE
    watches: tuple[str, ...] = ()
    image: str = "sternway:dev"
    prometheus: str = ""
    alertmanager: str = ""
    mesh: str = ""
    storage: str = "1Gi"


def installation(wanted: Installation) -> tuple[Object, ...]:
    """Every object, in the order in which they can be made."""
    own = wanted.namespace
    return (
        _object("v1", "Namespace", own, labels={"pod-security.kubernetes.io/enforce": "restricted"}),
        *definitions(),
        _object("v1", "ServiceAccount", NAME, own),
        *_rights(wanted),
        _volume(wanted),
        _object("v1", "Service", NAME, own, spec={"selector": _LABELS, "ports": _ports()}),
        _deployment(wanted),
        _disruption(wanted),
        _network(wanted),
    )


def written(objects: tuple[Object, ...]) -> str:
    """Give objects as one YAML file."""
    return "---\n".join(
        yaml.dump(one, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=4096) for one in objects
    )


class _Plain(yaml.SafeDumper):
    """Without anchors: a list that stands twice is written twice."""

    def ignore_aliases(self, _: object) -> bool:
        return True


def _rights(wanted: Installation) -> tuple[Object, ...]:
    rules = [_rule(rule) for rule in RULES]
    at_home = [_rule(rule) for rule in _OWN]
    subjects = [{"kind": "ServiceAccount", "name": NAME, "namespace": wanted.namespace}]
    own = _bound("Role", f"{NAME}-leader", wanted.namespace, at_home, subjects)
    if not wanted.watches:
        return (*_bound("ClusterRole", NAME, "", [*rules, *map(_rule, _EVERYWHERE)], subjects), *own)
    return (*(one for name in wanted.watches for one in _bound("Role", NAME, name, rules, subjects)), *own)


def _bound(kind: str, name: str, namespace: str, rules: list[Object], subjects: list[Object]) -> tuple[Object, Object]:
    group = "rbac.authorization.k8s.io"
    role = {**_object(f"{group}/v1", kind, name, namespace), "rules": rules}
    return role, {
        **_object(f"{group}/v1", f"{kind}Binding", name, namespace),
        "roleRef": {"apiGroup": group, "kind": kind, "name": name},
        "subjects": subjects,
    }


def _rule(rule: Rule) -> Object:
    group, resources, verbs = rule
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def _volume(wanted: Installation) -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": wanted.storage}}}
    return _object("v1", "PersistentVolumeClaim", NAME, wanted.namespace, spec=spec)


def _deployment(wanted: Installation) -> Object:
    pod = {
        "metadata": {"labels": _LABELS, "annotations": _SCRAPED},
        "spec": {
            "serviceAccountName": NAME,
            "terminationGracePeriodSeconds": 30,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(wanted)],
            "volumes": [
                {"name": "state", "persistentVolumeClaim": {"claimName": NAME}},
                {"name": "tmp", "emptyDir": {}},
                {"name": "monitoring", "secret": {"secretName": f"{NAME}-monitoring", "optional": True}},
                {"name": "git", "secret": {"secretName": f"{NAME}-git", "optional": True}},
            ],
        },
    }
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": _LABELS},
        "strategy": {"type": "Recreate"},
        "template": pod,
    }
    return _object("apps/v1", "Deployment", NAME, wanted.namespace, spec=spec)


def _container(wanted: Installation) -> Object:
    args = ["operator", "--listen", f"0.0.0.0:{PORT}", "--state", STATE, "--lease", wanted.namespace]
    args += ["--access-log", f"0.0.0.0:{ACCESS_LOG}", "--monitoring", f"{MONITORING}/monitoring.yaml", "--git", GIT]
    args += [part for name in wanted.watches for part in ("--namespace", name)]
    for flag, value in (
        ("prometheus", wanted.prometheus),
        ("alertmanager", wanted.alertmanager),
        ("mesh", wanted.mesh),
    ):
        args += [f"--{flag}", value] if value else []
    return {
        "name": NAME,
        "image": wanted.image,
        "args": args,
        "ports": [
            {"name": "http", "containerPort": PORT, "protocol": "TCP"},
            {"name": "grpc-als", "containerPort": ACCESS_LOG, "protocol": "TCP"},
        ],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 5},
        "startupProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 2, "failureThreshold": 60},
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "state", "mountPath": STATE},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  in the container
            {"name": "monitoring", "mountPath": MONITORING, "readOnly": True},
            {"name": "git", "mountPath": GIT, "readOnly": True},
        ],
    }


def _disruption(wanted: Installation) -> Object:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": _LABELS}}
    return _object("policy/v1", "PodDisruptionBudget", NAME, wanted.namespace, spec=spec)


def _network(wanted: Installation) -> Object:
    """In: one port for the kubelet's probes and Prometheus, one for the access logs of proxies, wherever they stand.

    Out: anything, as the API server, Prometheus and Git stand anywhere.
    """
    spec = {
        "podSelector": {"matchLabels": _LABELS},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": port, "protocol": "TCP"} for port in (PORT, ACCESS_LOG)]}],
        "egress": [{}],
    }
    return _object("networking.k8s.io/v1", "NetworkPolicy", NAME, wanted.namespace, spec=spec)


def _ports() -> list[Object]:
    """Istio knows by the name `grpc-…` that HTTP/2 is spoken there."""
    return [
        {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"},
        {"name": "grpc-als", "port": ACCESS_LOG, "targetPort": "grpc-als", "protocol": "TCP"},
    ]


def _object(
    api_version: str,
    kind: str,
    name: str,
    namespace: str = "",
    *,
    labels: Object | None = None,
    spec: Object | None = None,
) -> Object:
    metadata = {
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "labels": {**_LABELS, **(labels or {})},
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **({"spec": spec} if spec else {})}
