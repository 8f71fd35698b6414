"""What policies say: which services they are about, whether a freeze holds, and which Guards they refuse. Pure.

The calendar of time zones is no part of the engine: what it says at a moment is observed (`bars`), so that a journal replays
the same under another year's rules of summer time.
"""

from __future__ import annotations

from sternway.policy.bars import bars, governs
from sternway.policy.calendar import frozen, frozen_until, known_zone
from sternway.policy.requirements import Breach, breaches

__all__ = ["Breach", "bars", "breaches", "frozen", "frozen_until", "governs", "known_zone"]
