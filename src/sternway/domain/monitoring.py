"""Where the monitoring systems are, and how one gets in. Secrets stand in files; only their paths are known here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from sternway.domain.notices import What


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
class AlertsOut:
    """How alerts are sent. to: other Alertmanagers than the one that is asked. labels: (name, value), on each alert.

    link_url: what an alert links to, with `$(service)` and `$(release)`. rolled_back_s: how long a rollback stands.
    """

    send: bool = True
    to: tuple[Endpoint, ...] = ()
    link_url: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    rolled_back_s: float = 3600.0


TOLD_BY_DEFAULT = (What.ROLLED_BACK, What.HELD, What.BLIND, What.FAILED, What.SHARED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """Who is told what: the address (with its secrets) stands in a file. services: names; a `*` stands for anything."""

    url_file: str
    when: tuple[What, ...] = TOLD_BY_DEFAULT
    services: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """What there is. metrics: the `HOST:PORT` where Sternway's own are served.

    own_prometheus, own_alertmanager: what is started where there is none.
    """

    prometheus: Endpoint | None = None
    alertmanager: Endpoint | None = None
    webhook: Webhook | None = None
    metrics: str | None = None
    own_prometheus: Own = Own.FOUND
    own_alertmanager: Own = Own.FOUND
    alerts: AlertsOut = field(default_factory=AlertsOut)
    notifications: tuple[Notification, ...] = ()

    @property
    def alerted(self) -> tuple[Endpoint, ...]:
        """Where alerts are sent."""
        if not self.alerts.send:
            return ()
        return self.alerts.to or ((self.alertmanager,) if self.alertmanager else ())


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


def told(known: Endpoint | None, said: str | None) -> Endpoint | None:
    """An address from the command line, with the credentials of monitoring.yaml; none when our own program is meant."""
    if said is None:
        return known
    if said in (Own.START, Own.OFF):
        return None
    return replace(known, url=said) if known else Endpoint(url=said)


def told_own(known: Own, said: str | None) -> Own:
    """What becomes of our own program, when the command line says so."""
    return Own(said) if said in (Own.START, Own.OFF) else known
