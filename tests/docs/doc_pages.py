"""What the tests of the docs read: pages, their blocks, links and commands."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page for place in ("*.md", "docs/**/*.md", "examples/**/*.md", "changelog.d/*.md") for page in ROOT.glob(place)
)
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"`(?P<code>[^`\n]+)`")
_NAMED = re.compile(r"`(?P<name>[^`\n]+)`:\n\n```\w*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block. `where`: page and line."""

    where: str
    language: str
    text: str


def name(page: Path) -> str:
    """A page as the docs call it."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page."""
    text = page.read_text()
    return [
        Block(
            where=f"{name(page)}:{text.count(chr(10), 0, found.start()) + 1}",
            language=found["language"],
            text=found["text"],
        )
        for found in _FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    """The targets of a page's links that stay in the repository."""
    found = [link["target"] for link in _LINK.finditer(prose(page))]
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as a Git host makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def files(page: Path) -> dict[str, str]:
    """Files that a page gives in full: its name in code and a colon, then a block."""
    return {found["name"]: found["text"] for found in _NAMED.finditer(page.read_text())}


def commands(page: Path) -> list[tuple[str, str]]:
    """Every `sternway …` that a page prints, as (where, command line)."""
    found = [
        (block.where, line.strip())
        for block in blocks(page)
        if block.language == "sh"
        for line in block.text.splitlines()
    ]
    found += [(name(page), code["code"]) for code in _CODE.finditer(prose(page))]
    return [(where, line.partition(" | ")[0]) for where, line in found if line.startswith("sternway ")]
