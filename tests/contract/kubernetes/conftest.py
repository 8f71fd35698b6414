"""The API of Kubernetes, twice: the fake, and a real server through our client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from cluster_world import World, real_world

from sternway.testing.kubernetes import FakeKubernetes


@pytest.fixture
async def real() -> AsyncIterator[World]:
    """Give a namespace of the real API, for one test."""
    async with real_world() as world:
        yield world


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.kubernetes)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Give an API and a namespace of the test's own."""
    if request.param == "fake":
        yield World(api=FakeKubernetes(namespaces=("ours", "default")), namespace="ours")
        return
    async with real_world() as found:
        yield found
