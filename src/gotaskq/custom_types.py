"""Types msgspec does not know but a task may use: pydantic models, taken in and written out by their own methods.

Used by `signature` and `payload_type`. Pydantic is not imported: a model is known by what it can do.
"""

from typing import Any, Final, cast

import msgspec

MAX_REASON: Final = 200  # characters of a model's own words


def is_model(cls: object) -> bool:
    """Whether values of this class come from JSON and go to JSON by methods of their own, as pydantic's do."""
    return isinstance(cls, type) and all(hasattr(cls, name) for name in ("model_validate_json", "model_dump"))


def from_json(cls: Any, value: Any) -> Any:
    """Make a value of a class msgspec does not know; raises ValueError for what does not fit it."""
    if cls is object:
        return value
    try:
        # As JSON, so that a date in it is read from text even by a strict model.
        return cls.model_validate_json(msgspec.json.encode(value))
    except ValueError as error:
        raise ValueError(_first_reason(error)) from error


def to_json(value: Any) -> Any:
    """Return what a value of a class msgspec does not know is as JSON; raises TypeError when it is nothing."""
    if is_model(type(value)):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form; pass what it is made of")


def schema_of(cls: Any, ref_template: str) -> dict[str, Any]:
    """Return the JSON Schema of a class msgspec does not know; what it refers to is in its `$defs`."""
    return {} if cls is object else cast("dict[str, Any]", cls.model_json_schema(ref_template=ref_template))


def _first_reason(error: ValueError) -> str:
    """Return the first thing a model says is wrong, in one line."""
    try:
        first = cast("Any", error).errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = f"{place}: {first['msg']}" if place else str(first["msg"])
    except Exception:  # noqa: BLE001 - not pydantic's error after all
        reason = str(error)
    return " ".join(reason.split())[:MAX_REASON]
