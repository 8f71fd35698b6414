"""Changes an image in Git, as `sternway set image` asks. Called by `web.api`."""

from __future__ import annotations

from dataclasses import dataclass

from sternway.errors import InvalidInput, Problem, Refused
from sternway.manifests.edit import documents, set_image
from sternway.manifests.load import load
from sternway.ports import Snapshot
from sternway.web.faults import NotFound
from sternway.web.services import Services
from sternway.web.wire import ImageBody


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The commit that was made, and the file that it changed."""

    commit: str
    path: str
    message: str


async def commit_image(services: Services, asked: ImageBody) -> Committed:
    """Edit the Deployment's file at the head and commit it. Nothing is committed that could not be released."""
    head = await services.history.head()
    path, text = _file(head, asked.workload)
    changed = set_image(
        text, kind="Deployment", name=asked.workload, container=asked.container, image=asked.image, file=path
    )
    if changed == text:
        raise Refused(
            f"deployment/{asked.workload} asks for {asked.image} already",
            hint="`sternway status` says whether it is released, held or under way",
        )
    load({**dict(head.files), path: changed}, commit=head.commit)
    message = asked.message or f"Set the image of {asked.workload} to {asked.image}"
    commit = await services.history.commit({path: changed}, message, author=asked.author, base=head.commit)
    return Committed(commit=commit, path=path, message=message)


def _file(head: Snapshot, workload: str) -> tuple[str, str]:
    holding: list[tuple[str, str, str]] = []
    others: list[tuple[str, str, str]] = []
    for path, text in head.files:
        for document in documents(text):
            if document.kind == "Deployment":
                (holding if document.name == workload else others).append((path, text, document.name))
    if len(holding) > 1:
        problems = tuple(
            Problem(file=path, message=f"Deployment {workload} stands here too", fix="keep one of them")
            for path, _, _ in holding
        )
        raise InvalidInput(problems)
    if not holding:
        listed = ", ".join(sorted(name for _, _, name in others)) or "none"
        raise NotFound(f"there is no Deployment {workload} at {head.commit[:9]}", hint=f"Deployments: {listed}")
    return holding[0][0], holding[0][1]
