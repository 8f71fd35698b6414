"""From a workload to argv and environment: what an image means here. Used by replica before each start.

Secret values live in the environment of the process and in `Launcher` alone: `redact` takes them out of any text
that leaves this package.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sternway.domain.images import ImageCommand, Images
from sternway.domain.versions import ConfigFile, SecretKey, Workload
from sternway.errors import Refused
from sternway.platforms.local.process import MARK

KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV")
"""What a replica inherits from Sternway's own environment; everything else is stated or absent."""


class CannotStart(Refused):
    """Something that a person must mend first: no mapping, no such command, a file outside its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is started. `env` is kept out of every representation: it holds secret values."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    working_dir: str | None


class Launcher:
    """Resolves workloads into launches and remembers the secret values that it has seen, by service."""

    def __init__(
        self,
        *,
        config_dir: Path,
        images: Callable[[], Images],
        environment: Callable[[str], Mapping[str, str]],
        secret: Callable[[str, SecretKey], Awaitable[str]],
    ) -> None:
        self._config_dir = config_dir
        self._images = images
        self._environment = environment
        self._secret = secret
        self._secrets: dict[str, set[str]] = {}
        self._learned: set[tuple[str, SecretKey]] = set()

    async def prepare(self, *, service: str, replica: str, workload: Workload, commit: str, port: int) -> Launch:
        """Everything that a start needs, the ConfigMap files written. Raises CannotStart, or what `secret` raises."""
        mapping = self._images().find(workload.image)
        if mapping is None:
            raise CannotStart(
                f"no command is known for the image {workload.image}",
                hint=f"add it to images.yaml under `images:`, for example `{workload.image_name}: "
                "my-command --port {port}`",
            )
        config = self._write_files(workload)
        fill = _Filler(workload=workload, port=port, config=config)
        env = {name: os.environ[name] for name in KEPT if name in os.environ}
        env |= {
            "PYTHONUNBUFFERED": "1",
            "HOSTNAME": replica,
            "STERNWAY_SERVICE": service,
            "STERNWAY_CONFIG": str(config),
        }
        env |= self._environment(service)
        env |= {"PORT": str(port)}
        env |= {name: fill(value) for name, value in mapping.env}
        env |= await self._stated(service, workload, commit, port)
        env[MARK] = replica
        argv = tuple(fill(word) for word in (*mapping.command, *workload.args))
        _check(argv, mapping, env.get("PATH", os.defpath))
        return Launch(argv=argv, env=env, working_dir=mapping.working_dir or None)

    async def learn(self, service: str, workload: Workload, commit: str) -> None:
        """Look up a workload's secret values, so that `redact` knows them."""
        for variable in workload.env:
            if variable.secret is not None and (service, variable.secret) not in self._learned:
                self._remember(service, variable.secret, await self._secret(commit, variable.secret))

    def redact(self, service: str, text: str) -> str:
        """Take out any secret value of the service that is known here."""
        for value in sorted(self._secrets.get(service, ()), key=len, reverse=True):
            text = text.replace(value, "***")
        return text

    def prune(self, used: set[str]) -> None:
        """Remove the ConfigMap folders of workloads that no longer run."""
        if self._config_dir.is_dir():
            for folder in self._config_dir.iterdir():
                if folder.name not in used:
                    shutil.rmtree(folder, ignore_errors=True)

    async def _stated(self, service: str, workload: Workload, commit: str, port: int) -> dict[str, str]:
        """Resolve the Deployment's own variables. A PORT that repeats the container's port gives way to the replica's own."""
        env: dict[str, str] = {}
        for variable in workload.env:
            if variable.secret is not None:
                value = await self._secret(commit, variable.secret)
                self._remember(service, variable.secret, value)
            else:
                value = variable.value
            env[variable.name] = value
        if workload.port is not None and env.get("PORT") == str(workload.port):
            env["PORT"] = str(port)
        return env

    def _remember(self, service: str, key: SecretKey, value: str) -> None:
        self._learned.add((service, key))
        lines = {line for line in value.splitlines() if len(line) >= 4}  # a log shows a key of many lines by line
        self._secrets.setdefault(service, set()).update({value, *lines} - {""})

    def _write_files(self, workload: Workload) -> Path:
        folder = self._config_dir / workload.id
        for file in workload.files:
            path = folder / _inside(file)
            if not path.is_file() or path.read_text(encoding="utf-8") != file.content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(file.content, encoding="utf-8")
        return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filler:
    workload: Workload
    port: int
    config: Path

    def __call__(self, text: str) -> str:
        facts = {
            "{port}": str(self.port),
            "{tag}": self.workload.tag,
            "{image}": self.workload.image,
            "{config}": str(self.config),
            "{python}": sys.executable,
        }
        for placeholder, value in facts.items():
            text = text.replace(placeholder, value)
        return text


def cannot_start(mapping: ImageCommand, workload: Workload) -> str:
    """Say what would keep a workload from starting on this machine, as far as it shows before; "" for nothing."""
    fill = _Filler(workload=workload, port=0, config=Path())
    stated = {**dict(mapping.env), **{one.name: one.value for one in workload.env}}
    try:
        _check(
            tuple(fill(word) for word in mapping.command),
            mapping,
            stated.get("PATH") or os.environ.get("PATH", os.defpath),
        )
    except CannotStart as error:
        return str(error)
    return ""


def _inside(file: ConfigFile) -> PurePosixPath:
    path = PurePosixPath(file.path.lstrip("/"))
    if ".." in path.parts or not path.parts:
        raise CannotStart(
            f"the ConfigMap file {file.path!r} lies outside its folder", hint="state a mountPath without `..`"
        )
    return path


def _check(argv: tuple[str, ...], mapping: ImageCommand, search_path: str) -> None:
    where = f"images.yaml, image {mapping.image}"
    if mapping.working_dir and not Path(mapping.working_dir).is_dir():
        raise CannotStart(
            f"the working directory {mapping.working_dir} does not exist", hint=f"correct workingDir in {where}"
        )
    if not argv or not argv[0]:
        raise CannotStart(f"the command for the image {mapping.image} is empty", hint=f"state it in {where}")
    program = argv[0]
    if "/" in program:
        found = shutil.which(str(Path(mapping.working_dir or ".") / program))
    else:
        found = shutil.which(program, path=search_path)
    if found is None:
        raise CannotStart(
            f"command not found: {program}", hint=f"install it, make it executable, or correct the command in {where}"
        )
