"""The API of Kubernetes, twice: the fake, and a real server that KUBECONFIG names, through our client."""

from __future__ import annotations

import pytest
from cluster_world import World

from sternway.testing.kubernetes import FakeKubernetes


@pytest.fixture(params=["fake"])
async def world() -> World:
    """Give an API and a namespace of the test's own."""
    return World(api=FakeKubernetes(namespaces=("ours", "default")), namespace="ours")
