"""A fake Kubernetes API and the controllers that our adapters rely on, in one process. Start with `FakeKubernetes`."""

from sternway.testing.kubernetes.cluster import FakeKubernetes
from sternway.testing.kubernetes.requests import Fault, Request
from sternway.testing.kubernetes.store import Store

__all__ = ["FakeKubernetes", "Fault", "Request", "Store"]
