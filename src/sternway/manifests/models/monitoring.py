"""`monitoring.yaml`: where Prometheus and Alertmanager are, and who is told. -> `sternway.domain.monitoring`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from sternway.domain import monitoring
from sternway.domain.notices import What
from sternway.manifests.models.base import Duration, Flag, HeaderText, Ours, Text, Words, not_empty, spelled, wrong

_ENDPOINT = monitoring.Endpoint(url="")
_ALERTS = monitoring.AlertsOut()
_OURS = ("alertname", "service", "release", "version", "severity", "about")


def parse_url(value: Any) -> str:
    """Read the address of an HTTP server."""
    if not isinstance(value, str):
        raise wrong("the address must be text", "write for example `http://127.0.0.1:9090`")
    try:
        url = urlsplit(value)
    except ValueError:
        url = urlsplit("")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise wrong(f"{value!r} is no address of an HTTP server", "write for example `http://127.0.0.1:9090`")
    if url.username or url.password:
        raise wrong("the address holds credentials", "write `basic: {username: …, passwordFile: …}` instead")
    return value


def parse_listen(value: Any) -> str:
    """Read `HOST:PORT`."""
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not colon or not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise wrong(f"{value!r} is no address to listen on", "write for example `127.0.0.1:9095`")
    return str(value)


Url = Annotated[str, BeforeValidator(parse_url), WithJsonSchema({"type": "string", "format": "uri"}), Words("address")]
Listen = Annotated[str, BeforeValidator(parse_listen), WithJsonSchema({"type": "string"}), Words("HOST:PORT")]


class Basic(Ours):
    """A user's name and password."""

    username: Text
    """The name."""
    password_file: Text
    """The file that holds the password."""


class Tls(Ours):
    """Certificates."""

    ca_file: Text = _ENDPOINT.ca_file
    """The authority that signed the server's certificate. Without it: those that the machine trusts."""
    cert_file: Text = _ENDPOINT.cert_file
    """Our own certificate, for mutual TLS."""
    key_file: Text = _ENDPOINT.key_file
    """Its key, when the certificate's file does not hold it."""
    insecure_skip_verify: Flag = _ENDPOINT.insecure
    """Take any certificate: for trying things out."""


class Endpoint(Ours):
    """A monitoring system's HTTP API. Credentials stand in files, which are read anew for each request."""

    url: Url
    """Its address."""
    timeout: Duration = Field(default=spelled(_ENDPOINT.timeout_s))
    """What has not been answered after this long is not seen."""
    basic: Basic | None = None
    """Log in with a name and a password."""
    bearer_token_file: Text = _ENDPOINT.token_file
    """Log in with the token of this file."""
    tls: Tls = Field(default_factory=Tls)
    """Certificates."""
    tenant: HeaderText = _ENDPOINT.tenant
    """The tenant of a shared system (Mimir, Cortex, Loki's kin): sent as `X-Scope-OrgID`."""
    headers: Annotated[dict[str, HeaderText], Words("mapping of text to text")] = Field(default_factory=dict)
    """Further headers, none of them secret."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_way_in(self) -> Endpoint:
        if self.basic and self.bearer_token_file:
            raise wrong("two ways to log in", "keep either `basic` or `bearerTokenFile`")
        return self

    def to_domain(self, origin: str) -> monitoring.Endpoint:
        """Return the domain's value."""
        return monitoring.Endpoint(
            url=self.url,
            timeout_s=self.timeout,
            username=self.basic.username if self.basic else "",
            password_file=_file(origin, self.basic.password_file if self.basic else ""),
            token_file=_file(origin, self.bearer_token_file),
            ca_file=_file(origin, self.tls.ca_file),
            cert_file=_file(origin, self.tls.cert_file),
            key_file=_file(origin, self.tls.key_file),
            insecure=self.tls.insecure_skip_verify,
            tenant=self.tenant,
            headers=tuple(sorted(self.headers.items())),
        )


class Webhook(Ours):
    """Where Alertmanager tells of alerts at once."""

    listen: Listen
    """The address that `POST /v1/alerts` is served on."""
    token_file: Text
    """The file with the token that Alertmanager must send (`http_config.authorization.credentials_file`)."""


class Metrics(Ours):
    """What Sternway exports of itself."""

    listen: Listen
    """The address that `GET /metrics` is served on. Whoever reaches it can read the names of services."""


def parse_link(value: str) -> str:
    """Read an address for people, or none."""
    return parse_url(value) if value else value


def refuse_our_labels(labels: dict[str, str]) -> dict[str, str]:
    """Labels that are said of each alert must not say something else of one."""
    for name in labels:
        if name in _OURS:
            raise wrong(f"`{name}` is a label that each alert has of its own", "give it another name", (name,))
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name):
            raise wrong(f"{name!r} is no name of a label", "use letters, digits and `_`", (name,))
    return labels


