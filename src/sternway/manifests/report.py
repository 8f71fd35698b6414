"""Collects every problem and notice of one load, and says pydantic's errors in a user's words."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sternway.errors import InvalidInput, Problem
from sternway.manifests.models.base import Kube
from sternway.manifests.yamltext import Document, Path, spell


@dataclass(slots=True)
class Report:
    """What is wrong (`problems`) and what is worth knowing (`notices`).

    incomplete: something could not be read, so that what seems absent may only be unreadable.
    """

    problems: list[Problem] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    incomplete: bool = False

    def absent(self, document: Document, path: Path, message: str, fix: str = "") -> None:
        """Add a problem with something that is not there, unless it may stand in what could not be read."""
        if not self.incomplete:
            self.wrong(document, path, message, fix)

    def wrong(self, document: Document, path: Path, message: str, fix: str = "") -> None:
        """Add a problem at a place in a document."""
        line = document.line(path)
        self.problems.append(Problem(file=document.file, line=line, field=spell(path), message=message, fix=fix))

    def note(self, document: Document, message: str, path: Path = ()) -> None:
        """Add a notice at a place in a document."""
        self.notices.append(f"{document.file}:{document.line(path)}: {message}")

    def check(self) -> None:
        """Raise InvalidInput with every problem, if there is one."""
        if self.problems:
            ordered = sorted(set(self.problems), key=lambda p: (p.file, p.line or 0, p.field, p.message))
            raise InvalidInput(tuple(ordered))


def suggest(name: str, known: Iterable[str]) -> str:
    """`did you mean …?` for a misspelt name, or the list of what there is when it is short."""
    choices = sorted(known)
    folded = {choice.lower(): choice for choice in choices}
    near = get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{folded[near[0]]}`?"
    return f"there is: {', '.join(choices)}" if 0 < len(choices) <= 12 else "take it out"


def explain_errors(
    document: Document, model: type[BaseModel], error: ValidationError, *, secret: bool
) -> list[Problem]:
    """Say every error of a validation as a problem. `secret`: no value may be repeated."""
    return [_problem(document, model, dict(item), secret=secret) for item in error.errors(include_url=False)]


def _problem(document: Document, model: type[BaseModel], error: dict[str, Any], *, secret: bool) -> Problem:
    context = error.get("ctx") or {}
    path = _real_path(document.value, (*error["loc"], *context.get("at", ())))
    said = _Said(model=model, loc=error["loc"], value=error.get("input"), context=context, secret=secret)
    sayer = _SAY.get(error["type"])
    message, fix = sayer(said) if sayer else (str(error["msg"]), "")
    return Problem(file=document.file, line=document.line(path), field=spell(path), message=message, fix=fix)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """One of pydantic's errors."""

    model: type[BaseModel]
    loc: tuple[str | int, ...]
    value: Any
    context: dict[str, Any]
    secret: bool

    @property
    def last(self) -> str:
        return str(self.loc[-1]) if self.loc else ""

    @property
    def got(self) -> str:
        return "" if self.secret or isinstance(self.value, (dict, list)) else f", not {_show(self.value)}"


def _say_choice(said: _Said) -> tuple[str, str]:
    choices = said.context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
    return f"must be one of {', '.join(choices)}{said.got}", _near(said.value, choices)


def _say_text(said: _Said) -> tuple[str, str]:
    if isinstance(said.value, bool):
        return f"must be text{said.got}", "put it in quotes"
    plain = isinstance(said.value, (int, float)) and not said.secret
    return f"must be text{said.got}", f'quote it: "{said.value}"' if plain else "write text"


def _say_number(said: _Said) -> tuple[str, str]:
    quoted = isinstance(said.value, str) and said.value.replace(".", "", 1).isdigit() and not said.secret
    return f"must be a number{said.got}", f"write {said.value} without quotes" if quoted else "write a number"


def _say_limit(words: str, limit: str) -> _Sayer:
    return lambda said: (f"must be {words} {said.context[limit]}{said.got}", "change the number")


def _say_form(said: _Said) -> tuple[str, str]:
    return f"does not have the right form{said.got}", _form(said.context["pattern"])


_Sayer = Callable[[_Said], tuple[str, str]]
_SAY: dict[str, _Sayer] = {
    "sternway": lambda said: (str(said.context["message"]), str(said.context["fix"])),
    "missing": lambda said: (f"`{said.last}` is missing", f"add `{said.last}`"),
    "extra_forbidden": lambda said: (
        f"unknown field `{said.last}`",
        suggest(said.last, _fields_at(said.model, said.loc[:-1])),
    ),
    "literal_error": _say_choice,
    "string_type": _say_text,
    "string_pattern_mismatch": _say_form,
    "string_too_short": lambda _: ("must not be empty", "write text"),
    "int_type": _say_number,
    "float_type": _say_number,
    "finite_number": lambda said: (f"must be a finite number{said.got}", "write a number"),
    "bool_type": lambda said: (f"must be true or false{said.got}", "write true or false, without quotes"),
    "model_type": lambda said: (f"must be a mapping{said.got}", "write `field: value` lines, indented below it"),
    "dict_type": lambda said: (f"must be a mapping{said.got}", "write `field: value` lines, indented below it"),
    "tuple_type": lambda said: (f"must be a list{said.got}", "write each item on a line that begins with `- `"),
    "greater_than_equal": _say_limit("at least", "ge"),
    "greater_than": _say_limit("above", "gt"),
    "less_than_equal": _say_limit("at most", "le"),
}


def _form(pattern: str) -> str:
    if pattern.startswith("^[a-z0-9]"):
        return "use lower-case letters, digits and dashes; begin and end with a letter or digit"
    return "begin with `/`" if pattern.startswith("^/") else f"it must match {pattern}"


def _near(value: Any, choices: Sequence[str]) -> str:
    near = get_close_matches(str(value).lower(), [choice.lower() for choice in choices], n=1, cutoff=0.6)
    return f"did you mean `{next(c for c in choices if c.lower() == near[0])}`?" if near else ""


def _show(value: Any) -> str:
    if value is None:
        return "empty"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _real_path(value: Any, loc: Sequence[str | int]) -> Path:
    """Those parts of an error's location that stand in the document (pydantic adds the names of validators)."""
    path: list[str | int] = []
    for part in loc:
        inside = part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)
        if inside:
            value = value[part]
            path.append(part)
    return tuple(path)


def _fields_at(model: type[BaseModel], loc: Sequence[str | int]) -> set[str]:
    """Find the fields that may stand at a location."""
    found: Any = model
    for part in loc:
        if isinstance(found, type) and issubclass(found, BaseModel):
            by_alias = {f.alias or name: f.annotation for name, f in found.model_fields.items()}
            found = unwrap(by_alias[str(part)]) if part in by_alias else found
        elif get_origin(found) in (tuple, dict):
            found = unwrap(get_args(found)[-1 if get_origin(found) is dict else 0])
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        return set()
    own = {f.alias or name for name, f in found.model_fields.items()}
    return own | (found.unused if issubclass(found, Kube) else frozenset())


def unwrap(annotation: Any) -> Any:
    """`X | None` -> `X`; `Annotated[X, …]` -> `X`."""
    while True:
        if hasattr(annotation, "__metadata__"):
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
        else:
            return annotation
