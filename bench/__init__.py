"""Measures what the docs promise: `python -m bench [NAME…] [--quick]`, or `make bench`.

Rule: each bench is one module with `run(quick) -> list[Result]` and one line in `registry`. Everything is real: Envoy,
git, processes, the whole product where a promise is about the whole; loopback only, every load bounded, and whatever a
bench starts it ends.
"""
