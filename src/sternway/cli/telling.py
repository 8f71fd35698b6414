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
    from sternway.bootstrap import tried_addresses, tried_alertmanagers  # noqa: PLC0415  the whole platform

    monitoring = load(files_of(folder), origin=str(folder.absolute())).monitoring
    addresses = asyncio.run(tried_addresses(monitoring, send=test))
    alertmanagers = asyncio.run(tried_alertmanagers(monitoring)) if test else ()
    code = Code.OK if all(one.ok for one in (*addresses, *alertmanagers)) else Code.PROBLEM
    if output is Output.JSON:
        found = {
            "ok": code is Code.OK,
            "sent": test,
            "alerts": [_as_json(one) for one in alertmanagers]
            if test
            else [{"name": to.url} for to in monitoring.alerted],
            "notifications": [{**_as_json(one), "told": _rules_json(monitoring, one.name)} for one in addresses],
        }
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return code
    _show(monitoring, addresses, alertmanagers, test=test)
    return code


def _show(
    monitoring: Monitoring, addresses: Sequence[Address], alertmanagers: Sequence[Address], *, test: bool
) -> None:
    out = console()
    for to in () if test else monitoring.alerted:
        out.print(f"alerts are kept at {to.url}", soft_wrap=True)
    for one in alertmanagers:
        out.print(f"{one.name}: {one.found}", style="green" if one.ok else "red", soft_wrap=True)
    for one in addresses:
        works = "a test message was sent" if test else "its address can be read"
        said = f"{one.found}: {works}" if one.ok else f"{one.found} ({one.hint})" if one.hint else one.found
        out.print(f"{Path(one.name).name}: {said}", style="green" if one.ok else "red", soft_wrap=True)
        for rule in _rules(monitoring, one.name):
            out.print(f"  {', '.join(rule.when)} of {', '.join(rule.services)}", soft_wrap=True)
    if not monitoring.alerted and not addresses:
        out.print("nobody is told: monitoring.yaml names no `alertmanager` and no `notifications`", soft_wrap=True)


def _rules(monitoring: Monitoring, file: str) -> list[Notification]:
    return [one for one in monitoring.notifications if one.url_file == file]


def _rules_json(monitoring: Monitoring, file: str) -> list[dict[str, Any]]:
    return [{"when": list(one.when), "services": list(one.services)} for one in _rules(monitoring, file)]


def _as_json(one: Address) -> dict[str, Any]:
    return {"name": one.name, "found": one.found, "hint": one.hint, "ok": one.ok}
