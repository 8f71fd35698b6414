"""Custom resources in, names into the queue: what a cluster asks for, and what it remembers of versions.

Rule: nothing here decides on a release; that is the engine's. Objects come from stores that follow watches.
"""
