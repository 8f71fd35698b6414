"""Commands that change something: people's words to the engine, and images in Git. Called by `cli.app`."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

from sternway.cli.session import Code, Output, ask, console, show_json
from sternway.errors import InvalidInput, Problem

_DEPLOYMENT = ("deployment", "deployments", "deploy")


def command(folder: Path, verb: str, service: str, *, to: str | None, reason: str, output: Output) -> Code:
    """Tell the engine; print its answer."""
    body = {"verb": verb, "by": who(), "to": to, "reason": reason}
    text = ask(folder, lambda client: client.post("services", service, "commands", json_body=body))
    reply = json.loads(text)
    accepted = bool(reply["accepted"])
    if output is Output.JSON:
        show_json(text)
    elif accepted:
        console().print(reply["message"], soft_wrap=True)
    else:
        console(stderr=True).print(f"sternway: refused: {reply['message']}", style="red", soft_wrap=True)
    return Code.OK if accepted else Code.PROBLEM


def set_image(folder: Path, deployment: str, image: str, *, message: str, output: Output) -> None:
    """Commit another image. Raises InvalidInput for arguments that cannot be understood."""
    kind, slash, name = deployment.partition("/")
    container, equals, reference = image.partition("=")
    problems = []
    if not slash or kind not in _DEPLOYMENT or not name:
        problems.append(_wrong(deployment, "is no Deployment", "write deployment/NAME"))
    if not equals or not container or not reference or reference.split() != [reference]:
        problems.append(_wrong(image, "does not say which image", "write CONTAINER=IMAGE"))
    if problems:
        raise InvalidInput(tuple(problems))
    body = {"workload": name, "container": container, "image": reference, "message": message}
    text = ask(folder, lambda client: client.post("images", json_body=body))
    if output is Output.JSON:
        show_json(text)
        return
    found = json.loads(text)
    console().print(f"committed {found['commit'][:9]}: {found['message']} ({found['path']})", soft_wrap=True)
    console().print("`sternway status --watch` shows what becomes of it", soft_wrap=True)


def _wrong(argument: str, message: str, fix: str) -> Problem:
    return Problem(file=argument or "an empty argument", message=message, fix=fix)


def who() -> str:
    """The name that a command is given under."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an id without a name, as in containers
        return "somebody"
