"""Releases whose figures a test says: what it does not name has not happened."""

from __future__ import annotations

from sternway.control.measures import By, Measured
from sternway.domain.releases import Phase


def measured_release(name: str, phase: Phase, **figures: object) -> Measured:
    """One by Sternway, of the version that has its name if no other is named. figures: the rest; its times `started_s` and `entered_s` among them."""
    nothing: dict[str, object] = {
        "version": name,
        "by": By.ENGINE,
        "ended_s": None,
        "committed_s": None,
        "harm_s": None,
        "detected_s": None,
        "decided_s": None,
        "restored_s": None,
        "reverted_s": None,
        "requests": 0,
        "hurt": 0,
        "rescued": 0,
        "withdrawals": 0,
        "blind_s": 0.0,
        "blind_from_s": None,
        "of_stable": False,
    }
    return Measured(**{"name": name, "phase": phase, **nothing, **figures})  # type: ignore[arg-type]
