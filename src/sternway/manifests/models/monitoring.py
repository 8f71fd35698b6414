"""`monitoring.yaml`: where Prometheus and Alertmanager are. -> `sternway.domain.monitoring`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from sternway.domain import monitoring
from sternway.manifests.models.base import Duration, Flag, HeaderText, Ours, Text, Words, spelled, wrong

RULES = ("prometheus-rules/*.yaml", "prometheus-rules/*.yml")
_ENDPOINT = monitoring.Endpoint(url="")


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


def parse_place(value: Any) -> str:
    """Read the address of a system, or what becomes of one of our own: `start`, or `off`, which YAML takes for a truth value."""
    if value is False:
        return monitoring.Own.OFF
    return value if value in (monitoring.Own.OFF, monitoring.Own.START) else parse_url(value)


Place = Annotated[
    str, BeforeValidator(parse_place), WithJsonSchema({"type": "string"}), Words("address, `start` or `off`")
]
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

    url: Place
    """Its address. `start` and `off`, also in place of the whole mapping: a program of Sternway's own must run, or must not."""
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
        return {"url": value} if isinstance(value, str) or value is False else value

    @model_validator(mode="after")
    def _one_way_in(self) -> Endpoint:
        if self.basic and self.bearer_token_file:
            raise wrong("two ways to log in", "keep either `basic` or `bearerTokenFile`")
        return self

    def own(self) -> monitoring.Own | None:
        """What shall become of a program of Sternway's own; None when this is the address of another one."""
        return monitoring.Own(self.url) if self.url in (monitoring.Own.OFF, monitoring.Own.START) else None

    def to_domain(self, origin: str) -> monitoring.Endpoint | None:
        """Return the domain's value; None when it is no other one's address."""
        if self.own() is not None:
            return None
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


class MonitoringFile(Ours):
    """Where the monitoring systems are, on this machine or elsewhere. Files are looked for beside `monitoring.yaml`."""

    prometheus: Endpoint | None = None
    """Prometheus, or what speaks its API: an address, or a mapping with the fields below. Without one, Sternway starts the
    program that it finds on this machine; `start` insists on it, `off` leaves it."""
    alertmanager: Endpoint | None = None
    """Alertmanager: likewise. Without one, Sternway starts its own beside its own Prometheus."""
    webhook: Webhook | None = None
    """Listen for Alertmanager's webhooks. Sternway's own Alertmanager needs none."""
    rules: tuple[Text, ...] = RULES
    """Files of rules for Sternway's own Prometheus, as Prometheus writes them; `*` stands for any text."""

    def to_domain(self, origin: str) -> monitoring.Monitoring:
        """Return the domain's value; relative files are looked for in `origin`."""
        return monitoring.Monitoring(
            prometheus=self.prometheus.to_domain(origin) if self.prometheus else None,
            alertmanager=self.alertmanager.to_domain(origin) if self.alertmanager else None,
            own_prometheus=(self.prometheus and self.prometheus.own()) or monitoring.Own.FOUND,
            own_alertmanager=(self.alertmanager and self.alertmanager.own()) or monitoring.Own.FOUND,
            webhook=monitoring.Webhook(listen=self.webhook.listen, token_file=_file(origin, self.webhook.token_file))
            if self.webhook
            else None,
        )


def _file(origin: str, name: str) -> str:
    if not name:
        return ""
    path = Path(name).expanduser()
    return str(path if path.is_absolute() or not origin else Path(origin) / path)
