"""YAML text -> plain values, each with the line where it stands. Called by `sternway.manifests.read`.

PyYAML composes the nodes; the values are made here, because a manifest is read as Kubernetes reads it: every key
is text (`on:` is no truth value), a date stays text, and a key that stands twice is a mistake.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sternway.errors import Problem

Path = tuple[str | int, ...]

MAX_NODES = 100_000
"""Values in one document, aliases written out: beyond it somebody builds a bomb, not a manifest."""

MAX_DEPTH = 100
"""Collections within collections. The C composer recurses without a limit of its own, and would crash."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_AS_TEXT = frozenset(_TAG + name for name in ("str", "timestamp", "binary", "value"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One YAML document. `lines` tells where each value's key stands, counted from 1."""

    file: str
    value: Any
    lines: Mapping[Path, int]

    def line(self, path: Path = ()) -> int:
        """Return the line of a value, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def at(self, path: Path) -> Document:
        """Return a part of this document as a document of its own (the items of a List)."""
        value = self.value
        for part in path:
            value = value[part]
        lines = {key[len(path) :]: line for key, line in self.lines.items() if key[: len(path)] == path}
        return Document(file=self.file, value=value, lines=lines)


@dataclass(slots=True, kw_only=True)
class _Builder:
    """Makes one document's values and remembers the lines."""

    file: str
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    count: int = 0
    open: set[int] = field(default_factory=set)
    scalars: SafeConstructor = field(default_factory=SafeConstructor)

    def wrong(self, node: Node, path: Path, message: str, fix: str = "") -> None:
        line = node.start_mark.line + 1
        self.problems.append(Problem(file=self.file, line=line, field=spell(path), message=message, fix=fix))

    def build(self, node: Node, path: Path) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        self.count += 1
        if self.count > MAX_NODES:
            if self.count == MAX_NODES + 1:
                self.wrong(node, path, f"more than {MAX_NODES:,} values in one document", "use fewer aliases")
            return None
        if isinstance(node, ScalarNode):
            return self.scalar(node, path)
        if id(node) in self.open:
            self.wrong(node, path, "an alias stands inside its own anchor", "write the value out")
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, MappingNode)
            return self.mapping(node, path)
        finally:
            self.open.discard(id(node))

    def scalar(self, node: ScalarNode, path: Path) -> Any:
        if node.tag in _AS_TEXT:
            return node.value
        if node.tag in (_TAG + "int", _TAG + "float") and ":" in node.value:
            return node.value  # 1:30 is base sixty in YAML 1.1 alone; Kubernetes reads text
        make = {
            _TAG + "int": self.scalars.construct_yaml_int,
            _TAG + "float": self.scalars.construct_yaml_float,
            _TAG + "bool": self.scalars.construct_yaml_bool,
            _TAG + "null": self.scalars.construct_yaml_null,
        }.get(node.tag)
        if make is None:
            self.wrong(node, path, f"the tag {node.tag} means nothing here", "leave the tag out")
            return None
        try:
            return make(node)
        except (ValueError, KeyError):
            self.wrong(node, path, "this is no number that can be read", "quote it if it is text")
            return None

    def mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        value = self.merged(node, path)
        first: dict[str, int] = {}
        for key, item in node.value:
            if not isinstance(key, ScalarNode):
                template = "is this a template? render it first, then commit the result"
                self.wrong(key, path, "a key must be plain text", template)
                continue
            if key.tag == _TAG + "merge":
                continue
            line = key.start_mark.line + 1
            if key.value in first:
                said = f"`{key.value}` stands twice, on the lines {first[key.value]} and {line}"
                self.wrong(key, (*path, key.value), said, "keep one of them")
                continue
            first[key.value] = line
            self.lines[(*path, key.value)] = line
            value[key.value] = self.build(item, (*path, key.value))
        return value

    def merged(self, node: MappingNode, path: Path) -> dict[str, Any]:
        """Read what `<<` brings in; the mapping's own keys come over it. Of several sources the first one wins."""
        value: dict[str, Any] = {}
        for key, item in node.value:
            if key.tag != _TAG + "merge":
                continue
            for source in reversed(item.value if isinstance(item, SequenceNode) else [item]):
                found = self.build(source, path)
                if isinstance(found, dict):
                    value |= found
                else:
                    self.wrong(key, path, "`<<` takes a mapping", "name an anchor that stands on a mapping")
        return value


def read_text(file: str, text: str) -> tuple[tuple[Document, ...], tuple[Problem, ...]]:
    """Every document of a text, empty ones left out, and every problem with its YAML."""
    documents: list[Document] = []
    problems: list[Problem] = []
    text = text.removeprefix("\ufeff")
    try:
        if _deepest(text) > MAX_DEPTH:
            said = f"values are nested more than {MAX_DEPTH} deep"
            return (), (Problem(file=file, message=said, fix="flatten them"),)
        for node in _nodes(text):
            builder = _Builder(file=file)
            value = builder.build(node, ())
            problems += builder.problems
            if value is not None and not builder.problems:
                documents.append(Document(file=file, value=value, lines=builder.lines))
    except yaml.YAMLError as exc:
        problems.append(_syntax_problem(file, text, exc))
    return tuple(documents), tuple(problems)


def spell(path: Path) -> str:
    """Spell a path as a person writes it: `spec.steps[1].percent`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _deepest(text: str) -> int:
    """Count how deep a text nests, and stop counting beyond the limit. Syntax errors are left to the composer."""
    depth = deepest = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.events.CollectionStartEvent):
                depth += 1
                deepest = max(deepest, depth)
                if deepest > MAX_DEPTH:
                    break
            elif isinstance(event, yaml.events.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError:
        pass
    return deepest


def _nodes(text: str) -> Iterator[Node]:
    for node in yaml.compose_all(text, Loader=_Loader):
        if node is not None:
            yield node


def _syntax_problem(file: str, text: str, exc: yaml.YAMLError) -> Problem:
    line, what = None, str(exc).splitlines()[0]
    if isinstance(exc, yaml.MarkedYAMLError):
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else None
        what = ", ".join(part for part in (exc.context, exc.problem) if part)
    elif isinstance(exc, yaml.reader.ReaderError):
        line = text.count("\n", 0, int(exc.position)) + 1
        what = str(exc.reason)
    at = text.splitlines()[line - 1] if line and line <= len(text.splitlines()) else ""
    fix = ""
    if "\t" in at[: len(at) - len(at.lstrip())]:
        fix = "indent with spaces, not with tabs"
    elif "{{" in text or "{%" in text:
        fix = "is this a template? render it first, then commit the result"
    return Problem(file=file, line=line, message=f"this is no YAML: {what}", fix=fix)
