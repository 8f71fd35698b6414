"""Fakes that pass the same contract tests as the real adapters. For tests, ours and other people's."""

from sternway.testing.store import MemoryStore

__all__ = ["MemoryStore"]
