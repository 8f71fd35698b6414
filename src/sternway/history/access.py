"""Who Sternway is to Git servers in a cluster: a folder with what the Secret `sternway-git` holds. Used by `repositories`.

    credentials    one line for each place, the longest that fits counts: https://USER:TOKEN@HOST/PATH
    identity       a private SSH key (or ssh-privatekey), with known_hosts beside it
    ca.crt         the authorities that https servers are checked by

Read anew each time, so that a Secret that was changed is in force. Nothing of it is ever said.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from sternway.errors import InvalidInput, Problem, Refused
from sternway.history.source import redact

SECRET = "sternway-git"  # noqa: S105  a name
CREDENTIALS, KNOWN_HOSTS, CA = "credentials", "known_hosts", "ca.crt"
_KEYS = ("identity", "ssh-privatekey")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a repository is reached. source: its address with the password in it: only for `source.parse`."""

    source: str
    environment: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Way({redact(self.source)!r})"


class GitAccess:
    """The folder. None or missing: no access."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def way(self, url: str) -> Way:
        """How to reach a repository with the right to push. Raises Refused when nothing says how."""
        if "://" not in url or url.startswith("ssh://"):
            return Way(source=url, environment=self._ssh(url))
        parts = urlsplit(url)
        if parts.scheme == "file":
            return Way(source=url)
        found = self._credentials(parts)
        if found is None:
            line = f"{parts.scheme}://USER:TOKEN@{_host(parts)}{parts.path.rpartition('/')[0]}/"
            raise _none(url, f"with a line {line} under the key {CREDENTIALS}")
        place = parts._replace(netloc=f"{found.netloc.rpartition('@')[0]}@{_host(parts)}")
        return Way(source=place.geturl(), environment=self._authorities())

    def _credentials(self, wanted: SplitResult) -> SplitResult | None:
        known = [one for one in self._lines() if (one.scheme, _host(one)) == (wanted.scheme, _host(wanted))]
        fitting = [one for one in known if _below(wanted.path, one.path)]
        return max(fitting, key=lambda one: len(one.path), default=None)

    def _lines(self) -> list[SplitResult]:
        path = self._path(CREDENTIALS)
        if path is None:
            return []
        found = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            try:
                parts = urlsplit(text)
                usable = bool(parts.hostname and parts.password and parts.scheme in ("https", "http"))
            except ValueError:
                usable = False
            if not usable:
                said = "this is no address with a user and a token"
                fix = "write https://USER:TOKEN@HOST/PATH, with other letters than A-Z, a-z and 0-9 as %XX"
                file = f"Secret {SECRET}, key {CREDENTIALS}"
                raise InvalidInput((Problem(file=file, line=number, message=said, fix=fix),))
            found.append(parts)
        return found

    def _ssh(self, url: str) -> tuple[tuple[str, str], ...]:
        key = next((path for name in _KEYS if (path := self._path(name))), None)
        hosts = self._path(KNOWN_HOSTS)
        if key is None or hosts is None:
            raise _none(url, f"with a private key under {_KEYS[0]}, and its server's keys under {KNOWN_HOSTS}")
        options = ("IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={hosts}")
        command = ["ssh", "-F", "/dev/null", "-i", str(key), *(part for one in options for part in ("-o", one))]
        return (("GIT_SSH_COMMAND", shlex.join(command)),)

    def _authorities(self) -> tuple[tuple[str, str], ...]:
        path = self._path(CA)
        return (("GIT_SSL_CAINFO", str(path)),) if path else ()

    def _path(self, name: str) -> Path | None:
        path = self._folder / name if self._folder else None
        return path if path and path.is_file() else None


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2].lower()


def _below(path: str, prefix: str) -> bool:
    whole = prefix.strip("/").removesuffix(".git")
    inside = path.strip("/").removesuffix(".git")
    return not whole or inside == whole or inside.startswith(f"{whole}/")


def _none(url: str, how: str) -> Refused:
    return Refused(
        f"Sternway has no access to {redact(url)}", hint=f"make a Secret {SECRET} in Sternway's namespace, {how}"
    )
