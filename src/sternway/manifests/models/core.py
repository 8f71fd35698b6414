"""Kubernetes' core/v1: Service, ConfigMap, Secret, and the metadata that every manifest has."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from sternway.manifests.models.base import Flag, IntOrName, Kube, Port, Text, names, wrong


def _text_values(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    for key, item in value.items():
        if item is not None and not isinstance(item, str):
            raise wrong("the value must be text", f'quote it: {key}: "…"', (key,))
    return {key: item or "" for key, item in value.items()}


TextMap = Annotated[dict[str, str], BeforeValidator(_text_values)]


class Metadata(Kube):
    """Who a manifest is."""

    unused: ClassVar[frozenset[str]] = names(
        "creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation "
        "managedFields ownerReferences resourceVersion selfLink uid"
    )
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] = "default"
    labels: TextMap = Field(default_factory=dict)
    annotations: TextMap = Field(default_factory=dict)


class PodMetadata(Kube):
    """The metadata of a pod template, which needs no name."""

    unused: ClassVar[frozenset[str]] = Metadata.unused | {"name", "namespace"}
    labels: TextMap = Field(default_factory=dict)
    annotations: TextMap = Field(default_factory=dict)


class ServicePort(Kube):
    """One port of a Service."""

    unused: ClassVar[frozenset[str]] = names("nodePort")
    name: Text = ""
    port: Port
    target_port: IntOrName = None
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    app_protocol: Text = ""


class ServiceSpec(Kube):
    """How a Service finds its pods, and where it is called."""

    unused: ClassVar[frozenset[str]] = names(
        "allocateLoadBalancerNodePorts clusterIPs externalIPs externalName externalTrafficPolicy healthCheckNodePort "
        "internalTrafficPolicy ipFamilies ipFamilyPolicy loadBalancerClass loadBalancerIP loadBalancerSourceRanges "
        "publishNotReadyAddresses sessionAffinity sessionAffinityConfig trafficDistribution type"
    )
    ports: tuple[ServicePort, ...] = ()
    selector: TextMap = Field(default_factory=dict)
    cluster_ip: Text = Field(default="", alias="clusterIP")


class Service(Kube):
    """A Kubernetes Service."""

    unused: ClassVar[frozenset[str]] = names("status")
    api_version: Literal["v1"]
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec


class ConfigMap(Kube):
    """A Kubernetes ConfigMap."""

    api_version: Literal["v1"]
    kind: Literal["ConfigMap"]
    metadata: Metadata
    data: TextMap = Field(default_factory=dict)
    binary_data: TextMap = Field(default_factory=dict)
    immutable: Flag = False


class Secret(Kube):
    """A Kubernetes Secret. Its values never leave `sternway.manifests.secrets`."""

    api_version: Literal["v1"]
    kind: Literal["Secret"]
    metadata: Metadata
    data: TextMap = Field(default_factory=dict, repr=False)
    string_data: TextMap = Field(default_factory=dict, repr=False)
    type: Text = "Opaque"
    immutable: Flag = False
