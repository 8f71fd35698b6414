"""Kubernetes' apps/v1 Deployment: the fields that we use, and the names of all the others."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from sternway.manifests.models.base import Flag, IntOrName, Kube, Natural, Port, Text, names, not_empty, wrong
from sternway.manifests.models.core import Metadata, PodMetadata, TextMap


class KeyRef(Kube):
    """One key of a ConfigMap or a Secret."""

    name: Text
    key: Text
    optional: Flag = False


class FieldRef(Kube):
    """A field of the pod itself."""

    api_version: Text = "v1"
    field_path: Text


class EnvSource(Kube):
    """Where the value of a variable comes from."""

    config_map_key_ref: KeyRef | None = None
    secret_key_ref: KeyRef | None = None
    field_ref: FieldRef | None = None
    resource_field_ref: Any = None
    file_key_ref: Any = None

    @model_validator(mode="after")
    def _one(self) -> EnvSource:
        if len(self.model_fields_set) != 1:
            raise wrong("exactly one source is needed", "write one of configMapKeyRef, secretKeyRef, fieldRef")
        return self


class Env(Kube):
    """An environment variable."""

    name: Text = Field(min_length=1, pattern=r"^[^=\x00]+$")
    value: Text | None = None
    value_from: EnvSource | None = None

    @model_validator(mode="after")
    def _one(self) -> Env:
        if self.value and self.value_from:
            raise wrong(f"`{self.name}` has both value and valueFrom", "keep one of them")
        return self


class SourceRef(Kube):
    """A whole ConfigMap or Secret."""

    name: Text
    optional: Flag = False


class EnvFrom(Kube):
    """Every key of a ConfigMap or a Secret as a variable."""

    prefix: Text = ""
    config_map_ref: SourceRef | None = None
    secret_ref: SourceRef | None = None

    @model_validator(mode="after")
    def _one(self) -> EnvFrom:
        if (self.config_map_ref is None) == (self.secret_ref is None):
            raise wrong("exactly one source is needed", "write configMapRef or secretRef")
        return self


class ContainerPort(Kube):
    """A port that a container listens on."""

    unused: ClassVar[frozenset[str]] = names("hostIP hostPort")
    container_port: Port
    name: Text = ""
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


class HttpGet(Kube):
    """A probe by HTTP."""

    unused: ClassVar[frozenset[str]] = names("host httpHeaders")
    path: Text = "/"
    port: IntOrName
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"


class TcpSocket(Kube):
    """A probe by connecting."""

    unused: ClassVar[frozenset[str]] = names("host")
    port: IntOrName


class Exec(Kube):
    """A probe by a command."""

    command: Annotated[tuple[Text, ...], AfterValidator(not_empty)]


class Probe(Kube):
    """A probe of one kind."""

    unused: ClassVar[frozenset[str]] = names("terminationGracePeriodSeconds")
    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    exec: Exec | None = None
    grpc: Any = None
    initial_delay_seconds: Natural = 0
    period_seconds: Natural = 10
    timeout_seconds: Natural = 1
    success_threshold: Natural = 1
    failure_threshold: Natural = 3

    @model_validator(mode="after")
    def _one(self) -> Probe:
        stated = [way for way in (self.http_get, self.tcp_socket, self.exec, self.grpc) if way is not None]
        if len(stated) != 1:
            raise wrong("a probe asks in exactly one way", "write one of httpGet, tcpSocket, exec")
        return self


class VolumeMount(Kube):
    """Where a volume appears in the container."""

    unused: ClassVar[frozenset[str]] = names("mountPropagation readOnly recursiveReadOnly")
    name: Text
    mount_path: Text = Field(pattern=r"^/")
    sub_path: Text = ""
    sub_path_expr: Text = ""


class KeyToPath(Kube):
    """Which key becomes which file."""

    unused: ClassVar[frozenset[str]] = names("mode")
    key: Text
    path: Text


class ConfigMapVolume(Kube):
    """A ConfigMap as files."""

    unused: ClassVar[frozenset[str]] = names("defaultMode")
    name: Text
    items: tuple[KeyToPath, ...] = ()
    optional: Flag = False


class Volume(Kube):
    """A volume: ConfigMaps become files, the rest is named so that a typo is caught."""

    unused: ClassVar[frozenset[str]] = names(
        "awsElasticBlockStore azureDisk azureFile cephfs cinder csi downwardAPI emptyDir ephemeral fc flexVolume "
        "flocker gcePersistentDisk gitRepo glusterfs hostPath image iscsi nfs persistentVolumeClaim "
        "photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos vsphereVolume"
    )
    name: Text
    config_map: ConfigMapVolume | None = None
    secret: Any = None
    projected: Any = None


class Container(Kube):
    """The container of a pod."""

    unused: ClassVar[frozenset[str]] = names(
        "imagePullPolicy lifecycle resizePolicy resources restartPolicy restartPolicyRules securityContext stdin "
        "stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices workingDir"
    )
    name: Text = Field(min_length=1)
    image: Text = Field(min_length=1, pattern=r"^\S+$")
    command: tuple[Text, ...] = ()
    args: tuple[Text, ...] = ()
    env: tuple[Env, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    volume_mounts: tuple[VolumeMount, ...] = ()


class PodSpec(Kube):
    """What a pod runs."""

    unused: ClassVar[frozenset[str]] = names(
        "activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks "
        "ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname hostnameOverride "
        "imagePullSecrets nodeName nodeSelector os overhead preemptionPolicy priority priorityClassName "
        "readinessGates resourceClaims resources restartPolicy runtimeClassName schedulerName schedulingGates "
        "securityContext serviceAccount setHostnameAsFQDN shareProcessNamespace subdomain tolerations "
        "topologySpreadConstraints"
    )
    containers: Annotated[tuple[Container, ...], AfterValidator(not_empty)]
    init_containers: tuple[Any, ...] = ()
    volumes: tuple[Volume, ...] = ()
    termination_grace_period_seconds: Natural = 30
    service_account_name: Text = "default"


class PodTemplate(Kube):
    """The pod that a Deployment makes copies of."""

    metadata: PodMetadata = Field(default_factory=PodMetadata)
    spec: PodSpec


class Selector(Kube):
    """Which pods belong to a Deployment."""

    unused: ClassVar[frozenset[str]] = names("matchExpressions")
    match_labels: TextMap = Field(default_factory=dict)


class DeploymentSpec(Kube):
    """How many of which pods."""

    unused: ClassVar[frozenset[str]] = names(
        "minReadySeconds paused progressDeadlineSeconds revisionHistoryLimit strategy"
    )
    replicas: Natural = 1
    selector: Selector | None = None
    template: PodTemplate


class Deployment(Kube):
    """A Kubernetes Deployment."""

    unused: ClassVar[frozenset[str]] = names("status")
    api_version: Literal["apps/v1"]
    kind: Literal["Deployment"]
    metadata: Metadata
    spec: DeploymentSpec
