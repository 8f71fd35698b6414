"""Reads the running platform into views. Called by `web.api` and `web.watch`, and by `sternway up` for its own output.

What needs a journal alone, the releases, is also called by the command line where no platform is running.

Only reads: nothing here changes anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from itertools import pairwise

from sternway.control.dora import Report
from sternway.control.dora import report as make_report
from sternway.control.measures import By, account, measure
from sternway.control.status import (
    OUTCOMES,
    CatalogueView,
    Facts,
    PlatformStatus,
    ReleaseView,
    ServiceStatus,
    Trouble,
    catalogue_view,
    release_view,
    service_status,
    troubles,
)
from sternway.domain.releases import Phase, Progress, Release
from sternway.errors import Refused, Temporary
from sternway.ports import Entry
from sternway.web.faults import NotFound
from sternway.web.figures import Figures
from sternway.web.release_page import Change, Moment, ReleasePage, differences, taken_back_s, timeline
from sternway.web.services import Recorded, Services

_PAGE = 500
_LISTED = "`sternway history SERVICE` lists a service's releases"


async def names(services: Services) -> tuple[str, ...]:
    """Every service that Git asks for or that the journal knows and that still runs."""
    catalogue = services.git.catalogue
    wanted = {w.service.name for w in catalogue.wanted} if catalogue else set()
    left = [name for name in await services.journal.services() if name not in wanted]
    running = [name for name in left if (await services.reconciler.progress(name)).stable is not None]
    return tuple(sorted({*wanted, *running}))


async def known(services: Services, service: str) -> None:
    """Raise NotFound for a service that neither Git nor the journal knows."""
    one_of(service, {*await names(services), *await services.journal.services()})


def one_of(service: str, everyone: Collection[str]) -> None:
    """Raise NotFound for a service that is none of these."""
    if service not in everyone:
        listed = ", ".join(sorted(everyone)) or "none yet"
        raise NotFound(f"there is no service {service}", hint=f"services: {listed}")


async def facts(services: Services, service: str) -> Facts:
    """Read one service."""
    progress = await services.reconciler.progress(service)
    decision = services.reconciler.decision(service)
    return Facts(
        service=service,
        progress=progress,
        wanted=services.git.wanted(service),
        workloads=await services.platform.describe(service),
        traffic=await services.router.observe(service),
        now_s=services.clock.now(),
        address=services.router.address(service),
        preview=services.router.preview_address(service),
        reason=decision.reason if decision else "",
        troubles=troubles_of(services, service, progress),
    )


async def status(services: Services) -> PlatformStatus:
    """Read everything."""
    everyone = await names(services)
    shown = await asyncio.gather(*(_status(services, name) for name in everyone))
    about_services = {trouble for one in shown for trouble in one.troubles}
    every_trouble = troubles(troubles_now(services))
    git = services.git
    return PlatformStatus(
        at_s=services.clock.now(),
        commit=git.head.commit if git.head else "",
        subject=git.head.subject if git.head else "",
        connected=services.router.connected,
        services=tuple(shown),
        problems=tuple(str(problem) for problem in git.problems),
        notices=git.catalogue.notices if git.catalogue else (),
        troubles=tuple(trouble for trouble in every_trouble if trouble not in about_services),
        monitoring=services.monitors(),
    )


def troubles_now(services: Services) -> dict[str, str]:
    """Everything that does not work now, by what it is about."""
    git = {"git": services.history.trouble} if services.history.trouble else {}
    proxy = {"proxy": services.router.trouble} if services.router.trouble else {}
    return {**git, **proxy, **services.queue.troubles, **services.outbox.troubles}


async def catalogue(services: Services) -> CatalogueView:
    """Read the catalogue."""
    every = [await facts(services, name) for name in await names(services)]
    return catalogue_view(every, services.signals.edges(), services.signals.traffic())


async def history(recorded: Recorded, service: str) -> tuple[ReleaseView, ...]:
    """Every release of a service that the journal still holds, latest first."""
    releases = await _releases(recorded, service)
    views = [release_view(release, recorded.clock.now()) for release in releases.values()]
    return tuple(sorted(views, key=lambda view: view.started_s, reverse=True))


async def report(recorded: Recorded, figures: Figures, *, since_s: float, service: str | None = None) -> Report:
    """Say how the platform, or one service, has delivered in the last `since_s` seconds."""
    now_s = recorded.clock.now()
    return make_report(map(account, await figures.releases()), from_s=now_s - since_s, to_s=now_s, service=service)


async def rolled_back(recorded: Recorded, name: str) -> None:
    """Raise Refused unless Sternway has rolled the release back, NotFound where the journal does not hold it."""
    release = (await _releases(recorded, service_of(name))).get(name)
    if release is None:
        raise NotFound(f"the journal holds no release {name}", hint=_LISTED)
    found = measure(release)
    if found.phase is not Phase.ROLLED_BACK or found.by is not By.ENGINE:
        what = f"{OUTCOMES[found.phase]} by a person" if found.phase is Phase.ROLLED_BACK else found.phase.value
        raise Refused(f"{name} is no rollback by Sternway: {what}", hint=_LISTED)


async def page(recorded: Recorded, name: str) -> ReleasePage:
    """Read everything about one release."""
    service = service_of(name)
    release = (await _releases(recorded, service)).get(name)
    if release is None:
        raise NotFound(f"the journal holds no release {name}", hint=_LISTED)
    progress = await recorded.reconciler.progress(service)
    entries = [entry async for entry in pages(recorded, release=name)]
    return ReleasePage(
        release=release_view(release, recorded.clock.now()),
        change=await _change(recorded, release),
        timeline=_with_end(timeline(entries), release),
        stable_now=progress.stable.id if progress.stable else None,
        held=release.candidate.id in progress.held,
        latest=progress.release is not None and progress.release.name == name,
        taken_back_s=taken_back_s(entries),
    )


async def pages(
    recorded: Recorded, *, service: str | None = None, release: str | None = None, checkpoints: bool = False
) -> AsyncIterator[Entry]:
    """Read the journal piece by piece, so that a long one holds nothing up."""
    after = 0
    while True:
        entries = await recorded.journal.entries(
            service=service, release=release, after=after, limit=_PAGE, checkpoints=checkpoints
        )
        for entry in entries:
            yield entry
        if len(entries) < _PAGE:
            return
        after = entries[-1].seq


def service_of(release: str) -> str:
    """`orders-17` is a release of `orders`."""
    return release.rpartition("-")[0]


async def _status(services: Services, name: str) -> ServiceStatus:
    return service_status(await facts(services, name))


def troubles_of(services: Services, service: str, progress: Progress) -> tuple[Trouble, ...]:
    """Everything that does not work now and is about one service."""
    names_of_work = {service, f"marks {service}"}
    if progress.release is not None:
        names_of_work.add(f"revert {progress.release.name}")
    found = troubles_now(services)
    return troubles({about: text for about, text in found.items() if about in names_of_work})


async def _releases(recorded: Recorded, service: str) -> dict[str, Release]:
    """Read every release of a service that the journal still holds as it was last, oldest first."""
    releases: dict[str, Release] = {}
    async for entry in pages(recorded, service=service, checkpoints=True):
        for progress in (entry.before, entry.progress):
            if progress is not None and progress.release is not None:
                releases[progress.release.name] = progress.release
    if releases:
        now = (await recorded.reconciler.progress(service)).release
        releases |= {now.name: now} if now is not None else {}
    in_order = sorted(releases.values(), key=lambda release: release.started_s)
    ended = [_superseded(release, later) for release, later in pairwise(in_order)]
    return {release.name: release for release in (*ended, *in_order[-1:])}


def _superseded(release: Release, later: Release) -> Release:
    """End a release that gave way to a later one: both happened in one pass, so no line of the journal shows its end."""
    if release.phase.over:
        return release
    reason = f"commit {later.candidate.commit[:9]} asks for {later.candidate.id} instead"
    return replace(release, phase=Phase.SUPERSEDED, ended_s=later.started_s, reason=reason)


def _with_end(moments: tuple[Moment, ...], release: Release) -> tuple[Moment, ...]:
    """Add the end that no line of the journal shows."""
    if release.phase is not Phase.SUPERSEDED or release.ended_s is None:
        return moments
    return (*moments, Moment(at_s=release.ended_s, kind="decision", text=f"superseded: {release.reason}"))


async def _change(recorded: Recorded, release: Release) -> Change:
    commit = release.candidate.commit
    found = differences(release.stable, release.candidate)
    try:
        snapshot = await recorded.history.at(commit)
    except Temporary as trouble:
        return Change(commit=commit, author="", subject="", at_s=None, differences=found, unread=trouble.message)
    return Change(
        commit=commit, author=snapshot.author, subject=snapshot.subject, at_s=snapshot.at_s or None, differences=found
    )
