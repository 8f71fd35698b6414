"""Our models' JSON schemas -> the structural schemas of custom resource definitions. Used by `custom_resources`.

What a structural schema cannot say (`10` or `10%`) is left open there, with the limits that it can state; the operator reads
every manifest with the models themselves and says what is wrong in its conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

MOST_ITEMS = 64
MOST_LETTERS = 4096
_KEPT = (
    "type",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "format",
)

Schema = dict[str, Any]


def structural(model: type[BaseModel], rules: Mapping[str, tuple[tuple[str, str], ...]]) -> Schema:
    """Give the model's schema without references. rules: a model's name -> ((CEL rule, message), …)."""
    schema = model.model_json_schema()
    return _convert(schema, schema.get("$defs", {}), rules)


def _convert(schema: Schema, known: Mapping[str, Schema], rules: Mapping[str, tuple[tuple[str, str], ...]]) -> Schema:
    """One level: what stands beside a reference or a choice (its description, its default) is kept."""
    if "$ref" in schema:
        return _convert({**known[schema["$ref"].rpartition("/")[2]], **_but(schema, "$ref")}, known, rules)
    if "anyOf" in schema:
        choices = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
        return _convert({**_merged(choices), **_but(schema, "anyOf")}, known, rules)
    found = _value(schema)
    if "type" not in found:
        found["x-kubernetes-preserve-unknown-fields"] = True
    elif found["type"] == "object":
        found |= _fields(schema, known, rules)
    elif found["type"] == "array":
        found |= {"items": _convert(schema.get("items", {}), known, rules), "maxItems": MOST_ITEMS}
    elif found["type"] == "string" and "enum" not in found and "format" not in found:
        found.setdefault("maxLength", MOST_LETTERS)
    stated = rules.get(schema.get("title", "")) if "properties" in schema else None  # a field has a title too
    if stated:
        found["x-kubernetes-validations"] = [{"rule": rule, "message": message} for rule, message in stated]
    return found


def _value(schema: Schema) -> Schema:
    """What a value may be, and what it is for."""
    found: Schema = {key: schema[key] for key in _KEPT if key in schema}
    if "const" in schema:
        found["enum"] = [schema["const"]]
    if "exclusiveMinimum" in schema:
        found |= {"minimum": schema["exclusiveMinimum"], "exclusiveMinimum": True}
    said = _said(schema)
    return {"description": said, **found} if said else found


def _fields(schema: Schema, known: Mapping[str, Schema], rules: Mapping[str, tuple[tuple[str, str], ...]]) -> Schema:
    more = schema.get("additionalProperties")
    if isinstance(more, dict):
        return {"additionalProperties": _convert(more, known, rules)}
    found: Schema = {
        "properties": {name: _convert(field, known, rules) for name, field in schema.get("properties", {}).items()}
    }
    return found | ({"required": schema["required"]} if "required" in schema else {})


def _merged(choices: list[Schema]) -> Schema:
    """One choice as it stands; of several the limits, which bind only the types that they are about."""
    if len(choices) == 1:
        return choices[0]
    return {key: value for choice in choices for key, value in choice.items() if key in ("minimum", "pattern")}


def _but(schema: Schema, key: str) -> Schema:
    return {name: value for name, value in schema.items() if name != key}


def _said(schema: Schema) -> str:
    """The description, with the default in words: the operator fills it in, so that what a Guard leaves out follows us."""
    said = str(schema.get("description", ""))
    default = schema.get("default")
    if default in (None, "", [], {}) or isinstance(default, (list, dict)):
        return said
    shown = (
        str(default).lower() if isinstance(default, bool) else f"{default:g}" if isinstance(default, float) else default
    )
    return f"{said}\nDefault: {shown}." if said else f"Default: {shown}."
