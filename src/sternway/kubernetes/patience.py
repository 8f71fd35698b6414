"""Questions that a start cannot do without: asked again until the API answers. Used by whoever follows a cluster."""

from __future__ import annotations

import asyncio
import random

from sternway.errors import Temporary
from sternway.kubernetes.api import Api, Resource

_LONGEST_WAIT_S = 30.0


async def served(api: Api, resource: Resource) -> bool:
    """Whether the API has a kind. A server that is busy or down for a moment ends no start; what it refuses is raised."""
    wait_s = 0.25
    while True:
        try:
            return await api.serves(resource)
        except Temporary as trouble:
            wait_s = min(_LONGEST_WAIT_S, max(trouble.retry_in_s, 2 * wait_s))
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 # jitter
