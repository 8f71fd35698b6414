"""The rules of other tools, each written from the facts named in its module. `choose_rules` reads `--compare`.

A rule sees the recording as it is, a second at a time, from the candidate's first answer on. A new rule is one file
here and one line in `_KNOWN`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import NoReturn

from sternway.backtest.peers.argo import Argo, ArgoSettings
from sternway.backtest.peers.flagger import Flagger, FlaggerSettings
from sternway.backtest.peers.kayenta import Kayenta, KayentaSettings
from sternway.backtest.peers.rule import Rule
from sternway.errors import InvalidInput, Problem
from sternway.manifests.models.base import parse_duration

WHERE = "--compare"
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A rule to compare with: its label in the results, and how to make one for a release."""

    label: str
    make: Callable[[], Rule]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A rule's settings on the command line: name -> (field, how to read it)."""

    fields: Mapping[str, tuple[str, Callable[[str], float]]]
    make: Callable[[Values], Callable[[], Rule]]


def choose_rules(texts: Sequence[str]) -> tuple[Chosen, ...]:
    """`flagger:interval=10s,threshold=1,argo` -> two rules. Raises InvalidInput."""
    chosen: list[Chosen] = []
    for written in _split(texts):
        name, _, settings = written.partition(":")
        if name not in _KNOWN:
            near = get_close_matches(name, _KNOWN, n=1)
            fix = f"did you mean `{near[0]}`?" if near else f"there is: {', '.join(_KNOWN)}"
            _refuse(f"{name!r} is no rule", fix)
        label = written if any(one.label == name for one in chosen) else name
        if any(one.label == label for one in chosen):
            _refuse(f"{written!r} stands there twice", "take one of them out")
        known = _KNOWN[name]
        values = dict(_setting(name, known, text) for text in settings.split(",") if text)
        chosen.append(Chosen(label=label, make=known.make(values)))
    return tuple(chosen)


def _split(texts: Sequence[str]) -> list[str]:
    """A comma separates rules and the settings of one rule; a piece `name=value` belongs to the rule before it."""
    found: list[str] = []
    for text in texts:
        for piece in (part.strip() for part in text.split(",")):
            if found and "=" in piece and ":" not in piece:
                found[-1] += f",{piece}" if ":" in found[-1] else f":{piece}"
            elif piece:
                found.append(piece)
    return found


def _setting(rule: str, known: _Known, text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    if name not in known.fields:
        near = get_close_matches(name, known.fields, n=1)
        fix = f"did you mean `{near[0]}`?" if near else f"there is: {', '.join(known.fields)}"
        _refuse(f"{rule} has no setting {name!r}", fix)
    field, read = known.fields[name]
    try:
        number = read(value)
    except ValueError:  # pydantic's custom errors are ValueErrors too
        example = "write for example `30s` or `5m`" if read is _duration else "write a number"
        _refuse(f"{rule}: {name} cannot be {value!r}", example)
    return field, number


def _refuse(message: str, fix: str) -> NoReturn:
    raise InvalidInput((Problem(file=WHERE, message=message, fix=fix),))


def _duration(text: str) -> float:
    seconds = parse_duration(text)
    if seconds < 1.0:
        raise ValueError(text)
    return seconds


def _number(text: str) -> float:
    number = float(text)
    if not isfinite(number) or number < 0:
        raise ValueError(text)
    return number


def _whole(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _chance(text: str) -> float:
    number = float(text)
    if not 0.0 < number < 1.0:
        raise ValueError(text)
    return number


def _flagger(values: Values) -> Callable[[], Rule]:
    settings = FlaggerSettings(**values)  # type: ignore[arg-type]  # `_whole` reads the whole numbers
    return lambda: Flagger(settings)


def _argo(values: Values) -> Callable[[], Rule]:
    settings = ArgoSettings(**values)  # type: ignore[arg-type]  # `_whole` reads the whole numbers
    return lambda: Argo(settings)


def _kayenta(values: Values) -> Callable[[], Rule]:
    interval_s = values.get("interval_s")
    if interval_s is not None and "lifetime_s" not in values:
        values = {**values, "lifetime_s": max(interval_s, KayentaSettings().lifetime_s)}
    settings = KayentaSettings(**values)
    return lambda: Kayenta(settings)


_KNOWN: Mapping[str, _Known] = {
    "flagger": _Known(
        fields={
            "interval": ("interval_s", _duration),
            "threshold": ("threshold", _whole),
            "success": ("success_percent", _number),
            "latency": ("latency_ms", _number),
            "window": ("window_s", _duration),
        },
        make=_flagger,
    ),
    "argo": _Known(
        fields={
            "interval": ("interval_s", _duration),
            "failureLimit": ("failure_limit", _whole),
            "success": ("success", _number),
            "window": ("window_s", _duration),
        },
        make=_argo,
    ),
    "kayenta": _Known(
        fields={
            "interval": ("interval_s", _duration),
            "lifetime": ("lifetime_s", _duration),
            "tolerance": ("tolerance", _number),
            "confidence": ("confidence", _chance),
            "allowedIncrease": ("allowed_increase", _number),
            "marginal": ("marginal", _number),
        },
        make=_kayenta,
    ),
}
