"""Signatures: what can be a payload is described, what cannot is refused by the parameter's name."""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from msgspec import NODEFAULT, Meta

from gotaskq import Context
from gotaskq.errors import RegistrationError
from gotaskq.signature import Parameter, can_be_read, make_struct, read_signature


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Address:
    street: str


@attrs.define
class Parcel:
    grams: int


class Point(msgspec.Struct):
    x: int
    inner: Point | None = None


class Place(NamedTuple):
    row: int


class Sizes(TypedDict):
    small: int


class Person(pydantic.BaseModel):
    name: str


class Connection:
    """Nothing JSON could hold."""


def test_a_function_is_described_without_its_context() -> None:
    async def send(ctx: Context, to: str, subject: str = "hi", *, urgent: bool = False) -> int:
        return 0

    signature = read_signature(send)

    assert signature.takes_context
    assert signature.parameters == (
        Parameter("to", str, NODEFAULT),
        Parameter("subject", str, "hi"),
        Parameter("urgent", bool, False),
    )
    assert signature.positional == ("to", "subject")
    assert signature.returns is int


def test_a_function_may_take_nothing() -> None:
    def sweep() -> None: ...

    signature = read_signature(sweep)

    assert not signature.takes_context
    assert signature.parameters == ()


@pytest.mark.parametrize(
    "annotation",
    [
        *[str, int, float, bool, bytes, None, Any, object],
        *[datetime, date, time, timedelta, UUID, Decimal, Place, Colour, Address, Parcel, Point, Sizes, Person],
        *[list[Person], dict[str, Point], tuple[int, ...], set[UUID], int | None, Person | None],
        *[Literal["a", "b"], Annotated[int, Meta(ge=1)]],
    ],
)
def test_what_json_can_hold_is_taken(annotation: object) -> None:
    def handle(value: object) -> None: ...

    handle.__annotations__["value"] = annotation

    [parameter] = read_signature(handle).parameters

    assert parameter.name == "value"


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (Connection, "has the type Connection, which no payload can hold"),
        (list[Connection], "has the type Connection, which no payload can hold"),
        (dict[str, Connection | None], "has the type Connection, which no payload can hold"),
        (complex, "has the type complex, which no payload can hold"),
        (Callable[[], None], "which no payload can hold"),
        (Address | Parcel, "cannot be read from JSON: Type unions may not contain"),
        (Annotated[int, Meta(pattern="@")], "cannot be read from JSON: Can only set `pattern` on a str"),
        ("Fraction", "has the annotation 'Fraction', which cannot be looked up: name 'Fraction' is not defined"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_name(annotation: object, reason: str) -> None:
    def handle(first: int, value: object) -> None: ...

    handle.__annotations__["value"] = annotation

    with pytest.raises(RegistrationError) as refused:
        read_signature(handle)
    assert "parameter 'value' of" in str(refused.value)
    assert "handle" in str(refused.value)
    assert reason in str(refused.value)


def many(*values: int) -> None: ...
def named(**values: int) -> None: ...
def by_position(value: int, /) -> None: ...
def bare(value) -> None: ...  # type: ignore[no-untyped-def]
def late_context(value: int, ctx: Context) -> None: ...
def wrong_default(value: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013
def not_a_number(value: float = float("nan")) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (many, "parameter 'values' of many takes any number of arguments"),
        (named, "parameter 'values' of named takes any number of arguments"),
        (by_position, "parameter 'value' of by_position is positional-only"),
        (bare, "parameter 'value' of bare has no annotation"),
        (late_context, "parameter 'ctx' of late_context is a Context, which only the first parameter can be"),
        (wrong_default, "parameter 'value' of wrong_default has the default None, which does not fit its own type"),
        (not_a_number, "parameter 'value' of not_a_number has the default nan, which does not fit its own type"),
    ],
)
def test_a_parameter_no_payload_could_fill_is_refused(function: Callable[..., object], words: str) -> None:
    with pytest.raises(RegistrationError) as refused:
        read_signature(function)

    assert words in str(refused.value)


def steps() -> Iterator[int]:
    yield 1


async def async_steps() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (steps, "is a generator"),
        (async_steps, "is a generator"),
        (Address, "is no function"),
        (functools.partial(many, 1), "is no function"),
    ],
)
def test_only_functions_that_return_are_taken(function: Callable[..., object], words: str) -> None:
    with pytest.raises(RegistrationError, match=words):
        read_signature(function)


def test_a_decorated_function_is_described_by_what_it_decorates() -> None:
    def send(to: Address) -> None: ...

    @functools.wraps(send)
    def traced(*args: Any, **kwargs: Any) -> None: ...

    [parameter] = read_signature(traced).parameters

    assert parameter == Parameter("to", Address, NODEFAULT)


@pytest.mark.parametrize("returned", [Connection, "Fraction", "not an expression"])
def test_a_result_json_cannot_hold_is_any(returned: object) -> None:
    def handle() -> object: ...

    handle.__annotations__["return"] = returned

    assert read_signature(handle).returns is Any


def test_a_type_made_of_itself_can_be_read() -> None:
    assert can_be_read(Point)
    assert not can_be_read(Connection)


def test_a_struct_has_a_member_for_each_parameter_and_no_other() -> None:
    def resize(path: str, widths: list[int] = [800]) -> None: ...  # noqa: B006

    struct = make_struct(read_signature(resize), job_type="img:resize", version=1)

    assert struct.__name__ == "img_3a_resize"
    assert msgspec.json.encode(struct(path="a")) == b'{"path":"a","widths":[800]}'
    with pytest.raises(msgspec.ValidationError, match="unknown field `width`"):
        msgspec.json.decode(b'{"path":"a","width":1}', type=struct)


def test_a_default_is_not_shared() -> None:
    def resize(widths: list[int] = [800]) -> None: ...  # noqa: B006

    struct = make_struct(read_signature(resize), job_type="resize", version=1)
    first: Any = struct()
    first.widths.append(1)

    second: Any = struct()

    assert second.widths == [800]
