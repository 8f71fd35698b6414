"""The manifests' shapes, as pydantic models. Rule: unknown fields are refused, everywhere.

`core`, `deployment` and `route` are Kubernetes' own kinds; `guard`, `mesh` and `images` are ours, and every field
of theirs carries the description from which the reference pages and the schemas are made.
"""
