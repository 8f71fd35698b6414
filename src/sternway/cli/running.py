"""`sternway up` and `sternway down`. Called by `cli.app`; the platform itself runs in `cli.foreground`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from sternway.cli import quick
from sternway.cli.interrupts import ending_at_once
from sternway.cli.session import Code, ask, console, understood
from sternway.errors import InvalidInput, Problem, Refused
from sternway.paths import Paths
from sternway.web.faults import TookTooLong

READY_WITHIN_S = 90.0
STOPPED_WITHIN_S = 90.0
_LOOK_EVERY_S = 0.1
_TAIL_LINES = 20


def up(source: str, *, path: str, state: Path | None, detach: bool, **told: str | None) -> Code:
    """Start the platform, here or in the background. told: other settings, by the names that `bootstrap.Settings` has."""
    from sternway.manifests.models.monitoring import parse_listen, parse_place  # noqa: PLC0415  see the package

    home = state or _home_of(source)
    for name, parse in (("metrics", parse_listen), ("prometheus", parse_place), ("alertmanager", parse_place)):
        if told.get(name) is not None:
            understood(f"--{name}", parse, told[name])
    paths = Paths.of(home)
    _refuse_a_second(paths)
    paths.make()
    if detach:
        return _detach(source, path=path, home=home, told=told)
    with ending_at_once():
        from sternway.bootstrap import Settings  # noqa: PLC0415  the whole platform
        from sternway.cli.foreground import Foreground  # noqa: PLC0415  the same

        return Foreground(Settings(source=source, home=home, path=path, **told)).run()  # type: ignore[arg-type]  # its texts


def down(folder: Path, *, keep: bool) -> None:
    """Stop the platform and wait for its end. Raises TookTooLong."""
    answer = json.loads(ask(folder, lambda client: client.post("stop", json_body={"keep": keep})))
    deadline = time.monotonic() + STOPPED_WITHIN_S
    while _runs(answer["pid"]):
        if time.monotonic() > deadline:
            raise TookTooLong(
                f"process {answer['pid']} is still stopping after {STOPPED_WITHIN_S:g} s",
                hint="a service may take its whole terminationGracePeriodSeconds",
            )
        time.sleep(_LOOK_EVERY_S)
    left = "; services and proxy go on, and the next `sternway up` takes them over" if keep else ""
    console().print(f"stopped{left}")


def _home_of(source: str) -> Path:
    """Where `.sternway/` goes: the folder itself; for an address, the current one. A mistyped folder makes nothing."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if ":" in source:
        return Path.cwd()
    message = "is a file, not a folder" if folder.exists() else "there is no such folder"
    raise InvalidInput((Problem(file=source, message=message, fix="name a Git repository with manifests"),))


def _refuse_a_second(paths: Paths) -> None:
    try:
        quick.get(paths.api_socket, "/v1/names")
    except (OSError, ValueError):
        return
    raise Refused(
        f"a platform is running for {paths.state.parent} already",
        hint="`sternway status` shows it; `sternway down` stops it",
    )


def _detach(source: str, *, path: str, home: Path, told: Mapping[str, str | None]) -> Code:
    paths = Paths.of(home)
    command = [sys.executable, "-m", "sternway.cli", "up", source, "--state", str(home)]
    for name, value in (("path", path), *told.items()):
        command += [f"--{name}", value] if value else []
    log = paths.state / "up.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        return _until_ready(process, paths, log)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def _until_ready(process: subprocess.Popen[bytes], paths: Paths, log: Path) -> Code:
    """Ready is when every service is, or cannot be: then its failure is told, and the others serve."""
    deadline = time.monotonic() + READY_WITHIN_S
    while process.poll() is None:
        found = _status(paths)
        failures = _failures(found) if found else []
        if (
            found
            and found["connected"]
            and all(s["ready"] or s["service"] in dict(failures) for s in found["services"])
        ):
            return _say_ready(found, failures, process.pid, log)
        if time.monotonic() > deadline:
            raise TookTooLong(
                f"not everything is ready after {READY_WITHIN_S:g} s; it goes on in the background",
                hint=f"`sternway status` shows what is missing; its output stands in {log}",
            )
        time.sleep(_LOOK_EVERY_S)
    tail = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    console(stderr=True).print("\n".join(tail), soft_wrap=True)
    return Code(process.returncode) if process.returncode in set(Code) - {Code.OK} else Code.PROBLEM


def _status(paths: Paths) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = quick.get(paths.api_socket, "/v1/status")
    except (OSError, ValueError):
        return None
    return found if "services" in found else None


def _failures(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Why services cannot run: their versions fail, or something is in their way, a port that is taken."""
    failures = [
        (service["service"], version["failure"])
        for service in found["services"]
        for version in service["versions"]
        if version["role"] == "stable" and version["failure"]
    ]
    failures += [
        (service["service"], f"{trouble['message']} ({trouble['hint']})" if trouble["hint"] else trouble["message"])
        for service in found["services"]
        if not service["ready"]
        for trouble in service["troubles"]
    ]
    return failures


def _say_ready(found: dict[str, Any], failures: list[tuple[str, str]], pid: int, log: Path) -> Code:
    out = console()
    for service in found["services"]:
        if service["ready"]:
            place = f" at http://{service['address']}" if service["address"] else ""
            out.print(f"{service['service']}: {service['stable']} is ready{place}", style="green", soft_wrap=True)
    for name, failure in failures:
        out.print(f"{name}: cannot run: {failure}", style="red", soft_wrap=True)
    out.print(f"running in the background (process {pid}, output in {log}); `sternway down` stops it", soft_wrap=True)
    return Code.PROBLEM if failures else Code.OK


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
