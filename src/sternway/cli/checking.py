"""`sternway check`: validates the manifests of a folder as they stand. Called by `cli.app`; needs no platform."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sternway.cli import foreseeing
from sternway.cli.session import Code, Output, console, show_error, understood
from sternway.clock import SystemClock
from sternway.domain.monitoring import Monitoring, told
from sternway.domain.policies import Rule
from sternway.errors import InvalidInput, Problem
from sternway.manifests.catalogue import Catalogue
from sternway.manifests.explain import explain
from sternway.manifests.load import load
from sternway.manifests.models.monitoring import parse_url
from sternway.paths import find
from sternway.policy import bars
from sternway.web.wire import error_json

_SUFFIXES = (".yaml", ".yml")


def check(folder: Path, *, rps: float | None, prometheus: str | None, output: Output) -> Code:
    """Print every problem, or what would happen on the next change and how soon a fault in it would be found."""
    try:
        catalogue = load(files_of(folder), origin=str(folder.absolute()))
        _check_rules(catalogue)
    except InvalidInput as invalid:
        if output is Output.JSON:
            print(json.dumps({"ok": False, "problems": error_json(invalid)["problems"]}, indent=2, ensure_ascii=False))
            return Code.PROBLEM
        return show_error(invalid)
    from sternway.bootstrap import unstartable  # noqa: PLC0415  the whole platform

    notices = (*catalogue.notices, *unstartable(catalogue))
    lines = (*explain(catalogue), *_frozen_now(catalogue))
    foreseen = foreseeing.foresee(
        catalogue.wanted, rps=rps, seen=foreseeing.traffic_seen(folder) if find(folder) is not None else {}
    )
    tried = _try(catalogue, prometheus)
    code = Code.OK if all(one["ok"] for one in tried) else Code.PROBLEM
    if output is Output.JSON:
        found = {
            "ok": code is Code.OK,
            "problems": [],
            "notices": list(notices),
            "explanation": list(lines),
            "forecasts": [foreseeing.as_json(one) for one in foreseen],
            "metrics": tried,
        }
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return code
    out = console()
    for line in lines:
        out.print(line, soft_wrap=True)
    for forecast in foreseen:
        out.print()
        out.print(foreseeing.render(forecast))
    if not foreseen and catalogue.wanted:
        out.print("how soon a fault is found: the traffic is not known here; state it with --rps", style="dim")
    for notice in notices:
        out.print(f"note: {notice}", style="yellow", soft_wrap=True)
    for one in tried:
        if not one["query"]:
            out.print(f"note: the metrics were not tried: {one['found']}", style="yellow", soft_wrap=True, markup=False)
            continue
        said = f"{one['service']}, metric {one['metric']}: {one['query']}\n  {one['found']}"
        out.print(said, style=None if one["ok"] else "red", soft_wrap=True, markup=False)
    return code


def _frozen_now(catalogue: Catalogue) -> Iterator[str]:
    """Say what a freeze keeps up at this moment."""
    now_s = SystemClock().now()
    for wanted in catalogue.wanted:
        name = wanted.service.name
        for bar in bars(catalogue.policies, name, wanted.guard, now_s):
            if bar.rule is Rule.FREEZE:
                yield f"now: {name} is {bar.sentence}"


def _check_rules(catalogue: Catalogue) -> None:
    """Have promtool look at the rules, where there are some. Raises InvalidInput."""
    if not catalogue.rules:
        return
    from sternway.bootstrap import rule_problems  # noqa: PLC0415  the whole platform

    problems = asyncio.run(rule_problems(catalogue))
    if problems:
        raise InvalidInput(problems)


def _try(catalogue: Catalogue, prometheus: str | None) -> list[dict[str, Any]]:
    """Run every query, when it is known where; nothing is asked when there is no metric. Raises InvalidInput."""
    if prometheus is not None:
        understood("--prometheus", parse_url, prometheus)
    known = catalogue.monitoring.prometheus
    if not any(wanted.guard.judge.metrics for wanted in catalogue.wanted) or not (known or prometheus):
        return []
    from sternway.bootstrap import tried_metrics  # noqa: PLC0415  the whole platform

    endpoint = told(known, prometheus)
    if endpoint is None:
        return []
    return [asdict(one) for one in asyncio.run(tried_metrics(catalogue, endpoint))]


def files_of(folder: Path) -> dict[str, str]:
    """Read every manifest below a folder, as a commit would hold them. Raises InvalidInput."""
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "is not there"
        raise InvalidInput((Problem(file=str(folder), message=what, fix="name the folder with the manifests"),))
    files: dict[str, str] = {}
    problems: list[Problem] = []
    for path in _manifests(folder):
        name = path.relative_to(folder).as_posix()
        try:
            files[name] = path.read_bytes().decode()
        except UnicodeDecodeError:
            problems.append(Problem(file=name, message="is not written in UTF-8", fix="save it as UTF-8"))
        except OSError as exc:
            problems.append(Problem(file=name, message=f"cannot be read: {exc.strerror}"))
    if problems:
        raise InvalidInput(tuple(problems))
    if not files:
        message = "holds no *.yaml or *.yml"
        raise InvalidInput((Problem(file=str(folder), message=message, fix="name the folder with the manifests"),))
    return files


def monitoring_in(file: Path) -> Monitoring:
    """What a monitoring.yaml says; nothing where there is none. Raises InvalidInput."""
    if not file.exists():
        return Monitoring()
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInput((Problem(file=str(file), message=f"cannot be read: {exc}"),)) from exc
    return load({"monitoring.yaml": text}, origin=str(file.parent.absolute())).monitoring


def _manifests(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in sorted(names) if name.endswith(_SUFFIXES))
