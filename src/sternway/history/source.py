"""Where a Git history comes from: a folder on this machine, or a server. Called by `git.GitHistory.open`.

Parsing is pure. A password in an address is taken out of it at once: it reaches Git through the environment
alone, and no message and no argument list ever shows it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from sternway.errors import InvalidInput, Problem

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SERVER_SCHEMES = frozenset({"https", "ssh", "http"})
_SCP_LIKE = re.compile(r"(?P<host>[^/\\:\s-][^/\\:\s]*):(?P<path>[^:\s].*)")
_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@]+@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A parsed source. `folder` is set for a folder on this machine, else `url` is a server's address.

    user, password: what stood before the `@` of an https address; empty when there was no password. environment: further
    variables for git.
    """

    text: str
    url: str
    folder: Path | None = None
    user: str = ""
    password: str = ""
    environment: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Source({self.text!r})"


def parse(source: str) -> Source:
    """Understand what a person wrote as the source. Raises InvalidInput."""
    shown = redact(source)
    if not source or source.startswith("-") or "::" in source.split("//", 1)[0]:
        raise wrong(shown, "this is no place of a Git repository", "give a folder or an ssh:// or https:// address")
    if "://" in source:
        return _parse_url(source, shown)
    if not Path(source).expanduser().exists() and _SCP_LIKE.fullmatch(source):
        return Source(text=shown, url=source)
    return _folder(source, Path(source).expanduser())


def redact(text: str) -> str:
    """Hide what stands before the `@` of every address in a text."""
    return _USERINFO.sub(r"\g<scheme>***@", text)


def manifests_folder(path: str) -> str:
    """Write the folder of the manifests as Git does: "" is the whole repository."""
    parts = PurePosixPath(path.replace("\\", "/").strip("/")).parts
    if ".." in parts:
        raise wrong(path, "the folder of the manifests leaves the repository", "give a folder inside of it")
    return "/".join(part for part in parts if part != ".")


def wrong(where: str, message: str, fix: str) -> InvalidInput:
    """One problem with the source, and the way out."""
    return InvalidInput((Problem(file=where, message=message, fix=fix),))


def _parse_url(source: str, shown: str) -> Source:
    try:
        parts = urlsplit(source)
        port = parts.port
    except ValueError as exc:
        raise wrong(shown, f"the address cannot be read: {exc}", "check its host and port") from exc
    if parts.scheme == "file":
        if parts.hostname not in (None, "", "localhost"):
            raise wrong(shown, "a file:// address names another machine", "write file:///path/to/repository")
        return _folder(source, Path(unquote(parts.path)))
    if parts.scheme not in _SERVER_SCHEMES:
        raise wrong(shown, f"{parts.scheme}:// is not supported", "use https://, ssh://, file:// or a folder")
    if not parts.hostname or parts.hostname.startswith("-"):
        raise wrong(shown, "the address has no host", "write https://HOST/PATH or ssh://HOST/PATH")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise wrong(shown, "http:// sends everything readable by anyone on the way", "use https:// or ssh://")
    if parts.password is None or parts.scheme == "ssh":
        return Source(text=shown, url=source)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = f"{host}:{port}" if port else host
    return Source(
        text=shown,
        url=parts._replace(netloc=netloc).geturl(),
        user=unquote(parts.username or ""),
        password=unquote(parts.password),
    )


def _folder(source: str, folder: Path) -> Source:
    folder = folder.resolve()
    if not folder.is_dir():
        message = "is a file, not a folder" if folder.exists() else "there is no such folder"
        raise wrong(source, message, "check the path")
    return Source(text=source, url=str(folder), folder=folder)
