"""The HTTP API of the running platform, and its client. `api.Api` is the server, `client.Client` talks to it.

Rule: this layer receives services (`services.Services`) and opens nothing but its own socket; it names no adapter.
"""
