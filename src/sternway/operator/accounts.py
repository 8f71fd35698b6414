"""What a report needs to know of releases, out of the Releases that stand in a cluster. Pure; used by `kubectl sternway report`.

Nothing is guessed: what ended without saying how is left out, and what is gone is counted by the numbers that are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise

from sternway.control.measures import Account, By, gave_way, judged_by_people
from sternway.domain.releases import Phase
from sternway.kubernetes.api import Object, namespace_of, ordinal_of
from sternway.kubernetes.ours import service_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """How many Releases of a service are not there any more, and when the first one began that is."""

    service: str
    releases: int
    first_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """What Releases tell. left_out: those without figures, by the names that the journal has for them."""

    releases: tuple[Account, ...] = ()
    left_out: tuple[str, ...] = ()
    gone: tuple[Gone, ...] = ()


def accounts(releases: Iterable[Object]) -> Accounts:
    """Read Releases, of any service, in any order."""
    told: list[Account] = []
    left_out: list[str] = []
    gone: list[Gone] = []
    ordered = sorted(
        (one for one in releases if _began_s(one) is not None), key=lambda one: (_key(one), ordinal_of(one))
    )
    for service, found in groupby(ordered, _key):
        ours = tuple(found)
        read = [_account(one) for one in ours]
        known = _given_way([one for one in read if one is not None])
        said = {journal_name(one) for one in ours if one["status"].get("falseAlarm")}
        told += judged_by_people(known, said)
        left_out += (journal_name(one) for one, account in zip(ours, read, strict=True) if account is None)
        if missing := ordinal_of(ours[-1]) - len(ours):
            gone.append(Gone(service=service, releases=missing, first_s=_began_s(ours[0]) or 0.0))
    return Accounts(releases=tuple(told), left_out=tuple(left_out), gone=tuple(gone))


def journal_name(release: Object) -> str:
    """How the journal calls a Release: `orders-17` in `shop` -> `orders.shop-17`."""
    return f"{_key(release)}-{ordinal_of(release)}"


def at_s(time: str | None) -> float | None:
    """Read a time of a status."""
    return None if time is None else datetime.fromisoformat(time).timestamp()


def _key(release: Object) -> str:
    return service_key(namespace_of(release), str(release["spec"]["service"]))


def _began_s(release: Object) -> float | None:
    return at_s((release.get("status") or {}).get("startedAt"))


def _account(release: Object) -> Account | None:
    """What a Release tells; None where it was written before there were figures in it."""
    said = release["status"]
    ended_s = at_s(said.get("endedAt"))
    if "blindSeconds" not in said or (ended_s is not None and "endedBy" not in said):
        return None
    return Account(
        service=_key(release),
        name=journal_name(release),
        version=str(release["spec"]["candidate"]["id"]),
        phase=Phase(said["phase"]),
        by=By(said.get("endedBy", By.ENGINE)),
        started_s=_began_s(release) or 0.0,
        ended_s=ended_s,
        lead_s=said.get("leadSeconds"),
        detect_s=said.get("detectSeconds"),
        restore_s=said.get("restoreSeconds"),
        requests=said.get("requests", 0),
        hurt=said.get("hurt", 0),
        withdrawals=said.get("withdrawals", 0),
        blind_s=said["blindSeconds"],
        of_stable=bool(said.get("afterPromotion")),
    )


def _given_way(known: Sequence[Account]) -> list[Account]:
    """End those that gave way to the next one: their status was not written again."""
    ended = [gave_way(old, new) if old.ended_s is None else old for old, new in pairwise(known)]
    return [*ended, *known[-1:]]
