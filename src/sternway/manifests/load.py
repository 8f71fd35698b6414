"""READ THIS FIRST: a commit's files -> the `Catalogue` of what is wanted. Called by the control loop and by the CLI.

`read` turns text into checked manifests, `assemble` sees them together; whatever is wrong anywhere is collected and
raised at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from sternway.domain.images import Images
from sternway.domain.monitoring import Monitoring
from sternway.manifests.assemble import assemble
from sternway.manifests.catalogue import Catalogue
from sternway.manifests.read import read
from sternway.manifests.report import Report
from sternway.manifests.ruling import rules


def load(files: Mapping[str, str], *, commit: str = "", origin: str = "") -> Catalogue:
    """Everything that these files want. Raises InvalidInput with every problem.

    files: path from the watched folder -> text. origin: that folder on this machine, absolute, where the commands
    of images.yaml are started.
    """
    report = Report()
    found = read(files, report)
    images = found.images[1].to_domain(origin) if found.images else Images()
    monitoring = found.monitoring[1].to_domain(origin) if found.monitoring else Monitoring()
    wanted, sources, scrapes = assemble(found, images, commit, report)
    policies = rules(found, wanted, report)
    report.check()
    return Catalogue(
        commit=commit,
        wanted=wanted,
        images=images,
        notices=tuple(dict.fromkeys(report.notices)),
        guards=sources,
        monitoring=monitoring,
        scrapes=scrapes,
        rules=found.rules,
        policies=policies,
    )
