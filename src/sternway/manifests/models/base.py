"""What every manifest model shares: strict scalars, durations, percentages, and the two base classes."""

from __future__ import annotations

import math
import re
from collections.abc import Sized
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, Strict, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

_UNITS_S = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
_YEAR_S = 366 * 86_400
_MOST = 2_147_483_647
_DURATION = r"(\d+(\.\d+)?(ms|s|m|h|d))+"
_TOKEN = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

Where = tuple[str | int, ...]
T = TypeVar("T", bound=Sized)


@dataclass(frozen=True, slots=True)
class Words:
    """What the reference pages call a type, and an example of it."""

    text: str


def wrong(message: str, fix: str = "", at: Where = ()) -> PydanticCustomError:
    """Make the error for a mistake that a validator found. `at` leads from the validated value to the culprit."""
    return PydanticCustomError("sternway", "{message}", {"message": message, "fix": fix, "at": at})


def parse_duration(value: Any) -> float:
    """`30s`, `1m30s`, `250ms` -> seconds."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise wrong(f"{value} has no unit", f"write `{value}s` for seconds")
    if not isinstance(value, str) or not re.fullmatch(_DURATION, value):
        raise wrong(f"{value!r} is no duration", "write for example `250ms`, `30s`, `5m` or `1h30m`")
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", value)
    seconds = float(sum((Decimal(number) * _UNITS_S[unit] for number, unit in parts), Decimal(0)))
    if seconds > _YEAR_S:
        raise wrong(f"{value} is longer than a year", "write a shorter duration")
    return seconds


def duration(seconds: float) -> str:
    """Seconds -> the way a person writes them: 300 -> `5m`."""
    left = Decimal(str(seconds))
    if left == 0:
        return "0s"
    for unit in ("h", "m", "s"):
        if left % _UNITS_S[unit] == 0:
            return f"{int(left / _UNITS_S[unit])}{unit}"
    return f"{(left / _UNITS_S['ms']).normalize():f}ms"


def spelled(seconds: float) -> Any:
    """Spell a default of a Duration field; it is parsed like anything that a person writes."""
    return duration(seconds)


def not_empty(items: T) -> T:
    """Refuse an empty list."""
    if not items:
        raise wrong("must not be empty", "write at least one item, or take the field out")
    return items


def parse_percent(value: Any) -> float:
    """`10`, `0.5` or `10%` -> a number of percent."""
    number = value
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?\s?%", value):
        number = float(value.rstrip("% "))
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
        raise wrong(f"{value!r} is no percentage", "write for example `10` or `10%`")
    if number < 0:
        raise wrong(f"{value} % is below 0", "write a percentage from 0 on")
    return float(number)


def parse_share(value: Any) -> float:
    """Read a percentage that cannot pass 100."""
    number = parse_percent(value)
    if number > 100:
        raise wrong(f"{number:g} % is more than all of it", "write at most 100")
    return number


def parse_weight(value: Any) -> float:
    """Read a share that is not nothing."""
    number = parse_share(value)
    if number < 0.0001:
        raise wrong(f"{number:g} % is nothing", "write at least 0.0001, or leave it out")
    return number


def parse_chance(value: Any) -> float:
    """`0.01` or `1%` -> a chance between 0 and 1."""
    number = parse_percent(value)
    chance = float(Decimal(str(number)) / 100) if isinstance(value, str) else number
    if not 0 < chance < 1:
        raise wrong(f"{value} is no chance between 0 and 1", "write for example `0.01` or `1%`")
    return chance


def parse_quantile(value: Any) -> float:
    """`p99` or 0.99 -> 0.99."""
    number = value
    if isinstance(value, str) and re.fullmatch(r"p\d+(\.\d+)?", value):
        number = float(Decimal(value[1:]) / 100)
    if isinstance(number, bool) or not isinstance(number, float) or not 0 < number < 1:
        raise wrong(f"{value!r} is no quantile", "write for example `p99` or `0.99`")
    return number


def quantile_schema() -> WithJsonSchema:
    """Say the form of a quantile."""
    return WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^p\d+(\.\d+)?$"}, {"type": "number"}]})


def parse_int_or_name(value: Any) -> int | str:
    """Read a port's number or its name."""
    if isinstance(value, str) and value and not value.isdigit():
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    raise wrong(f"{value!r} is neither a port number nor a port's name", "write 1 to 65535, or the name of a port")


def parse_header_name(value: Any) -> str:
    """Read the name of a header or a cookie."""
    if not isinstance(value, str) or not _TOKEN.match(value):
        raise wrong(f"{value!r} is no name of a header or cookie", "use letters, digits and dashes")
    return value


def parse_header_value(value: Any) -> str:
    """Read the value of a header or a cookie."""
    if not isinstance(value, str):
        raise wrong("the value must be text", "put it in quotes")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise wrong("the value holds control characters", "write it on one line")
    return value


_NUMBER = [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d+)?\s?%$"}]

Text = Annotated[str, Strict(), Words("text")]
Whole = Annotated[int, Strict(), Words("whole number")]
Count = Annotated[int, Strict(), Field(ge=1, le=_MOST), Words("whole number from 1")]
Natural = Annotated[int, Strict(), Field(ge=0, le=_MOST), Words("whole number from 0")]
Port = Annotated[int, Strict(), Field(ge=1, le=65535), Words("port")]
Number = Annotated[float, Strict(), Words("number")]
Positive = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False), Words("number above 0")]
Flag = Annotated[bool, Strict(), Words("true or false")]
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION}$"}),
    Words("duration"),
]
Percent = Annotated[float, BeforeValidator(parse_percent), WithJsonSchema({"anyOf": _NUMBER}), Words("percentage")]
Share = Annotated[float, BeforeValidator(parse_share), WithJsonSchema({"anyOf": _NUMBER}), Words("percentage to 100")]
Weight = Annotated[
    float, BeforeValidator(parse_weight), WithJsonSchema({"anyOf": _NUMBER}), Words("percentage above 0, to 100")
]
Chance = Annotated[float, BeforeValidator(parse_chance), WithJsonSchema({"anyOf": _NUMBER}), Words("chance")]
IntOrName = Annotated[Any, BeforeValidator(parse_int_or_name)]
HeaderName = Annotated[str, BeforeValidator(parse_header_name), WithJsonSchema({"type": "string"}), Words("name")]

HeaderText = Annotated[str, BeforeValidator(parse_header_value), WithJsonSchema({"type": "string"}), Words("text")]


class Ours(BaseModel):
    """A part of a manifest that is ours: camelCase, nothing unknown, nothing changed later."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


class Kube(BaseModel):
    """A part of a Kubernetes manifest. `unused`: real fields that are accepted here and do nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)
    unused: ClassVar[frozenset[str]] = frozenset()
    _stated_unused: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="wrap")
    @classmethod
    def _set_unused_aside(cls, value: Any, handler: Any) -> Any:
        if not isinstance(value, dict):
            return handler(value)
        # a field that is written without a value is a field that is left out, as Kubernetes has it
        model = handler({k: v for k, v in value.items() if k not in cls.unused and v is not None})
        stated = tuple(k for k in value if k in cls.unused and value[k] not in (None, {}, []))
        model._stated_unused = stated  # noqa: SLF001 - the model's own
        return model

    def stated_unused(self) -> tuple[str, ...]:
        """Find the fields that were written and do nothing here."""
        return self._stated_unused


def names(text: str) -> frozenset[str]:
    """Make a set of field names from words."""
    return frozenset(text.split())
