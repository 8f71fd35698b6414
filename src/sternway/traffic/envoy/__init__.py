"""Envoy as the data plane of one machine: its process, its control plane and its configuration.

Read `router` first (the port), then `routes` (what a plan means), `ads` (how it reaches Envoy) and
`process` (how Envoy itself is kept running). Rule: `clusters`, `routes` and `listeners` are pure, from our
values to Envoy's configuration in its JSON form; only `messages` knows protobuf, only `ads` knows gRPC.
"""

from sternway.traffic.envoy.router import EnvoyRouter

__all__ = ["EnvoyRouter"]
