"""What people are to be told: notices, and the alerts and messages that they become.

Made by `sternway.engine.alerting` and `sternway.engine.wording`; carried out of the house by `sternway.notify`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

OUR_PREFIX = "Sternway"
"""So begins the name of every alert about Sternway itself: none of them judges a release."""


class What(StrEnum):
    """Kinds of notices. SHARED: both versions breach the absolute objective, so nobody's release is to blame."""

    ROLLED_BACK = "rolled-back"
    WITHDRAWN = "withdrawn"
    HELD = "held"
    BLIND = "blind"
    FAILED = "failed"
    SHARED = "shared"
    PROMOTED = "promoted"


SEVERITIES: Mapping[What, str] = {
    What.ROLLED_BACK: "warning",
    What.WITHDRAWN: "info",
    What.HELD: "warning",
    What.BLIND: "warning",
    What.FAILED: "critical",
    What.SHARED: "critical",
}
"""What becomes an alert, and how bad it is."""

ALERT_NAMES: Mapping[What, str] = {
    What.ROLLED_BACK: f"{OUR_PREFIX}RolledBack",
    What.WITHDRAWN: f"{OUR_PREFIX}Withdrawn",
    What.HELD: f"{OUR_PREFIX}Held",
    What.BLIND: f"{OUR_PREFIX}Blind",
    What.FAILED: f"{OUR_PREFIX}ActionFailed",
    What.SHARED: f"{OUR_PREFIX}SharedTrouble",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """Something that does not work. about: as in `status`; since_s: since when, as far as this process knows."""

    about: str
    message: str
    hint: str = ""
    since_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that stands now and that somebody may want to know. An empty `service` is the whole platform.

    which: tells it apart from others of its kind about the same release or service; the same after a restart.
    seen: the evidence. done: what Sternway did about it. todo: what a person does now.
    since_s: when it began; None when only who looks can say. tell_from_s: a message waits so long for what is under way.
    """

    what: What
    service: str
    which: str = ""
    release: str = ""
    version: str = ""
    summary: str
    seen: str = ""
    done: str = ""
    todo: str = ""
    since_s: float | None = None
    tell_from_s: float = 0.0

    @property
    def key(self) -> str:
        """Names the event: the same for each word about it, in this process and the next."""
        return " ".join(part for part in (self.what.value, self.release or self.service, self.which) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingAlert:
    """An alert as a monitoring system keeps it. link: where more is told, "" when nowhere."""

    labels: tuple[tuple[str, str], ...]
    annotations: tuple[tuple[str, str], ...]
    starts_s: float
    ends_s: float
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to people. severity: `info`, `warning`, `critical`, or `good`."""

    title: str
    body: str
    severity: str


def about_us(labels: Mapping[str, str]) -> bool:
    """Whether an alert is about Sternway itself: what we said must not come back as a signal."""
    return labels.get("alertname", "").startswith(OUR_PREFIX)
