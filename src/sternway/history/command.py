"""Run the `git` command: hardened, with a time-out, never through a shell. Used by everything in this package.

The user's own Git configuration stays in force (identity, signing, credential helpers, proxies), except that
hooks are off, nothing prompts, output is in the form read here, and only the file, ssh and https transports (http to this machine) are allowed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sternway.errors import HistoryUnavailable
from sternway.history.source import Source, redact

LOCAL_TIMEOUT_S = 30.0
NETWORK_TIMEOUT_S = 120.0

_HARDENED = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "core.quotePath=false",
    "-c", "advice.detachedHead=false",
    "-c", "gc.autoDetach=false",
    "-c", "maintenance.autoDetach=false",
    "-c", "submodule.recurse=false",
    "-c", "safe.bareRepository=all",
    "-c", "log.showSignature=false",
    "-c", "i18n.logOutputEncoding=UTF-8",
    "-c", "color.ui=false",
)  # fmt: skip
# Variables that point Git at some other repository, or that would answer for the user.
_DROPPED = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_CONFIG", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE",
    "GIT_INTERNAL_SUPER_PREFIX", "GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE", "GIT_IMPLICIT_WORK_TREE",
    "GIT_TRACE", "GIT_TRACE_CURL", "GIT_CURL_VERBOSE", "GIT_TRACE_PACKET", "GIT_REFLOG_ACTION",
)  # fmt: skip
# Answers Git's question for a password from the environment, so that it stands in no argument list.
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n"'
    ' "$STERNWAY_GIT_USER" "$STERNWAY_GIT_PASSWORD"; }; f'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a git command gave back. `error` is what it wrote to stderr, with passwords hidden."""

    code: int
    out: bytes
    error: str

    @property
    def text(self) -> str:
        """Standard output as one stripped text."""
        return self.out.decode("utf-8", "replace").strip()

    @property
    def last_line(self) -> str:
        """The line of stderr that says most: the first fatal or error line, else the last one."""
        lines = [line.strip() for line in self.error.splitlines() if line.strip()]
        telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote: error"))]
        return (telling or lines[-1:] or [f"git ended with status {self.code}"])[0]


class GitFailed(Exception):
    """A git command failed. Caught inside this package: each caller knows what its failure means."""

    def __init__(self, arguments: Sequence[str], output: Output) -> None:
        super().__init__(f"git {arguments[0]}: {output.last_line}")
        self.output = output


class Git:
    """Git in one repository, talking to one source."""

    def __init__(self, folder: Path, source: Source) -> None:
        self.folder = folder
        self._secret = source.password
        self._options, self._environment = _settings(source)

    async def run(  # the keywords are the whole of what a command may differ in
        self,
        *arguments: str,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
        folder: Path | None = None,
        timeout_s: float = LOCAL_TIMEOUT_S,
    ) -> Output:
        """Run and return whatever came of it. Raises HistoryUnavailable only on a time-out or without git."""
        extra = [part for key, value in (config or {}).items() for part in ("-c", f"{key}={value}")]
        command = ["git", *_HARDENED, *self._options, *extra, *arguments]
        process = await _start(command, folder or self.folder, {**self._environment, **(env or {})}, stdin is not None)
        try:
            async with asyncio.timeout(timeout_s):  # wait_for of Python 3.11 may swallow a cancellation
                out, error = await process.communicate(stdin)
        except TimeoutError as exc:
            message = f"git {arguments[0]} did not end within {timeout_s:g} s"
            raise HistoryUnavailable(message, hint="check the network, or the disk", retry_in_s=5) from exc
        finally:
            await _end(process)
        assert process.returncode is not None, "communicate() waits for the end"
        return Output(code=process.returncode, out=out, error=self.redact(error.decode("utf-8", "replace")))

    async def ok(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
        timeout_s: float = LOCAL_TIMEOUT_S,
    ) -> Output:
        """Run and raise GitFailed unless the command succeeds."""
        output = await self.run(*arguments, stdin=stdin, env=env, config=config, timeout_s=timeout_s)
        if output.code != 0:
            raise GitFailed(arguments, output)
        return output

    def redact(self, text: str) -> str:
        """Hide passwords in a text."""
        return redact(text.replace(self._secret, "***") if self._secret else text)


def _settings(source: Source) -> tuple[list[str], dict[str, str]]:
    environment = {key: value for key, value in os.environ.items() if key not in _DROPPED}
    environment |= {
        "GIT_TERMINAL_PROMPT": "0",
        "SSH_ASKPASS_REQUIRE": "never",
        "GCM_INTERACTIVE": "never",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_EDITOR": "true",
        "GIT_ALLOW_PROTOCOL": "file:ssh:https" + (":http" if source.url.startswith("http://") else ""),
        "LC_ALL": "C",
        "LANGUAGE": "",
    } | dict(source.environment)
    options: list[str] = []
    if source.password:
        environment |= {"STERNWAY_GIT_USER": source.user, "STERNWAY_GIT_PASSWORD": source.password}
        scheme, _, rest = source.url.partition("://")
        options = ["-c", f"credential.{scheme}://{rest.split('/', 1)[0]}.helper={_HELPER}"]
    return options, environment


async def _start(command: list[str], folder: Path, env: Mapping[str, str], stdin: bool) -> asyncio.subprocess.Process:  # noqa: FBT001 - private
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=dict(env),
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as exc:
        if isinstance(exc, NotADirectoryError) or exc.filename == str(folder):
            raise HistoryUnavailable(f"the folder {folder} is gone", hint="put it back", retry_in_s=5) from exc
        raise HistoryUnavailable(f"git could not be started: {exc}", hint="install Git", retry_in_s=30) from exc


async def _end(process: asyncio.subprocess.Process) -> None:
    """Stop a command that was not waited for to its end (a time-out, a cancellation), with all its helpers."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
