"""What the end-to-end tests share: a user's repository, a platform in this process or in one of its own, and traffic."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml

from sternway.bootstrap import Settings, Sternway
from sternway.cli import quick
from sternway.control.replay import Replayed, replay
from sternway.control.status import PlatformStatus
from sternway.demo.load import Ask, Load
from sternway.domain.releases import Phase, Release, Reply, Verb
from sternway.paths import Paths
from sternway.web import gather

TESTS = Path(__file__).parents[1]
PROGRAM = Path(__file__).with_name("counted_service.py")
READS = (Ask(path="/things/{n}", share=1),)
CLUSTER = {"clusterKey": {"header": "x-user"}, "latency": {"quantiles": []}, "warmUp": "0s"}
QUICK: dict[str, Any] = {
    "strategy": {"canary": {"steps": [{"percent": 20, "minRequests": 25}, {"percent": 50, "minRequests": 25}]}},
    "bake": {"for": "1s"},
    "withdraw": {"for": "500ms"},
    "keep": "1s",
    "judge": CLUSTER,
}


class Repository:
    """A user's work tree, and the bare repository `origin` that it pushes to when there is one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origin: Path | None = None
        self.count = folder.parent / f"{folder.name}.requests"
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        command = [sys.executable, "-S", str(PROGRAM), "--port", "{port}", "--tag", "{tag}", "--count", str(self.count)]
        (folder / "images.yaml").write_text(yaml.safe_dump({"images": {"app": {"command": command}}}))

    def git(self, *arguments: str) -> str:
        """Run git as the user."""
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgSign=false")
        done = subprocess.run(["git", *who, *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"git {arguments}: {done.stderr}"
        return done.stdout.strip()

    def with_origin(self) -> Path:
        """Make the bare repository."""
        self.origin = self.folder.parent / f"{self.folder.name}.git"
        subprocess.run(["git", "clone", "--quiet", "--bare", str(self.folder), str(self.origin)], check=True)
        self.git("remote", "add", "origin", str(self.origin))
        self.git("fetch", "--quiet", "origin")
        self.git("branch", "--quiet", "--set-upstream-to=origin/main")
        return self.origin

    def commit(self, message: str = "Change") -> str:
        """Commit everything as it stands, and push it."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        if self.origin is not None:
            self.git("push", "--quiet", "origin", "main")
        return self.git("rev-parse", "HEAD")

    def write(self, service: str, tag: str, *, replicas: int = 1, **guard: Any) -> None:
        """Write a service's Deployment, and its Guard: QUICK, and what is said here."""
        container = {"name": service, "image": f"app:{tag}", "ports": [{"containerPort": 80}]}
        container["readinessProbe"] = {"httpGet": {"path": "/healthz", "port": 80}, "periodSeconds": 1}
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": service},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": service}},
                "template": {
                    "metadata": {"labels": {"app": service}},
                    "spec": {"terminationGracePeriodSeconds": 2, "containers": [container]},
                },
            },
        }
        said = {
            "apiVersion": "sternway.dev/v1alpha1",
            "kind": "Guard",
            "metadata": {"name": service},
            "spec": {"service": service, **QUICK, **guard},
        }
        (self.folder / f"{service}.yaml").write_text(yaml.safe_dump_all([deployment, said], sort_keys=False))

    def release(self, service: str, tag: str) -> str:
        """Commit another image, as `git pull`, an editor and `git push` would."""
        if self.origin is not None:
            self.git("pull", "--quiet", "--rebase", "origin", "main")
        path = self.folder / f"{service}.yaml"
        documents = list(yaml.safe_load_all(path.read_text()))
        documents[0]["spec"]["template"]["spec"]["containers"][0]["image"] = f"app:{tag}"
        path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
        return self.commit(f"{service} {tag}")

    def image(self, service: str, ref: str = "HEAD") -> str:
        """Read a service's image in Git."""
        text = self.git("show", f"{ref}:{service}.yaml")
        return str(next(yaml.safe_load_all(text))["spec"]["template"]["spec"]["containers"][0]["image"])

    def counted(self) -> Counter[str]:
        """How often each line `TAG METHOD PATH` stands in the services' count."""
        return Counter(self.count.read_text().splitlines()) if self.count.exists() else Counter()


