"""What one commit wants: the value that `sternway.manifests.load` returns and everyone reads."""

from __future__ import annotations

from dataclasses import dataclass, field

from sternway.domain.images import Images
from sternway.domain.monitoring import Monitoring, RuleFile, Scrape
from sternway.domain.policies import Policy
from sternway.domain.releases import Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a service's Guard stands. `shield_stated`: a person asked for the shield, it is not just the default."""

    service: str
    file: str
    line: int
    shield_stated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Everything that Git says at one commit. `wanted` is sorted by the service's name.

    notices: what was accepted and does nothing here, each with its place.
    guards: where the Guards stand (services with the default Guard have none).
    scrapes: the services that export metrics. rules: what Prometheus shall evaluate.
    policies: the platform's rules.
    """

    commit: str = ""
    wanted: tuple[Wanted, ...] = ()
    images: Images = field(default_factory=Images)
    notices: tuple[str, ...] = ()
    guards: tuple[Source, ...] = ()
    monitoring: Monitoring = field(default_factory=Monitoring)
    scrapes: tuple[Scrape, ...] = ()
    rules: tuple[RuleFile, ...] = ()
    policies: tuple[Policy, ...] = ()

    def find(self, service: str) -> Wanted | None:
        """Find what is wanted of one service."""
        return next((wanted for wanted in self.wanted if wanted.service.name == service), None)
