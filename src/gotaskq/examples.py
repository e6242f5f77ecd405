"""Examples: a value for a JSON Schema, for people to read and to change.

Used by `descriptions`. The schema's own examples and defaults come first; the rest is made up, and may break a rule.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gotaskq.errors import InvalidPayloadError

BY_FORMAT: Final = {
    "date-time": "2026-11-23T10:00:00Z",
    "date": "2026-11-23",
    "time": "10:00:00Z",
    "duration": "PT1H",
    "uuid": "8d3b7c5e-4c0f-4a53-9d4b-0c3f2a6d1e90",
    "decimal": "1.50",
    "uri": "https://example.com",
    "email": "ada@example.com",
}
BY_ENCODING: Final = {"base64": "aGVsbG8="}
# Tried in turn where a pattern is asked for; most ask for a letter, a number, or an address.
GUESSES: Final = (
    "ada@example.com",
    "text",
    "TEXT",
    "a",
    "A",
    "a1",
    "A1",
    "1",
    "12",
    "123",
    "1234",
    "https://example.com",
)
ALL_GUESSES: Final = (*GUESSES, *BY_FORMAT.values(), *BY_ENCODING.values())
MAX_DEPTH: Final = 8  # a type may be made of itself
MAX_MENDED: Final = 16  # texts in one example

_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def example_of(schema: Mapping[str, Any], definitions: Mapping[str, Any], *, depth: int = 0) -> Any:
    """Return a value for a schema whose references lead into `definitions`, by the last part of their path."""
    if "$ref" in schema:
        return example_of(definitions.get(schema["$ref"].rpartition("/")[2], {}), definitions, depth=depth + 1)
    for given in ("examples", "enum"):
        if schema.get(given):
            return schema[given][0]
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            options = [option for option in schema[choice] if option.get("type") != "null"]
            return example_of(options[0], definitions, depth=depth + 1) if options else None
    return _of_type(schema, definitions, depth)


def mend(example: Any, check: Callable[[bytes], None]) -> Any:
    """Return an example with the texts `check` refuses replaced by such as it takes, as far as one is known.

    Not every form is in the schema: that of a datetime inside a user's own class is not.
    """
    for _ in range(MAX_MENDED):
        place = _blamed(example, check)
        fitting = next((mended for mended in _guesses(example, place) if _blamed(mended, check) != place), None)
        if fitting is None:
            return example
        example = fitting
    return example


def _blamed(example: Any, check: Callable[[bytes], None]) -> str | None:
    """Return the path to what the check refuses, or None."""
    try:
        check(msgspec.json.encode(example))
    except InvalidPayloadError as error:
        return error.field
    return None


def _guesses(example: Any, place: str | None) -> "list[Any]":
    """Return the example with other texts at this place; none where the place holds no text."""
    steps = [int(index) if index else name for name, index in _STEP.findall((place or "").removeprefix("$.payload"))]
    return [_with(example, steps, guess) for guess in ALL_GUESSES] if steps and _holds_text(example, steps) else []


def _holds_text(value: Any, steps: "list[str | int]") -> bool:
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return False
    return isinstance(value, str)


def _with(value: Any, steps: "list[str | int]", text: str) -> Any:
    if not steps:
        return text
    first, *rest = steps
    items = value.items() if isinstance(value, dict) else enumerate(value)
    changed = {key: _with(item, rest, text) if key == first else item for key, item in items}
    return changed if isinstance(value, dict) else list(changed.values())


def _of_type(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> Any:
    types = schema.get("type")
    match next((one for one in types if one != "null"), None) if isinstance(types, list) else types:
        case "object":
            return _members(schema, definitions, depth)
        case "array":
            return _items(schema, definitions, depth)
        case "string":
            return _text(schema)
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return True
        case _:
            return None


def _members(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> dict[str, Any]:
    members: Mapping[str, Any] = schema.get("properties", {})
    required = schema.get("required", ()) if depth > MAX_DEPTH else members
    return {name: example_of(members[name], definitions, depth=depth + 1) for name in required if name in members}


def _items(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> list[Any]:
    items = [example_of(item, definitions, depth=depth + 1) for item in schema.get("prefixItems", ())]
    least = schema.get("minItems", 0 if depth > MAX_DEPTH else 1)
    if not items and isinstance(schema.get("items"), dict) and schema.get("maxItems", 1):
        items = [example_of(schema["items"], definitions, depth=depth + 1)] * least
    return items


def _text(schema: Mapping[str, Any]) -> str:
    for kind, values in (("format", BY_FORMAT), ("contentEncoding", BY_ENCODING)):
        if schema.get(kind) in values:
            return values[schema[kind]]
    pattern = schema.get("pattern", "")
    text = next((guess for guess in GUESSES[1 if not pattern else 0 :] if re.search(pattern, guess)), "text")
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]


def _number(schema: Mapping[str, Any]) -> Any:
    """Return the number next to 1 that is within the bounds."""
    step = schema.get("multipleOf", 1)
    least = schema.get("minimum", schema.get("exclusiveMinimum", -step) + step)
    most = schema.get("maximum", schema.get("exclusiveMaximum", max(least, 1) + step) - step)
    number = min(max(1, least), most)
    return number if number % step == 0 else -(-number // step) * step
