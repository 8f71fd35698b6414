"""Where the API server is and who we are there: a kubeconfig, or a pod's service account. Used by `client`.

No secret is in an error, nor in the `repr` of anything here.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from sternway.errors import InvalidInput, Problem, Refused
from sternway.kubernetes.credentials import Certificate, Credentials, Exec, Fixed, TokenFile

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One API server and our place in it. authority: a PEM, "" for the system's. namespace: where we are at home."""

    server: str
    credentials: Credentials
    namespace: str = "default"
    authority: str = ""
    insecure: bool = False
    server_name: str = ""
    proxy: str = ""
    source: str = ""

    def tls(self, certificate: Certificate | None) -> ssl.SSLContext:
        """Give what TLS needs to know."""
        try:
            context = ssl.create_default_context(cadata=self.authority or None)
            if self.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if certificate is not None:
                _load(context, certificate)
        except ssl.SSLError as exc:
            raise Refused(f"{self.source}: a certificate or key cannot be read: {exc.reason}") from exc
        return context


def _load(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Load a certificate. OpenSSL reads files only; these live for a moment and are ours alone."""
    with TemporaryDirectory(prefix="sternway-") as folder:
        files = Path(folder, "crt"), Path(folder, "key")
        for file, text in zip(files, (certificate.chain, certificate.key), strict=True):
            file.touch(mode=0o600)
            file.write_text(text)
        context.load_cert_chain(*files)


def find_access(*, context: str = "", environment: Mapping[str, str] | None = None) -> Access:
    """Find it as kubectl does: KUBECONFIG or a context that is named, then the pod's account, then ~/.kube/config."""
    env = os.environ if environment is None else environment
    if not context and not env.get("KUBECONFIG") and env.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(env)
    named = [Path(part) for part in env.get("KUBECONFIG", "").split(os.pathsep) if part]
    files = named or [Path(env.get("HOME", "~")).expanduser() / ".kube/config"]
    if not any(file.is_file() for file in files):
        raise Refused(
            f"no cluster is known: {', '.join(map(str, files))} is not there, and this is no pod of one",
            hint="set KUBECONFIG to the file that your cluster gave you",
        )
    return from_kubeconfig(files, context)


def in_cluster(env: Mapping[str, str], folder: Path = _ACCOUNT) -> Access:
    """Be the service account of the pod that we run in; its token is read again as it is renewed."""
    host, port = env["KUBERNETES_SERVICE_HOST"], env.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        authority = (folder / "ca.crt").read_text()
        namespace = (folder / "namespace").read_text().strip()
        (folder / "token").read_text()
    except OSError as exc:
        raise Refused(
            f"{exc.filename}: {exc.strerror}",
            hint="the pod has no service account token: automountServiceAccountToken may be off",
        ) from exc
    return Access(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        credentials=TokenFile(folder / "token"),
        namespace=namespace,
        authority=authority,
        source=str(folder),
    )


def from_kubeconfig(files: Sequence[Path], context: str = "") -> Access:
    """Read a context of kubeconfigs; where several name the same, the first one counts."""
    parts = [_Part(file) for file in files if file.is_file()]
    name = context or next((found for part in parts if (found := str(part.text.get("current-context") or ""))), "")
    if not name:
        raise _problem(parts[0].file, "current-context", "no context is chosen", "name one with --context")
    chosen, part = _named(parts, "contexts", name, "context")
    cluster, home = _named(parts, "clusters", str(chosen.get("cluster", "")), "cluster")
    user, owner = ({}, part) if not chosen.get("user") else _named(parts, "users", str(chosen["user"]), "user")
    if not cluster.get("server"):
        raise _problem(home.file, f"clusters[{chosen.get('cluster')}].cluster.server", "no address", "")
    return Access(
        server=str(cluster["server"]).rstrip("/"),
        credentials=_credentials(user, owner, cluster),
        namespace=str(chosen.get("namespace") or "default"),
        authority=home.pem(cluster, "certificate-authority"),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=str(cluster.get("tls-server-name") or ""),
        proxy=str(cluster.get("proxy-url") or ""),
        source=str(part.file),
    )


class _Part:
    """One kubeconfig."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            text = yaml.safe_load(file.read_text())
        except (OSError, ValueError, yaml.YAMLError) as exc:
            raise _problem(file, "", f"cannot be read: {type(exc).__name__}", "") from exc
        if not isinstance(text, dict):
            raise _problem(file, "", "is no kubeconfig", "")
        self.text: dict[str, Any] = text

    def path(self, value: str) -> Path:
        """Files are named as seen from the kubeconfig."""
        return self.file.parent / Path(value).expanduser()

    def pem(self, section: dict[str, Any], field: str) -> str:
        """Read what is given as `field` (a file) or `field-data` (base64)."""
        try:
            if section.get(f"{field}-data"):
                return base64.b64decode(section[f"{field}-data"], validate=True).decode()
            return self.path(section[field]).read_text() if section.get(field) else ""
        except (binascii.Error, UnicodeDecodeError) as exc:
            raise _problem(self.file, f"{field}-data", "is not base64 of a PEM", "") from exc
        except OSError as exc:
            raise _problem(self.file, field, f"{section[field]}: {exc.strerror}", "") from exc


def _named(parts: Sequence[_Part], section: str, name: str, kind: str) -> tuple[dict[str, Any], _Part]:
    known = [
        (str(item.get("name")), item.get(kind) or {}, part) for part in parts for item in part.text.get(section) or ()
    ]
    for one, found, part in known:
        if one == name:
            return found, part
    names = ", ".join(sorted({one for one, _, _ in known})) or "none"
    raise _problem(parts[0].file, section, f"no {kind} {name!r}", f"known: {names}")


def _credentials(user: dict[str, Any], part: _Part, cluster: dict[str, Any]) -> Credentials:
    if plugin := user.get("exec"):
        command = str(plugin.get("command", ""))
        return Exec(
            command=(str(part.path(command)) if os.sep in command else command, *map(str, plugin.get("args") or ())),
            environment={str(one["name"]): str(one["value"]) for one in plugin.get("env") or ()},
            api_version=str(plugin.get("apiVersion") or "client.authentication.k8s.io/v1"),
            cluster={key: value for key, value in cluster.items() if key != "extensions"}
            if plugin.get("provideClusterInfo")
            else None,
            hint=str(plugin.get("installHint") or ""),
        )
    if user.get("auth-provider"):
        fix = "use the exec plugin of the provider"
        raise _problem(part.file, "users.user.auth-provider", "is no longer part of Kubernetes", fix)
    chain, key = part.pem(user, "client-certificate"), part.pem(user, "client-key")
    certificate = Certificate(chain=chain, key=key) if chain and key else None
    if user.get("tokenFile"):
        return TokenFile(part.path(user["tokenFile"]), certificate=certificate)
    if user.get("username"):
        both = f"{user['username']}:{user.get('password', '')}"
        return Fixed(authorization=f"Basic {base64.b64encode(both.encode()).decode()}", certificate=certificate)
    return Fixed(authorization=f"Bearer {user['token']}" if user.get("token") else "", certificate=certificate)


def _problem(file: Path, field: str, message: str, fix: str) -> InvalidInput:
    return InvalidInput((Problem(file=str(file), field=field, message=message, fix=fix),))