class Platform:
    """A platform that runs in this process."""

    def __init__(self, repository: Repository, *, source: str | None = None) -> None:
        self.repository = repository
        settings = Settings(source=source or str(repository.folder), home=repository.folder, poll_s=0.1, drain_s=0.1)
        self.sternway = Sternway(settings)

    async def start(self) -> None:
        """Start, and wait until everything is ready."""
        await self.sternway.start()
        await self.until(self.ready, "everything is ready")

    async def ready(self) -> bool:
        """Whether every service runs and its address answers as planned."""
        found = await self.status()
        return bool(found.services) and found.ready and all(one.address for one in found.services)

    async def status(self) -> PlatformStatus:
        """Read what `sternway status` would show."""
        return await gather.status(self.sternway)

    async def last(self, service: str) -> Release | None:
        """Read the release of a service that is under way, or was last."""
        return (await self.sternway.reconciler.progress(service)).release

    async def reaches(self, service: str, *phases: Phase, after: str = "", within_s: float = 120) -> Release:
        """Wait for a release of the service in one of these phases that is not `after`, its traffic being as decided."""
        found: list[Release] = []

        async def there() -> bool:
            release = await self.last(service)
            if release is None or release.name == after or release.phase not in phases:
                return False
            decision = self.sternway.reconciler.decision(service)
            if decision is None or decision.traffic != await self.sternway.router.observe(service):
                return False
            found.append(release)
            return True

        await self.until(there, f"{service} is {' or '.join(phases)}", within_s=within_s)
        return found[0]

    async def over(self, service: str, *, after: str = "", within_s: float = 150) -> Release:
        """Wait for the end of the service's release."""
        phases = [phase for phase in Phase if phase.over]
        return await self.reaches(service, *phases, after=after, within_s=within_s)

    async def until(self, condition: Callable[[], Any], what: str, *, within_s: float = 120) -> None:
        """Wait for a condition; when it does not come true, everything that is known is told."""
        try:
            async with asyncio.timeout(within_s):
                while not await condition():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            seen = [await self.status(), self.sternway.queue.troubles]
            services = await self.sternway.journal.services()
            seen += [(await self.sternway.reconciler.progress(service)).release for service in services]
            raise AssertionError("\n".join([f"waited {within_s} s until {what}", *map(repr, seen)])) from None

    def url(self, service: str) -> str:
        """Where callers reach a service."""
        return f"http://{self.sternway.router.address(service)}"

    async def say(self, verb: Verb, service: str, **more: Any) -> Reply:
        """Give a person's command."""
        return await self.sternway.commands.submit(service, verb, by="ada", **more)

    @contextlib.asynccontextmanager
    async def load(self, service: str, *, rate_per_s: float = 60, asks: tuple[Ask, ...] = READS) -> AsyncIterator[Load]:
        """Keep a steady load on a service."""
        async with loaded(self.url(service), rate_per_s=rate_per_s, asks=asks) as load:
            yield load

    async def replayed(self, release: str) -> Replayed:
        """Recompute a release from the journal."""
        return replay(release, [entry async for entry in gather.pages(self.sternway, release=release)])


@contextlib.asynccontextmanager
async def loaded(url: str, *, rate_per_s: float, asks: tuple[Ask, ...] = READS) -> AsyncIterator[Load]:
    """Keep a steady load on an address; all answers are in when it ends."""
    load = Load(url, rate_per_s=rate_per_s, asks=asks)
    running = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        load.stop()
        await running


