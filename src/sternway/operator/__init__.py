"""Sternway on Kubernetes: custom resources in, names into the queue; what is decided comes back as their status.

Rule: nothing here decides. `desired` reads what a cluster wants, `install` is what stands in a cluster that has
Sternway.
"""
