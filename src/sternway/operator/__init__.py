"""Sternway on Kubernetes: custom resources in, names into the queue; what is decided comes back as their status.

Rule: nothing here decides on a release; that is the engine's. Objects come from stores that follow watches. `desired` reads
what a cluster wants and what it remembers, `views` says what it is shown, `install` is what stands in a cluster that has
Sternway.
"""
