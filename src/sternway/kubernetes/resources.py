"""The kinds of objects that Sternway reads or writes. A new kind is one line here (and one in the Role)."""

from __future__ import annotations

from sternway.kubernetes.api import Resource

OURS = "sternway.dev"

DEPLOYMENTS = Resource(group="apps", version="v1", plural="deployments", kind="Deployment")
STATEFUL_SETS = Resource(group="apps", version="v1", plural="statefulsets", kind="StatefulSet")
DAEMON_SETS = Resource(group="apps", version="v1", plural="daemonsets", kind="DaemonSet")
REPLICA_SETS = Resource(group="apps", version="v1", plural="replicasets", kind="ReplicaSet")
CONTROLLER_REVISIONS = Resource(group="apps", version="v1", plural="controllerrevisions", kind="ControllerRevision")
JOBS = Resource(group="batch", version="v1", plural="jobs", kind="Job")
PODS = Resource(group="", version="v1", plural="pods", kind="Pod")
SERVICES = Resource(group="", version="v1", plural="services", kind="Service")
CONFIG_MAPS = Resource(group="", version="v1", plural="configmaps", kind="ConfigMap")
SECRETS = Resource(group="", version="v1", plural="secrets", kind="Secret")
NAMESPACES = Resource(group="", version="v1", plural="namespaces", kind="Namespace", namespaced=False)
EVENTS = Resource(group="", version="v1", plural="events", kind="Event")
LEASES = Resource(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease")
HORIZONTAL_POD_AUTOSCALERS = Resource(
    group="autoscaling", version="v2", plural="horizontalpodautoscalers", kind="HorizontalPodAutoscaler"
)
POD_DISRUPTION_BUDGETS = Resource(
    group="policy", version="v1", plural="poddisruptionbudgets", kind="PodDisruptionBudget"
)

CUSTOM_RESOURCE_DEFINITIONS = Resource(
    group="apiextensions.k8s.io",
    version="v1",
    plural="customresourcedefinitions",
    kind="CustomResourceDefinition",
    namespaced=False,
)
GUARDS = Resource(group=OURS, version="v1alpha1", plural="guards", kind="Guard")
RELEASES = Resource(group=OURS, version="v1alpha1", plural="releases", kind="Release")
POLICIES = Resource(group=OURS, version="v1alpha1", plural="policies", kind="Policy")
MESH_POLICIES = Resource(group=OURS, version="v1alpha1", plural="meshpolicies", kind="MeshPolicy")

APPLICATIONS = Resource(group="argoproj.io", version="v1alpha1", plural="applications", kind="Application")
KUSTOMIZATIONS = Resource(
    group="kustomize.toolkit.fluxcd.io", version="v1", plural="kustomizations", kind="Kustomization"
)
GIT_REPOSITORIES = Resource(
    group="source.toolkit.fluxcd.io", version="v1", plural="gitrepositories", kind="GitRepository"
)
HELM_RELEASES = Resource(group="helm.toolkit.fluxcd.io", version="v2", plural="helmreleases", kind="HelmRelease")
