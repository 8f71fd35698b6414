"""What a release does while nothing counts its requests, in words: it is judged by crashes and alerts alone. Pure.

No source of counts was ever set up, so this is no blindness, which is borne for a while: it lasts until somebody changes it.
Used by `engine.world`, `engine.alerting` and `control.status`.
"""

from __future__ import annotations

from sternway.domain.releases import Phase, Release
from sternway.engine.exposure import enough

REMEDY = "have the proxies send their access log, or state a ratio in the Guard's metrics"


def uncounted(release: Release) -> str:
    """Say what the release waits for, or that it waits for nothing; "" while its requests are counted, or it has none."""
    if not release.uncounted or release.phase not in (Phase.MIRRORING, Phase.EXPOSED, Phase.BAKING):
        return ""
    needed = _needed(release)
    if not needed:
        return "nothing tells of its requests, so it goes on by time alone"
    return (
        f"nothing tells of its requests, and {needed} of them are waited for: it stays here until a person promotes it"
    )


def _needed(release: Release) -> int:
    if release.phase is Phase.MIRRORING:
        return release.guard.mirror.min_requests if release.guard.mirror else 0
    return enough(release)[0] if release.phase is Phase.EXPOSED else 0
