"""The demo's releases: what is committed, and how each should end. Used by `demo.run`; told in the README."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One commit to the sample shop. `old` becomes `new` in `file`; outcome: promoted or rolled back.

    by_alert: nothing but an alert shows what is wrong, so it needs Prometheus and Alertmanager. beside: it need not wait for
    the one before it, when that is of another service.
    """

    name: str
    title: str
    service: str
    file: str
    old: str
    new: str
    message: str
    outcome: str
    by_alert: bool = False
    beside: bool = False


SCENARIOS = (
    Scenario(
        name="healthy",
        title="a healthy version",
        service="orders",
        file="orders.yaml",
        old="shop/orders:1.0.0",
        new="shop/orders:1.1.0",
        message="orders 1.1.0: show when an order was taken",
        outcome="promoted",
    ),
    Scenario(
        name="errors",
        title="5 % of its answers are errors",
        service="web",
        file="web.yaml",
        old="shop/web:{now}",
        new="shop/web:1.2.0",
        message="web 1.2.0: a new way to count",
        outcome="rolled back",
    ),
    Scenario(
        name="tail",
        title="slower at the tail, no errors",
        service="stock",
        file="stock.yaml",
        old="shop/stock:1.0.0",
        new="shop/stock:1.3.0",
        message="stock 1.3.0: look into the second warehouse too",
        outcome="rolled back",
    ),
    Scenario(
        name="alert",
        title="loses orders, answers every visitor well",
        service="web",
        file="web.yaml",
        old="shop/web:{now}",
        new="shop/web:1.5.0",
        message="web 1.5.0: a faster checkout",
        outcome="rolled back",
        by_alert=True,
        beside=True,
    ),
    Scenario(
        name="crash",
        title="crashes at start",
        service="web",
        file="web.yaml",
        old="shop/web:{now}",
        new="shop/web:1.4.0",
        message="web 1.4.0: prices in other currencies",
        outcome="rolled back",
    ),
    Scenario(
        name="config",
        title="a bad configuration: the wrong address of stock",
        service="orders",
        file="orders.yaml",
        old="STOCK_URL: http://stock",
        new="STOCK_URL: http://stocks",
        message="orders: the stock service has a new address",
        outcome="rolled back",
    ),
    Scenario(
        name="policy",
        title="a bad mesh policy: the time-out is too short",
        service="orders",
        file="mesh.yaml",
        old="timeout: 3s # the history",
        new="timeout: 100ms # the history",
        message="orders: fail fast, 100 ms must do",
        outcome="rolled back",
    ),
)
