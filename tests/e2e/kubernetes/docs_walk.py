"""The files of a walk through a cluster, as its page of the docs gives them: the service, its objects, the Guard, the images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import yaml
from doc_pages import ROOT, blocks, files

from sternway.kubernetes.api import Object

_BUILD = re.compile(r"docker build -t (?P<image>orders:\S+) --build-arg (?P<name>\w+)=(?P<value>\S+)")
_HERE = re.compile(r"<<'END'\n(?P<text>.*?)^END$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """program: `service.py`. objects: `orders.yaml` and what is applied from the page itself. images: what each was built with."""

    program: str
    objects: tuple[Object, ...]
    guard: Object
    images: Mapping[str, Mapping[str, str]]

    def object(self, kind: str) -> Object:
        """The one object of a kind."""
        (found,) = (one for one in self.objects if one["kind"] == kind)
        return found


def walk(name: str) -> Walk:
    """Read `docs/kubernetes/NAME.md`."""
    page = ROOT / "docs" / "kubernetes" / f"{name}.md"
    given = files(page)
    shell = "\n".join(block.text for block in blocks(page) if block.language == "sh")
    here = [one for found in _HERE.finditer(shell) for one in yaml.safe_load_all(found["text"])]
    return Walk(
        program=given["service.py"],
        objects=(*yaml.safe_load_all(given["orders.yaml"]), *here),
        guard=yaml.safe_load(given["guard.yaml"]),
        images={found["image"]: {found["name"]: found["value"]} for found in _BUILD.finditer(shell)},
    )
