"""The Kubernetes API as our adapters use it: resources as data, one client, and stores that follow watches.

Rule: objects are the API's own JSON, as plain dicts; whoever needs more than a field of one reads it through a pure
function in its own package. Read `api` first.
"""
