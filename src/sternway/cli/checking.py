"""`sternway check`: validates the manifests of a folder as they stand. Called by `cli.app`; needs no platform."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from sternway.cli import foreseeing
from sternway.cli.session import Code, Output, console, show_error
from sternway.errors import InvalidInput, Problem
from sternway.manifests.explain import explain
from sternway.manifests.load import load
from sternway.paths import find
from sternway.web.wire import error_json

_SUFFIXES = (".yaml", ".yml")


def check(folder: Path, *, rps: float | None, output: Output) -> Code:
    """Print every problem, or what would happen on the next change and how soon a fault in it would be found."""
    try:
        catalogue = load(files_of(folder), origin=str(folder.absolute()))
    except InvalidInput as invalid:
        if output is Output.JSON:
            print(json.dumps({"ok": False, "problems": error_json(invalid)["problems"]}, indent=2, ensure_ascii=False))
            return Code.PROBLEM
        return show_error(invalid)
    lines = explain(catalogue)
    foreseen = foreseeing.foresee(
        catalogue.wanted, rps=rps, seen=foreseeing.traffic_seen(folder) if find(folder) is not None else {}
    )
    if output is Output.JSON:
        found = {"ok": True, "problems": [], "notices": list(catalogue.notices), "explanation": list(lines)}
        found["forecasts"] = [foreseeing.as_json(one) for one in foreseen]
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return Code.OK
    out = console()
    for line in lines:
        out.print(line, soft_wrap=True)
    for one in foreseen:
        out.print()
        out.print(foreseeing.render(one))
    if not foreseen and catalogue.wanted:
        out.print("how soon a fault is found: the traffic is not known here; state it with --rps", style="dim")
    for notice in catalogue.notices:
        out.print(f"note: {notice}", style="yellow", soft_wrap=True)
    return Code.OK


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


def _manifests(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in sorted(names) if name.endswith(_SUFFIXES))
