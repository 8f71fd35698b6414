"""Manifests: what a person writes in Git, checked and turned into what is wanted.

Rule: pure functions from text to our values. Nothing here opens a file, starts a process or asks Git; a commit's
files come in as a mapping from path to text, and everything wrong with them goes out at once, in `InvalidInput`.
"""
