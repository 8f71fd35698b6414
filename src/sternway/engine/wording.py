"""Notices as alerts and as messages. Pure; called by `sternway.control.telling`."""

from __future__ import annotations

from datetime import UTC, datetime

from sternway.domain.metrics import fill
from sternway.domain.monitoring import AlertsOut
from sternway.domain.notices import ALERT_NAMES, SEVERITIES, Message, Notice, StandingAlert, What

LONGEST = 1500
"""So many letters of evidence go out at most."""
TEST = Notice(
    what=What.PROMOTED,
    service="",
    summary="a test message of Sternway",
    seen="somebody called `sternway notify --test`",
    done="nothing was changed",
    todo="nothing: this address works",
)


def alert(notice: Notice, settings: AlertsOut, *, since_s: float, ends_s: float) -> StandingAlert:
    """Give a notice that stands the form of an alert. Its labels are few and bounded; the rest is annotation."""
    labels = {
        **dict(settings.labels),
        "alertname": ALERT_NAMES[notice.what],
        "severity": SEVERITIES[notice.what],
        "service": notice.service,
        "release": notice.release,
        "version": notice.version,
        "about": notice.which if notice.what in (What.FAILED, What.HELD, What.BLIND) else "",
    }
    link = _link(notice, settings)
    told = (("Seen", notice.seen), ("Done", notice.done), ("Next", notice.todo))
    description = " ".join(f"{name}: {_whole(text)}" for name, text in told if text)
    annotations = {"summary": _whole(notice.summary), "description": description, "runbook": _runbook(notice)}
    annotations |= {"link": link} if link else {}
    return StandingAlert(
        labels=tuple(sorted((name, value) for name, value in labels.items() if value)),
        annotations=tuple(sorted(annotations.items())),
        starts_s=since_s,
        ends_s=ends_s,
        link=link,
    )


def message(notice: Notice, settings: AlertsOut, *, since_s: float) -> Message:
    """Give a notice the form of a message: what, where, since when, why, what was done, what to do."""
    where = [f"service {notice.service}"] if notice.service else ["the whole platform"]
    where += [f"release {notice.release}"] if notice.release else []
    where += [f"{name} {value}" for name, value in settings.labels]
    link = _link(notice, settings)
    lines = [
        ("Where", ", ".join(where)),
        ("Since", datetime.fromtimestamp(since_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")),
        ("Seen", _whole(notice.seen)),
        ("Done", _whole(notice.done)),
        ("Next", _whole(notice.todo)),
        ("More", link or _runbook(notice)),
    ]
    return Message(
        title=notice.summary[:LONGEST],
        body="\n".join(f"{name}: {text}" for name, text in lines if text),
        severity=SEVERITIES.get(notice.what, "good"),
    )


def _link(notice: Notice, settings: AlertsOut) -> str:
    return fill(settings.link_url, {"service": notice.service, "release": notice.release})


def _runbook(notice: Notice) -> str:
    return f"sternway release show {notice.release}" if notice.release else "sternway status"


def _whole(text: str) -> str:
    """Bound a text and end it; it may begin with a name, which has no capital letter."""
    text = text.strip()[:LONGEST]
    return text if not text or text[-1] in ".!?" else f"{text}."
