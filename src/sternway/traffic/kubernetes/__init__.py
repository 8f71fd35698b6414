"""The traffic router of a cluster: one router over the Kubernetes API, one dialect for each mesh.

Rule: a dialect is pure, objects in and objects out, and its file is the only one that knows the mesh's names; the router
alone speaks to the API. Read `dialect`, then `rules`, then `router`.
"""
