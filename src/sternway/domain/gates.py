"""What has to succeed before a release goes on: which gates run, and how each ended. Run by an adapter, decided by the engine."""

from __future__ import annotations

from dataclasses import dataclass

from sternway.domain.guards import Gate
from sternway.domain.versions import Service, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRun:
    """A gate that shall run for a release, once."""

    release: str
    gate: Gate
    candidate: Version
    stable: Version
    service: Service

    def told(self, url: str) -> dict[str, str]:
        """What the gate learns of the release, as its environment. url: where the candidate answers."""
        return {
            "STERNWAY_SERVICE": self.service.name.partition(".")[0],
            "STERNWAY_NAMESPACE": self.service.namespace,
            "STERNWAY_RELEASE": self.release,
            "STERNWAY_VERSION": self.candidate.id,
            "STERNWAY_IMAGE": self.candidate.workload.image,
            "STERNWAY_STABLE": self.stable.id,
            "STERNWAY_URL": url,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOutcome:
    """How a gate of a release ended. why: in words, where it did not pass (or a person passed over it).

    at_s: when a pass learned of it.
    """

    release: str
    gate: str
    passed: bool
    why: str = ""
    at_s: float | None = None
