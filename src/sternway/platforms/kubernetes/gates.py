"""Gates as Jobs: `sternway.ports.Gates` in a cluster. Made by the composition root.

Level-based, from the stores: a Job stands or is made; one that nobody waits for any more, and that still runs, is deleted. A Job
is known by its name and by a mark of what it was made for, so that a rebuilt journal, which counts its releases anew, takes
no answer for one that was given to another release. Jobs that ended are kept for a day, for their logs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

from sternway.clock import Clock
from sternway.control.queue import WorkQueue
from sternway.domain.gates import GateOutcome, GateRun
from sternway.errors import Refused
from sternway.kubernetes.api import Api, Object, name_of
from sternway.kubernetes.errors import Conflict, Denied, Invalid
from sternway.kubernetes.ours import GATE, PREFIX, SERVICE, annotation, named, split_key
from sternway.kubernetes.reading import Reader, of_service
from sternway.kubernetes.resources import JOBS
from sternway.kubernetes.template import digest
from sternway.platforms.kubernetes.standstill import Kind, Standstill, Standstills

MADE_FOR = f"{PREFIX}gate-of"
KEEP_S = 86_400
AGAIN_S = 1.0


class KubernetesGates:
    """See the module. reader: the stores. owner: the owner reference of a service's Guard.

    A request that hangs keeps no pass up: what is wanted is done in a task of the service's own.
    """

    def __init__(self, *, api: Api, reader: Reader, clock: Clock, owner: Callable[[str], Object | None]) -> None:
        self._api = api
        self._reader = reader
        self._owner = owner
        self._runs: dict[str, dict[str, GateRun]] = {}
        self._refused: dict[str, GateOutcome] = {}
        self._still = Standstills(api=api, reader=reader)
        self._clock = clock
        self._queue = WorkQueue(clock=clock, work=self.converge)

    async def run(self, service: str, runs: Sequence[GateRun]) -> None:
        """See ports.Gates. Returns at once; `troubles` says what is in the way."""
        before, wanted = self._runs.get(service, {}), {job_name(run): run for run in runs}
        self._runs[service] = wanted
        for mark in {_mark(run) for run in before.values()} - {_mark(run) for run in wanted.values()}:
            self._still.forget(mark)
        self._queue.wake(service)

    def standstills(self, service: str) -> dict[str, str]:
        """Why gates that run do not get on, by their names."""
        runs = self._runs.get(service, {}).values()
        return {run.gate.name: still.why for run in runs if (still := self._still.of(_mark(run))) is not None}

    def troubles(self) -> dict[str, str]:
        """What is in the way, by service."""
        return self._queue.troubles

    async def close(self) -> None:
        """Do nothing more; Jobs that run go on."""
        await self._queue.close()

    async def converge(self, service: str) -> float | None:
        """Take the next step towards what was asked for last; when to look again."""
        wanted = self._runs.get(service, {})
        standing = {name_of(job): job for job in self._jobs(service)}
        for name, job in standing.items():
            stale = name in wanted and annotation(job, MADE_FOR) != _mark(wanted[name])
            if not job["metadata"].get("deletionTimestamp") and (stale or (name not in wanted and not _ended(job))):
                await self._api.delete(JOBS, name, split_key(service)[0], uid=str(job["metadata"]["uid"]))
        waits = False
        for name, run in wanted.items():
            made = standing.get(name)
            if made is None and _mark(run) not in self._refused:
                waits |= not await self._make(service, name, run)
            elif made is not None and not _ended(made) and annotation(made, MADE_FOR) == _mark(run):
                await self._still.look(_mark(run), made, self._clock.now())
        return self._clock.now() + AGAIN_S if waits else None

    async def outcomes(self, service: str) -> tuple[GateOutcome, ...]:
        """See ports.Gates."""
        standing = {name_of(job): job for job in self._jobs(service)}
        found = []
        for name, run in self._runs.get(service, {}).items():
            refused, job = self._refused.get(_mark(run)), standing.get(name)
            still = self._still.of(_mark(run))
            if refused is not None:
                found.append(refused)
            elif job is not None and annotation(job, MADE_FOR) == _mark(run) and _ended(job) is not None:
                found.append(_outcome(run, job, still))
            elif still is not None and self._clock.now() - still.since_s >= _borne_s(run, still):
                why = f"{still.why} (for {_borne_s(run, still):g} s)"
                found.append(GateOutcome(release=run.release, gate=run.gate.name, passed=False, why=why))
        return tuple(found)

    async def _make(self, service: str, name: str, run: GateRun) -> bool:
        """Make a Job; False when one of its name is still there."""
        namespace, _ = split_key(service)
        try:
            await self._api.create(JOBS, job_of(run, self._owner(service)))
        except Conflict:  # it is there already, and the store does not know it yet; or the one before it is still going
            other = await self._api.get(JOBS, name, namespace)
            if other is not None and not _gate(other):
                said = f"Job {name} in namespace {namespace} is not Sternway's, and gate {run.gate.name} needs its name"
                raise Refused(said, hint="delete it, or rename the gate") from None
            return False
        except Denied as exc:
            self._still.keep(_mark(run), Kind.PLACE, f"its Job may not be made: {exc}", self._clock.now())
            raise
        except Invalid as exc:
            why = f"the cluster does not take its Job: {exc}"
            self._refused[_mark(run)] = GateOutcome(release=run.release, gate=run.gate.name, passed=False, why=why)
        self._still.forget(_mark(run))
        return True

    def _jobs(self, service: str) -> list[Object]:
        namespace, name = split_key(service)
        return [one for one in self._reader.find(JOBS, of_service, name, namespace) if _gate(one)]


def job_name(run: GateRun) -> str:
    """`orders-17-smoke`."""
    _, name = split_key(run.candidate.service)
    return named(name, f"{run.release.rpartition('-')[2]}-{run.gate.name}")


def job_of(run: GateRun, owner: Object | None) -> Object:
    """The Job that a gate is."""
    namespace, name = split_key(run.candidate.service)
    template: Object = json.loads(run.gate.job)
    template["spec"].setdefault("restartPolicy", "Never")
    told = run.told(_url(run))
    for field in ("initContainers", "containers"):
        for container in template["spec"].get(field) or ():
            own = container.get("env") or []
            stated = {one.get("name") for one in own}
            container["env"] = [*({"name": k, "value": v} for k, v in told.items() if k not in stated), *own]
    metadata: Object = {
        "name": job_name(run),
        "namespace": namespace,
        "labels": {SERVICE: name, GATE: run.gate.name},
        "annotations": {MADE_FOR: _mark(run)},
    }
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    spec = {
        "template": template,
        "backoffLimit": run.gate.backoff_limit,
        "activeDeadlineSeconds": max(1, math.ceil(run.gate.timeout_s)),
        "ttlSecondsAfterFinished": KEEP_S,
    }
    return {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "metadata": metadata, "spec": spec}


def _url(run: GateRun) -> str:
    """Where the candidate answers: our Service, which no user is sent to."""
    namespace, name = split_key(run.candidate.service)
    port = run.service.port
    return f"http://{named(name, 'candidate')}.{namespace}:{port}" if port is not None else ""


def _mark(run: GateRun) -> str:
    return digest([run.release, run.candidate.id, run.stable.id, run.gate.name, run.gate.job])


def _gate(job: Object) -> str:
    return str((job["metadata"].get("labels") or {}).get(GATE, ""))


def _ended(job: Object) -> Object | None:
    conditions = (job.get("status") or {}).get("conditions") or ()
    found = (one for one in conditions if one.get("type") in ("Complete", "Failed") and one.get("status") == "True")
    return next(found, None)


def _borne_s(run: GateRun, still: Standstill) -> float:
    return min(still.kind.value, run.gate.timeout_s)


def _outcome(run: GateRun, job: Object, still: Standstill | None) -> GateOutcome:
    """How a Job ended. still: why it did not get on, when it was seen last."""
    ended = _ended(job) or {}
    passed = ended["type"] == "Complete"
    said = ": ".join(part for part in (ended.get("reason", ""), ended.get("message", "")) if part) or "its Job failed"
    see = still.why if still else f"`kubectl logs -n {job['metadata']['namespace']} job/{name_of(job)}` shows why"
    why = "" if passed else f"{said}; {see}"
    return GateOutcome(release=run.release, gate=run.gate.name, passed=passed, why=why)
