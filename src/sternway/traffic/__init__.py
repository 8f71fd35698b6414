"""Traffic routers: adapters that put a `TrafficPlan` into force at the proxies of one mesh.

Rule: a vendor's names and exceptions stop here; nothing in this package imports another adapter.
"""
