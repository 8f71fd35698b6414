"""`sternway install`: Sternway's own manifests. Called by `cli.app`."""

from __future__ import annotations

import sys

from sternway.errors import Refused
from sternway.operator.install import Installation, installation, written


def install(*, print_: bool, watches: tuple[str, ...], **told: str) -> None:
    """Write the manifests. told: other settings, by the names that `Installation` has."""
    if not print_:
        raise Refused(
            "`sternway install` writes manifests and changes no cluster by itself",
            hint="sternway install --print | kubectl apply --server-side -f -",
        )
    sys.stdout.write(written(installation(Installation(watches=watches, **told))))
