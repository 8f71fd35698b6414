"""Runs a service's versions in a cluster: the user's Deployment for the candidate, its twin for what is proven good.

Rule: `scene` reads, `plan` decides what the cluster should hold (pure), `platform` writes it. Read `plan` first.
"""
