"""Sternway: automatic rollback for services behind a service mesh."""

__version__ = "0.1.0"
