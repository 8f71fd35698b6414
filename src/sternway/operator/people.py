"""What a person does from outside of a cluster, with the rights of their own kubeconfig. Used by `kubectl sternway`."""

from __future__ import annotations

import asyncio
import shlex
import uuid
from collections.abc import Sequence

from sternway.domain.releases import Verb
from sternway.errors import Refused, SternwayError
from sternway.kubernetes.api import Api, Object, name_of, namespace_of, ordinal_of
from sternway.kubernetes.resources import DEPLOYMENTS, GUARDS, RELEASES
from sternway.manifests.models.status import CommandStatus
from sternway.manifests.report import suggest
from sternway.operator.accounts import journal_name
from sternway.operator.asking import COMMAND, Asked, spelled
from sternway.operator.install import NAME, NAMESPACE, STATE

PATIENCE_S = 20.0
_LOOK_EVERY_S = 0.2


class Unanswered(Refused):
    """A command stands on a Guard, and nobody has answered it in time."""


async def guards(api: Api, namespace: str) -> tuple[Object, ...]:
    """Every Guard of a namespace; "" for all."""
    return (await api.list(GUARDS, namespace=namespace)).items


async def guard_of(api: Api, namespace: str, service: str) -> Object:
    """The Guard of a service, by the service's name or its own. Raises Refused, naming those that there are."""
    found = await guards(api, namespace)
    chosen = next((one for one in found if service in (one["spec"].get("service"), name_of(one))), None)
    if chosen is None:
        services = {str(one["spec"].get("service")) for one in found}
        hint = suggest(service, services) if services else "put a Guard beside its Deployment"
        raise Refused(f"no Guard in namespace {namespace} is for a service {service}", hint=hint)
    return chosen


async def releases(api: Api, namespace: str) -> tuple[Object, ...]:
    """Every Release of a namespace; "" for all."""
    return (await api.list(RELEASES, namespace=namespace)).items


async def releases_of(api: Api, namespace: str, service: str) -> tuple[Object, ...]:
    """The Releases of a service, the latest first. Raises Refused."""
    guard = await guard_of(api, namespace, service)
    found = (await api.list(RELEASES, namespace=namespace, labels=f"sternway.dev/guard={name_of(guard)}")).items
    return tuple(sorted(found, key=ordinal_of, reverse=True))


async def release_of(api: Api, namespace: str, name: str) -> Object:
    """A Release, by its name. Raises Refused."""
    found = await api.get(RELEASES, name, namespace)
    if found is None:
        hint = "`kubectl sternway history SERVICE` lists a service's Releases; the journal may know more"
        raise Refused(f"there is no Release {name} in namespace {namespace}", hint=hint)
    return found


async def guard_behind(api: Api, release: Object) -> Object | None:
    """The Guard that a Release is of; None where it is gone."""
    return await api.get(GUARDS, str(release["spec"]["guard"]), namespace_of(release))


async def installed(api: Api) -> bool:
    """Whether the cluster knows Guards and Releases; True where nobody tells us."""
    try:
        return await api.serves(GUARDS) and await api.serves(RELEASES)
    except SternwayError:
        return True


async def false_alarm(
    api: Api, namespace: str, name: str, *, by: str, reason: str = "", patience_s: float = PATIENCE_S
) -> CommandStatus:
    """Say that a rollback by Sternway was wrong. Raises Refused where the Release is none."""
    found = await release_of(api, namespace, name)
    said = found.get("status") or {}
    if said.get("phase") != "rolled-back" or said.get("endedBy") == "person":
        what = "rolled back by a person" if said.get("endedBy") == "person" else said.get("phase", "not looked at yet")
        raise Refused(f"{name} is no rollback by Sternway: {what}")
    verb, to = Verb.FALSE_ALARM, journal_name(found)
    guard = found["spec"]["guard"]
    return await command(api, namespace, guard, verb, by=by, to=to, reason=reason, patience_s=patience_s)


async def in_the_journal(api: Api, *arguments: str, cluster: Sequence[str] = ()) -> str:
    """The command line that asks the journal, where the operator keeps it; where that is not known, as it is installed.

    cluster: kubectl's options that name the cluster.
    """
    try:
        found = (await api.list(DEPLOYMENTS, labels=f"app.kubernetes.io/name={NAME}")).items
    except SternwayError:  # who may read Releases need not be allowed to read every Deployment
        found = ()
    namespace = namespace_of(found[0]) if found else NAMESPACE
    name = name_of(found[0]) if found else NAME
    words = ("kubectl", "exec", *cluster, "-n", namespace, f"deploy/{name}", "--", "sternway", "-C", STATE, *arguments)
    return shlex.join(words)


async def command(
    api: Api,
    namespace: str,
    service: str,
    verb: Verb,
    *,
    by: str,
    to: str | None = None,
    reason: str = "",
    patience_s: float = PATIENCE_S,
) -> CommandStatus:
    """Write a command on the Guard and wait for the answer. Raises Unanswered where nobody answers in time."""
    guard = await guard_of(api, namespace, service)
    asked = Asked(id=uuid.uuid4().hex[:12], verb=verb, by=by, to=to, reason=reason)
    patch = {"metadata": {"annotations": {COMMAND: spelled(asked)}}}
    await api.patch(GUARDS, name_of(guard), patch, namespace=namespace, manager="kubectl-sternway")
    try:
        async with asyncio.timeout(patience_s):
            while True:
                live = await api.get(GUARDS, name_of(guard), namespace)
                said = ((live or {}).get("status") or {}).get("lastCommand") or {}
                if said.get("id") == asked.id and said.get("message") != "recorded":
                    return CommandStatus.model_validate(said)
                await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError:
        raise Unanswered(
            f"the command stands on Guard {namespace}/{name_of(guard)}, and nobody has answered it in {patience_s:g} s",
            hint="see whether Sternway runs: kubectl get pods -A -l app.kubernetes.io/name=sternway",
        ) from None
