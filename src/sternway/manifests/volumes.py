"""ConfigMap volumes -> files. Called by `sternway.manifests.workloads`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from sternway.domain.versions import ConfigFile
from sternway.manifests.models.deployment import ConfigMapVolume, Deployment, Volume, VolumeMount
from sternway.manifests.report import suggest
from sternway.manifests.sources import Lookup
from sternway.manifests.yamltext import Path

_POD: Path = ("spec", "template", "spec")


def config_files(lookup: Lookup, deployment: Deployment) -> tuple[ConfigFile, ...]:
    """Return the files that the container finds at its mount paths."""
    pod = deployment.spec.template.spec
    volumes = {volume.name: (index, volume) for index, volume in enumerate(pod.volumes)}
    files: dict[str, ConfigFile] = {}
    for index, mount in enumerate(pod.containers[0].volume_mounts):
        path: Path = (*_POD, "containers", 0, "volumeMounts", index)
        if mount.name not in volumes:
            said = f"there is no volume `{mount.name}`"
            lookup.report.wrong(lookup.document, (*path, "name"), said, suggest(mount.name, volumes))
            continue
        if mount.sub_path_expr:
            said = "subPathExpr is not known on this machine"
            lookup.report.wrong(lookup.document, (*path, "subPathExpr"), said, "use subPath")
            continue
        place, volume = volumes[mount.name]
        for file in _mounted(lookup, volume, mount, (*_POD, "volumes", place), path):
            if file.path in files:
                said = f"two volumes put a file at {file.path}"
                lookup.report.wrong(lookup.document, (*path, "mountPath"), said, "mount one of them elsewhere")
            files[file.path] = file
    return tuple(files.values())


def _mounted(
    lookup: Lookup, volume: Volume, mount: VolumeMount, volume_path: Path, mount_path: Path
) -> Iterator[ConfigFile]:
    for kind in ("secret", "projected"):
        if getattr(volume, kind) is not None:
            fix = "take the values as environment variables (secretKeyRef), or mount a ConfigMap"
            said = f"{kind} volumes are not written to this machine"
            lookup.report.wrong(lookup.document, (*volume_path, kind), said, fix)
    if volume.config_map is None:
        for kind in volume.stated_unused():
            lookup.report.note(lookup.document, f"volume {volume.name} ({kind}) is not mounted here", volume_path)
        return
    if ".." in PurePosixPath(mount.mount_path).parts:
        lookup.report.wrong(
            lookup.document, (*mount_path, "mountPath"), "the path leads upwards", "write it without `..`"
        )
        return
    contents = _contents(lookup, volume.config_map, (*volume_path, "configMap"))
    if contents is None:
        return
    if not mount.sub_path:
        for name, content in contents.items():
            yield ConfigFile(path=str(PurePosixPath(mount.mount_path) / name), content=content)
    elif mount.sub_path in contents:
        yield ConfigFile(path=str(PurePosixPath(mount.mount_path)), content=contents[mount.sub_path])
    else:
        said = f"volume {volume.name} holds no file `{mount.sub_path}`"
        lookup.report.wrong(lookup.document, (*mount_path, "subPath"), said, suggest(mount.sub_path, contents))


def _contents(lookup: Lookup, volume: ConfigMapVolume, path: Path) -> Mapping[str, str] | None:
    """File name within the volume -> content."""
    data = lookup.config(volume.name, (*path, "name"), optional=volume.optional)
    if data is None or not volume.items:
        return data
    contents = {}
    for index, item in enumerate(volume.items):
        inner = PurePosixPath(item.path)
        if inner.is_absolute() or ".." in inner.parts or not inner.parts:
            said = "the path must lead into the volume"
            lookup.report.wrong(
                lookup.document, (*path, "items", index, "path"), said, "write a relative path without `..`"
            )
        elif item.key in data:
            contents[str(inner)] = data[item.key]
        elif not volume.optional:
            lookup.missing_key("ConfigMap", volume.name, item.key, data, (*path, "items", index, "key"))
    return contents
