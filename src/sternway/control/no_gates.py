"""No gates: for whoever drives the loop over services whose Guards have none (tests, benches)."""

from __future__ import annotations

from collections.abc import Sequence

from sternway.domain.gates import GateOutcome, GateRun
from sternway.errors import Refused


class NoGates:
    """See ports.Gates."""

    async def run(self, service: str, runs: Sequence[GateRun]) -> None:
        """See ports.Gates. Raises Refused when there is one."""
        if runs:
            raise Refused(f"nothing here can run gate {runs[0].gate.name} of {service}")

    async def outcomes(self, _service: str) -> tuple[GateOutcome, ...]:
        """See ports.Gates."""
        return ()