class Shell:
    """A person's shell in the folder of a platform: the real command line, each time a process of its own."""

    def __init__(self, folder: Path, *, poll_s: float = 0.1) -> None:
        self.folder = folder
        # The interval at which a server is asked is no option of the command line; a test has no 15 seconds.
        self._code = (
            f"import sys; sys.path.append({str(TESTS)!r}); import free_ports; free_ports.keep_apart(); "
            f"import sternway.history.git as git; git.REMOTE_POLL_S = {poll_s}; from sternway.cli import main; main()"
        )
        self._variables: dict[str, str] = {}

    def over_ssh(self, origin: Path) -> str:
        """Give the address of a repository on a server: ssh whose other side is on this machine."""
        program = origin.with_suffix(".ssh")
        program.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
        program.chmod(0o755)
        self._variables = {"GIT_SSH_COMMAND": str(program), "GIT_SSH_VARIANT": "simple"}
        return f"ssh://localhost{origin}"

    def _environment(self) -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if key != "STERNWAY_DIR"} | self._variables

    def sternway(self, *arguments: str, within_s: float = 100) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = [sys.executable, "-m", "sternway.cli", *arguments]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def ok(self, *arguments: str) -> str:
        """Run a command that must succeed; gives what it printed."""
        done = self.sternway(*arguments)
        assert done.returncode == 0, f"sternway {arguments} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def read(self, *arguments: str) -> Any:
        """Run a reading command; gives its JSON."""
        return json.loads(self.ok(*arguments, "--output", "json"))

    def up(self, source: str = ".", *more: str) -> subprocess.Popen[bytes]:
        """Start a platform beside this process, and wait until it is ready."""
        out = (self.folder / ".git" / "up.log").open("ab")
        command = [sys.executable, "-c", self._code, "up", source, "--state", str(self.folder), *more]
        process = subprocess.Popen(command, cwd=self.folder, env=self._environment(), stdout=out, stderr=out)
        out.close()

        def ready() -> bool:
            text = (self.folder / ".git" / "up.log").read_text()
            assert process.poll() is None, f"sternway up ended with {process.returncode}: {text}"
            found = self.status()
            return bool(found) and found["connected"] and all(s["ready"] and s["address"] for s in found["services"])

        self.until(ready, "the platform is ready")
        return process

    def until(self, condition: Callable[[], Any], what: str, *, within_s: float = 120) -> None:
        """Wait for a condition; when it does not come true, everything that is known is told."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                status = self.status()
                releases = [one["release"]["name"] for one in status.get("services", []) if one["release"]]
                seen = [json.dumps(status, indent=1)]
                seen += [self.sternway("release", "show", name, "--output", "json").stdout for name in releases]
                seen += [(self.folder / ".git" / "up.log").read_text()[-2000:], "\n".join(self.leftovers())]
                raise AssertionError("\n".join([f"waited {within_s} s until {what}", *seen]))
            time.sleep(0.1)

    def status(self) -> dict[str, Any]:
        """Read the status as the command line would, without its start; nothing while no platform answers."""
        try:
            found: dict[str, Any] = quick.get(Paths.of(self.folder).api_socket, "/v1/status")
        except (OSError, ValueError):
            return {}
        return found

    def service(self, name: str) -> dict[str, Any]:
        """Read the status of one service."""
        for _ in range(300):
            found = [one for one in self.status().get("services", []) if one["service"] == name]
            if found:
                return dict(found[0])
            time.sleep(0.2)
        raise AssertionError(f"the platform does not show {name}: {self.status()}")

    def processes(self) -> dict[str, int]:
        """Find every replica and its process."""
        return {r["name"]: r["pid"] for s in self.read("services")["services"] for r in s["replicas"]}

    def leftovers(self) -> list[str]:
        """Name what runs still with this folder on its command line or as its working folder."""
        found = []
        run_folder = Paths.of(self.folder).run.name
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if process.pid != os.getpid() and (str(self.folder) in line or run_folder in line):
                    found.append(f"{process.pid} {line}")
        return found


@contextlib.contextmanager
def cleaned(shell: Shell) -> Iterator[Shell]:
    """Leave nothing running, whatever happened."""
    try:
        yield shell
    finally:
        shell.sternway("down")
        for line in shell.leftovers():
            with contextlib.suppress(psutil.Error):
                psutil.Process(int(line.split()[0])).kill()
