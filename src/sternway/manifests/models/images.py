"""`images.yaml`: what an image name means on a machine without a container runtime. -> `sternway.domain.images`."""

from __future__ import annotations

import re
import shlex
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from sternway.domain.images import ImageCommand, Images
from sternway.manifests.models.base import Ours, Text, Words, wrong
from sternway.manifests.models.core import TextMap

PLACEHOLDERS = ("tag", "port", "image", "config", "python")


def parse_command(value: Any) -> tuple[str, ...]:
    """Read a command line, or a list of its words."""
    if isinstance(value, str):
        try:
            words = tuple(shlex.split(value))
        except ValueError as exc:
            raise wrong(f"the command cannot be split into words: {exc}", "close the quotes, or write a list") from None
    elif isinstance(value, list) and all(isinstance(word, str) for word in value):
        words = tuple(value)
    else:
        raise wrong("a command is text or a list of texts", 'write for example `["{python}", "service.py"]`')
    if not words or not words[0]:
        raise wrong("the command is empty", "write the program that stands for this image")
    for name in re.findall(r"\{([A-Za-z_]+)\}", " ".join(words)):
        near = get_close_matches(name.lower(), PLACEHOLDERS, n=1, cutoff=0.7)
        if name not in PLACEHOLDERS and near:
            raise wrong(f"unknown placeholder `{{{name}}}`", f"did you mean `{{{near[0]}}}`?")
    return words


_COMMAND_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
Command = Annotated[
    tuple[str, ...], BeforeValidator(parse_command), WithJsonSchema(_COMMAND_SCHEMA), Words("command line or list")
]


class Image(Ours):
    """The command that stands for an image."""

    command: Command
    """The program and its arguments. Filled in: `{tag}`, `{port}`, `{image}`, `{config}` (the folder that holds
    the files of ConfigMap volumes) and `{python}` (the interpreter that runs Sternway)."""
    env: Annotated[TextMap, Words("mapping of text to text")] = Field(default_factory=dict)
    """Variables that the program gets on this machine; the Deployment's own win."""
    working_dir: Text = ""
    """Where the program is started, from the folder that holds `images.yaml`. Without it: that folder."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"command": value} if isinstance(value, (str, list)) else value


class ImagesFile(Ours):
    """What image names mean on this machine. The name of an image serves all its tags; a name with a tag goes first."""

    images: dict[str, Image]
    """Image name -> a command, or a mapping with the fields below."""

    def to_domain(self, origin: str) -> Images:
        """Return the domain's value; relative folders are looked for in `origin`."""
        return Images(
            commands=tuple(
                ImageCommand(
                    image=name,
                    command=image.command,
                    env=tuple(sorted(image.env.items())),
                    working_dir=str(PurePosixPath(origin) / image.working_dir) if origin else image.working_dir,
                )
                for name, image in sorted(self.images.items())
            )
        )
