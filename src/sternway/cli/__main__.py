"""`python -m sternway.cli` is `sternway`. Used by `sternway up --detach` to start itself in the background."""

from sternway.cli import main

main()
