"""Where the monitoring systems are, and how one gets in. Secrets stand in files; only their paths are known here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One system. username and password_file: basic; token_file: bearer; cert_file and key_file: mutual TLS.

    tenant: sent as `X-Scope-OrgID`. headers: (name, value), further ones. insecure: any certificate is taken.
    """

    url: str
    timeout_s: float = 5.0
    username: str = ""
    password_file: str = ""
    token_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure: bool = False
    tenant: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where Alertmanager posts: `HOST:PORT`, with the token of a file."""

    listen: str
    token_file: str


class Own(StrEnum):
    """Whether a program of Sternway's own is started on this machine, where no other one is named."""

    FOUND = "when it is found"
    START = "start"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """What there is. own_prometheus, own_alertmanager: what is started where there is none."""

    prometheus: Endpoint | None = None
    alertmanager: Endpoint | None = None
    webhook: Webhook | None = None
    own_prometheus: Own = Own.FOUND
    own_alertmanager: Own = Own.FOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """A service whose manifest has its replicas scraped."""

    service: str
    path: str = "/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFile:
    """A file of rules for Prometheus, as it stands in Git. path: from the watched folder."""

    path: str
    text: str
