"""A rollback in a cluster that Argo CD or Flux keeps as Git says: from a commit to its revert on the server, and its sync."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cluster_world import World
from gitops_world import KUSTOMIZED, PLAIN, Shop, shop


@pytest.fixture(params=["argo", "flux"])
async def here(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> AsyncIterator[tuple[Shop, str]]:
    """Give a cluster with each tool."""
    async with shop(world, tmp_path, request.param) as found:
        yield found


async def test_a_bad_commit_is_reverted_and_synced(here: tuple[Shop, str]) -> None:
    """The revert stands on the branch, touches nothing else, tells why, and the next sync brings the good version back."""
    found, address = here
    found.let_in()
    await found.open()
    async with found.running(address):
        found.users.bad["orders"] = 0.5
        other = found.text("apps/stock.yaml").replace("stock:1", "stock:2")
        bad = found.commit(
            {
                "apps/orders.yaml": found.text("apps/orders.yaml").replace("orders:1", "orders:2"),
                "apps/stock.yaml": other,
            },
            "Ship orders 2 and stock 2",
        )
        status = await found.rolled_back()
        head = found.server.head("shop")
        assert status["reverted"] == head
        assert status["revision"] == bad
        assert f"reverted on main in {found.server.url('shop')}" in str(status["undone"])
        assert head != bad
        assert found.text("apps/orders.yaml") == PLAIN["apps/orders.yaml"]
        assert found.text("apps/stock.yaml") == other
        message = found.server.message("shop", head)
        assert "Roll orders" in message.splitlines()[0]
        assert f"Sternway-Reverts: {bad}" in message
        assert "describe release orders-1" in message
        async with asyncio.timeout(60):
            while await found.image_of() != "orders:1" or found.gitops.synced != head:
                await asyncio.sleep(0.1)
        await found.until(lambda s: s["phase"] == "idle" and s["conditions"][2]["status"] == "False")
        await found.at_rest()
        assert len(await found.releases()) == 1
        assert found.server.head("shop") == head
        assert found.server.password not in "".join(str(one) for one in await found.releases())


async def test_an_image_of_a_kustomization_is_taken_back(here: tuple[Shop, str]) -> None:
    """Of a kustomization that two services share, only the entry of the image that was bad goes back."""
    found, address = here
    found.let_in()
    found.files = KUSTOMIZED
    await found.open()
    before = found.text("apps/kustomization.yaml")
    async with found.running(address):
        found.users.bad["orders"] = 0.5
        both = before.replace('newTag: "1"', 'newTag: "2"')
        found.commit({"apps/kustomization.yaml": both}, "Ship orders 2 and stock 2")
        status = await found.rolled_back()
        assert status.get("reverted") == found.server.head("shop")
        assert found.text("apps/kustomization.yaml") == both.replace(
            'orders\n    newTag: "2"', 'orders\n    newTag: "1"'
        )
        async with asyncio.timeout(60):
            while await found.image_of() != "orders:1":
                await asyncio.sleep(0.1)


async def test_without_access_the_bad_version_is_held_and_the_way_out_is_said(here: tuple[Shop, str]) -> None:
    """Git stays as it is, a sync of the bad commit is no new release, and the Release names the Secret to make."""
    found, address = here
    await found.open()
    async with found.running(address):
        found.users.bad["orders"] = 0.5
        bad = found.commit(
            {"apps/orders.yaml": found.text("apps/orders.yaml").replace("orders:1", "orders:2")}, "Ship orders 2"
        )
        status = await found.rolled_back()
        assert status.get("reverted") is None
        assert "Sternway has no access to" in str(status["undone"])
        assert "ake a Secret sternway-git in Sternway's namespace" in str(status["undone"])
        assert found.server.head("shop") == bad
        await found.gitops.sync()
        assert await found.image_of() == "orders:2"
        assert found.shares()["orders-stable"] == 1.0
        await found.until(lambda s: s["phase"] == "idle" and s["conditions"][2]["reason"] == "RolledBack")
        assert len(await found.releases()) == 1
