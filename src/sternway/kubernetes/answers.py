"""What an API server's refusal means to us, as pure functions. Used by `client`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sternway.errors import SternwayError
from sternway.kubernetes.api import Resource
from sternway.kubernetes.errors import Conflict, Denied, Gone, Invalid, Unreachable

MOST_WAIT_S = 60.0
_UNKNOWN = "the API server does not accept our credentials: renew them, or name another context"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked, in the words of a Role. tests: a JSON patch that changes only what it finds as it read it.

    (The server does not say whether a test failed: it answers 422 without a cause.)
    """

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    tests: bool = False

    def __str__(self) -> str:
        what = f"{self.resource.plural}{f'/{self.subresource}' if self.subresource else ''}"
        one = f" {self.name}" if self.name else ""
        return f"{self.verb} {what}{one}{f' in {self.namespace}' if self.namespace else ''}"


def status_of(text: str) -> dict[str, Any]:
    """Read the `Status` that the API answers instead of an object; {} where something else speaks (a proxy)."""
    try:
        status = json.loads(text)
    except ValueError:
        return {}
    return status if isinstance(status, dict) and status.get("kind") == "Status" else {}


def error_of(code: int, text: str, asked: Asked, *, retry_after: str = "") -> SternwayError:
    """Give the error for an answer of 4xx or 5xx."""
    status = status_of(text)
    told = _message(status, text, asked) or f"HTTP {code}"
    message = f"{asked}: {told}"
    if code in {401, 403}:
        return Denied(message, hint=_UNKNOWN if code == 401 else _missing(asked) if " cannot " in told else "")
    if code == 404:
        return Invalid(message, hint=_absent(status, asked))
    if code == 409 or (code == 422 and asked.tests and not _causes(status)):
        return Conflict(message, hint="read it again", retry_in_s=0.1)
    if code == 410:
        return Gone(message)
    if code in {408, 429} or code >= 500:
        return Unreachable(message, retry_in_s=_seconds(retry_after))
    return Invalid(message)


def _causes(status: dict[str, Any]) -> list[dict[str, Any]]:
    return (status.get("details") or {}).get("causes") or []


def _message(status: dict[str, Any], text: str, asked: Asked) -> str:
    if asked.resource.plural == "secrets" and (causes := _causes(status)):
        return "; ".join(f"{cause.get('field')}: {_valueless(str(cause.get('message', '')))}" for cause in causes)
    return str(status.get("message") or " ".join(text.split())[:200])


def _valueless(cause: str) -> str:
    """Leave out what quotes a value: it may be the secret."""
    kind, _, rest = cause.partition(":")
    return cause if kind in {"Forbidden", "Required value"} else kind if rest else ""


def _missing(asked: Asked) -> str:
    what = f"{asked.resource.plural}{f'/{asked.subresource}' if asked.subresource else ''}"
    role = f"a Role in namespace {asked.namespace}" if asked.namespace else "a ClusterRole"
    rule = f'apiGroups: ["{asked.resource.group}"], resources: ["{what}"], verbs: ["{asked.verb}"]'
    return f"{role} must allow it: {rule}"


def _absent(status: dict[str, Any], asked: Asked) -> str:
    if (status.get("details") or {}).get("kind") == "namespaces":
        return "create the namespace first"
    kind = f"{asked.resource.plural}.{asked.resource.group}" if asked.resource.group else asked.resource.plural
    return f"the server does not have {kind} in version {asked.resource.version}: install its CustomResourceDefinition"


def _seconds(retry_after: str) -> float:
    try:
        return min(max(float(retry_after), 0.1), MOST_WAIT_S)
    except ValueError:
        return 1.0