class Alerts(Ours):
    """How Sternway's own alerts are sent."""

    send: Flag = _ALERTS.send
    """Send them, where it is known where Alertmanager is."""
    to: tuple[Endpoint, ...] = ()
    """Where to, when not (only) to `alertmanager`: every member of a cluster is told, each an address or a mapping as above."""
    link_url: Annotated[Text, AfterValidator(parse_link)] = _ALERTS.link_url
    """What an alert links to, with `$(service)` and `$(release)`."""
    labels: Annotated[dict[str, HeaderText], AfterValidator(refuse_our_labels), Words("mapping of text to text")] = (
        Field(default_factory=dict)
    )
    """Further labels of each alert, which also stand in messages: the cluster, the team, the stage."""
    rolled_back_for: Duration = Field(default=spelled(_ALERTS.rolled_back_s))
    """How long a rollback stands as an alert, unless another release begins."""

    def to_domain(self, origin: str) -> monitoring.AlertsOut:
        """Return the domain's value."""
        return monitoring.AlertsOut(
            send=self.send,
            to=tuple(one.to_domain(origin) for one in self.to),
            link_url=self.link_url,
            labels=tuple(sorted(self.labels.items())),
            rolled_back_s=self.rolled_back_for,
        )


Event: TypeAlias = Literal["rolled-back", "withdrawn", "held", "blind", "failed", "shared", "promoted"]


def refuse_address(value: str) -> str:
    """An address holds secrets: one that is written here by mistake is refused, and not repeated."""
    if "://" in value:
        raise wrong("this is an address, and its secrets would stand in Git", "write it into a file, and name the file")
    return value


class Notification(Ours):
    """Who is told, and of what."""

    url_file: Annotated[Text, AfterValidator(refuse_address)]
    """The file that holds the address, as Apprise writes it: `slack://…`, `mailto://…`, `msteams://…`, `json://…`."""
    when: Annotated[tuple[Event, ...], AfterValidator(not_empty), Words("list of events")] = tuple(
        what.value for what in monitoring.TOLD_BY_DEFAULT
    )
    """Which events: `rolled-back`, `withdrawn`, `held`, `blind`, `failed`, `shared`, `promoted`."""
    services: Annotated[tuple[Text, ...], AfterValidator(not_empty), Words("list of names")] = ("*",)
    """Of which services; a `*` stands for anything. What concerns the whole platform is told in any case."""

    def to_domain(self, origin: str) -> monitoring.Notification:
        """Return the domain's value."""
        return monitoring.Notification(
            url_file=_file(origin, self.url_file),
            when=tuple(What(one) for one in self.when),
            services=self.services,
        )


def refuse_equal_files(found: tuple[Notification, ...]) -> tuple[Notification, ...]:
    """The journal names an address by its file's name, so two files need two names."""
    known: dict[str, str] = {}
    for index, one in enumerate(found):
        name = Path(one.url_file).name
        if known.setdefault(name, one.url_file) != one.url_file:
            raise wrong(f"another file is called {name} too", "rename one: people see this name", (index, "urlFile"))
    return found


class MonitoringFile(Ours):
    """Where the monitoring systems are, on this machine or elsewhere. Files are looked for beside `monitoring.yaml`."""

    prometheus: Endpoint | None = None
    """Prometheus, or what speaks its API: an address, or a mapping with the fields below."""
    alertmanager: Endpoint | None = None
    """Alertmanager: likewise."""
    webhook: Webhook | None = None
    """Listen for Alertmanager's webhooks."""
    metrics: Metrics | None = None
    """Serve Sternway's own metrics."""
    alerts: Alerts = Field(default_factory=Alerts)
    """How Sternway's own alerts are sent."""
    notifications: Annotated[tuple[Notification, ...], AfterValidator(refuse_equal_files)] = ()
    """Who is told beside that: Slack, Teams, mail, a webhook, … Needs `pip install 'sternway[notify]'`."""

    def to_domain(self, origin: str) -> monitoring.Monitoring:
        """Return the domain's value; relative files are looked for in `origin`."""
        return monitoring.Monitoring(
            prometheus=self.prometheus.to_domain(origin) if self.prometheus else None,
            alertmanager=self.alertmanager.to_domain(origin) if self.alertmanager else None,
            webhook=monitoring.Webhook(listen=self.webhook.listen, token_file=_file(origin, self.webhook.token_file))
            if self.webhook
            else None,
            metrics=self.metrics.listen if self.metrics else None,
            alerts=self.alerts.to_domain(origin),
            notifications=tuple(one.to_domain(origin) for one in self.notifications),
        )


def _file(origin: str, name: str) -> str:
    if not name:
        return ""
    path = Path(name).expanduser()
    return str(path if path.is_absolute() or not origin else Path(origin) / path)
