"""Desired state in Git, over the plain `git` command. `git.GitHistory` is the adapter behind `ports.History`.

Rule: nothing here writes to a work tree except by `git merge --ff-only`, and no push is ever forced, so that
nobody's commit and nobody's unsaved edit can be lost.
"""
