"""The seam: what a rule sees of R releases in a tick, and what it may do about them. Used by everything here.

A rule is an object with two methods. It holds its own state, asks no clock, and is told of a release even after it has
taken it back (then nothing that it says of it counts any more).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bench.arena.chance import Bools, Floats, Ints

PLACEBO_ARMS = 9
CANDIDATE_TOTAL, CANDIDATE_BAD, STABLE_TOTAL, STABLE_BAD = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a rule may know before: how many releases, and the service's traffic."""

    size: int
    rate_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What R releases answered from `start_s` to `end_s`.

    share [R]: of the candidate, in force, 0..1. errors [R, 4]: candidate's total and bad, stable's total and bad.
    keyed [R, 4]: the same with one bad answer of each cluster key. arms [R, 9, (total, bad)]: placebo arms as large as
    the candidate; zeros where none fits. slower [R, version, edges]: answers that took longer than each of
    `durations.EDGES_MS`, candidate's first; None where durations are not told.
    """

    start_s: float
    end_s: float
    share: Floats
    errors: Ints
    keyed: Ints
    arms: Ints
    slower: Ints | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a rule wants, from the next tick on, each [R].

    share: of the candidate, 0..1. condemned: taken back for good. withdrawn: its traffic taken away for a while.
    shipped: promoted; nobody looks any more. asked: a person has to decide; traffic is away.
    """

    share: Floats
    condemned: Bools
    withdrawn: Bools
    shipped: Bools
    asked: Bools


class Rule(Protocol):
    """One way to judge releases."""

    def start(self, setup: Setup) -> Floats:
        """Begin R releases, and say each one's first share."""
        ...

    def step(self, seen: Seen) -> Said:
        """Take a tick in."""
        ...
