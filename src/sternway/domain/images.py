"""What an image name means on a machine without a container runtime (`images.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCommand:
    """The command that stands for an image.

    image: an image name (`my-service`), which serves every tag, or a name with a tag (`my-service:1.0.0`).
    command: argv; `{tag}`, `{port}`, `{image}` and `{config}` (the folder with ConfigMap files) are filled in,
        and `{python}` with the interpreter that runs Sternway.
    working_dir: absolute.
    """

    image: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Every known image command."""

    commands: tuple[ImageCommand, ...] = ()

    def find(self, image: str) -> ImageCommand | None:
        """The command for an image reference: the full reference first, then the name without its tag."""
        by_image = {command.image: command for command in self.commands}
        name, colon, tag = image.rpartition(":")
        return by_image.get(image) or by_image.get(name if colon and "/" not in tag else image)
