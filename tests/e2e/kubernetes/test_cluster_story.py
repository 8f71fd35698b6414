"""The whole story in a cluster, once with each mesh: real proxies, real processes for pods, a real Prometheus."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cluster_world import World, real_world
from story_world import ENVOY_GATEWAY, ISTIO, MENDED, Mesh, Story, story

from sternway.testing.kubernetes import FakeKubernetes


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder whose name leaves room for the names of sockets."""
    made = Path(tempfile.mkdtemp(prefix="sw-story-")).resolve()
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.kubernetes)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Give an API and a namespace of the test's own."""
    if request.param == "fake":
        yield World(api=FakeKubernetes(namespaces=("ours", "default")), namespace="ours")
        return
    async with real_world() as found:
        yield found


@pytest.fixture(params=[pytest.param(ISTIO, id="istio"), pytest.param(ENVOY_GATEWAY, id="envoy-gateway")])
async def shop(request: pytest.FixtureRequest, world: World, folder: Path) -> AsyncIterator[Story]:
    """Give the cluster of a walk."""
    mesh: Mesh = request.param
    async with story(world, mesh, folder) as found:
        yield found


async def test_from_adoption_over_a_rollback_and_a_promotion_to_the_end_no_request_is_lost(shop: Story) -> None:
    """Users see the bad version's own answers while it is exposed, and nothing else that is bad, whatever pods come and go."""
    async with shop.operated():
        await shop.guard()
        await shop.until(lambda s: "stable" in s, "adoption")
        await shop.rests("orders:1.0.0")
        assert not shop.bad()
        assert not shop.lost()

        await shop.set_image("orders:1.1.0")
        await shop.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1", "rollback")
        back_s = await shop.steered()
        await shop.rests("orders:1.0.0")
        await shop.answered(100)
        assert shop.bad()
        assert not shop.bad(since_s=back_s)
        assert not shop.lost()
        assert (await shop.releases())[-1]["status"]["phase"] == "rolled-back"

        await shop.set_image(MENDED)
        await shop.until(lambda s: s.get("release") == "orders-2" and s.get("phase") == "idle", "promotion")
        await shop.rests(MENDED)
        await shop.answered(100)
        assert (await shop.releases())[-1]["status"]["phase"] == "promoted"
        assert not shop.bad(since_s=back_s)
        assert not shop.lost()

        await shop.guard_goes()
        await shop.answered(100)
        assert await shop.image() == MENDED
        assert await shop.replicas() == 2
        assert not shop.bad(since_s=back_s)
        assert not shop.lost()


async def test_a_bad_commit_is_reverted_in_git_and_users_are_rid_of_it_before(world: World, folder: Path) -> None:
    """Flux brings a bad commit: the traffic goes back first, then the revert stands on the server, and Flux brings that."""
    async with story(world, ISTIO, folder, git=True) as shop, shop.operated():
        assert shop.gitops is not None
        server = shop.gitops.server
        await shop.guard()
        await shop.until(lambda s: "stable" in s, "adoption")
        await shop.rests("orders:1.0.0")

        bad = await shop.commit("orders:1.1.0")
        await shop.until(lambda s: s.get("phase") == "idle" and s.get("release") == "orders-1", "rollback")
        back_s = await shop.steered()
        await shop.rests("orders:1.0.0")
        head = server.head("shop")
        assert f"Sternway-Reverts: {bad}" in server.message("shop", head)
        await shop.answered(100)
        assert shop.bad()
        assert not shop.bad(since_s=back_s)
        assert not shop.lost()
        assert len(await shop.releases()) == 1


async def test_by_the_access_log_a_bad_version_is_taken_back_without_any_metric(world: World, folder: Path) -> None:
    """Envoy Gateway's proxy sends its log to Sternway: no Prometheus, and a Guard without metrics."""
    async with story(world, ENVOY_GATEWAY, folder, log=True) as shop, shop.operated():
        await shop.guard(metrics=[])
        await shop.until(lambda s: "stable" in s, "adoption")
        await shop.rests("orders:1.0.0")

        await shop.set_image("orders:1.1.0")
        await shop.until(lambda s: s.get("release") == "orders-1" and s.get("phase") == "idle", "rollback")
        back_s = await shop.steered()
        await shop.rests("orders:1.0.0")
        await shop.answered(100)
        assert shop.bad()
        assert not shop.bad(since_s=back_s)
        assert not shop.lost()
        release = (await shop.releases())[-1]["status"]
        assert release["phase"] == "rolled-back"
        assert 0 < release["hurt"] <= len(shop.bad())
