"""`sternway notify`: shows whom the manifests of a folder tell, and sends a test message. Called by `cli.app`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sternway.cli.checking import files_of
from sternway.cli.session import Code, Output, console
from sternway.domain.monitoring import Monitoring, Notification
from sternway.manifests.load import load

if TYPE_CHECKING:
    from sternway.bootstrap import Address


def notify(folder: Path, *, test: bool, output: Output) -> Code:
    """Tell of each address what it is and whether it works. Raises InvalidInput."""
    from sternway.bootstrap import tried_addresses  # noqa: PLC0415  the whole platform

    monitoring = load(files_of(folder), origin=str(folder.absolute())).monitoring
    tried = asyncio.run(tried_addresses(monitoring, send=test))
    code = Code.OK if all(one.ok for one in tried) else Code.PROBLEM
    if output is Output.JSON:
        print(json.dumps(_as_json(monitoring, tried, sent=test, ok=code is Code.OK), indent=2, ensure_ascii=False))
        return code
    out = console()
    for to in monitoring.alerted:
        out.print(f"alerts are kept at {to.url}", soft_wrap=True)
    for one in tried:
        works = "a test message was sent" if test else "its address can be read"
        said = f"{one.found}: {works}" if one.ok else f"{one.found} ({one.hint})" if one.hint else one.found
        out.print(f"{Path(one.file).name}: {said}", style="green" if one.ok else "red", soft_wrap=True)
        for rule in _rules(monitoring, one.file):
            out.print(f"  {', '.join(rule.when)} of {', '.join(rule.services)}", soft_wrap=True)
    if not monitoring.alerted and not tried:
        out.print("nobody is told: monitoring.yaml names no `alertmanager` and no `notifications`", soft_wrap=True)
    return code


def _rules(monitoring: Monitoring, file: str) -> list[Notification]:
    return [one for one in monitoring.notifications if one.url_file == file]


def _as_json(monitoring: Monitoring, tried: Sequence[Address], *, sent: bool, ok: bool) -> dict[str, Any]:
    addresses = [
        {
            "file": one.file,
            "found": one.found,
            "hint": one.hint,
            "ok": one.ok,
            "told": [{"when": list(r.when), "services": list(r.services)} for r in _rules(monitoring, one.file)],
        }
        for one in tried
    ]
    return {"ok": ok, "sent": sent, "alerts": [to.url for to in monitoring.alerted], "notifications": addresses}
