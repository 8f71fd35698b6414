"""The judge's state: a handful of numbers that a journal can hold. Folded by `sternway.judgement`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Placeholder until the judge defines it."""
