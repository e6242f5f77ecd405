"""Payloads checked by a schema alone: never refused where the code takes them, and else in the code's own words."""

import dataclasses
import enum
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

from gotaskq import TaskQ
from gotaskq.descriptions import notices_of
from gotaskq.errors import InvalidPayloadError
from gotaskq.payload_schema import PayloadSchema


class Item(Struct):
    sku: Annotated[str, Meta(min_length=3)]
    part: "Item | None" = None


class Cat(Struct, tag=True):
    lives: int


class Dog(Struct, tag="dog", forbid_unknown_fields=True):
    name: str


class Point(NamedTuple):
    x: int
    y: int = 0


ORIGIN = Point(0)


class Size(TypedDict, total=False):
    width: int


@dataclasses.dataclass
class Mail:
    to: str
    size: Size


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Person(pydantic.BaseModel):
    age: int
    friends: "list[Person]" = []


def numbers(
    whole: int,
    bounded: Annotated[int, Meta(ge=1, lt=5)],
    real: float = 0.5,
    exact: Decimal = Decimal(1),
    flag: bool = False,
) -> None: ...


def texts(
    to: Annotated[str, Meta(pattern="@", max_length=9)],
    at: datetime | None = None,
    day: date | None = None,
    hour: time | None = None,
    span: timedelta | None = None,
    key: UUID | None = None,
    raw: Annotated[bytes, Meta(max_length=3)] = b"",
) -> None: ...


def objects(item: Item, mail: Mail | None = None, cat: Cat | None = None, anything: object = None) -> None: ...


def choices(
    pet: Cat | Dog, colour: Colour = Colour.RED, level: Level = Level.LOW, word: Literal["a", 1] | None = None
) -> None: ...


def lists(
    items: Annotated[list[Item], Meta(min_length=1)],
    pair: tuple[int, str] = (1, ""),
    many: tuple[int, ...] = (),
    unique: Annotated[set[int], Meta(max_length=1)] = set(),  # noqa: B006 - copied for each job
    point: Point = ORIGIN,
    names: Annotated[dict[str, int], Meta(max_length=2)] = {},  # noqa: B006 - likewise
    by_number: dict[int, Item] = {},  # noqa: B006 - likewise
) -> None: ...


def models(person: Person, people: list[Person] = []) -> None: ...  # noqa: B006 - likewise


def nothing() -> None: ...


FUNCTIONS = (numbers, texts, objects, choices, lists, models, nothing)


def checks_of(function: Callable[..., None], **options: Any) -> tuple[Callable[[bytes], None], Callable[[bytes], None]]:
    """Return what checks payloads where the code is, and what does where only its notice is."""
    app = TaskQ()
    task = app.task("task", **options)(function)
    [notice] = notices_of(app.tasks, app.job_types)
    entry = msgspec.json.decode(notice)
    return task.payload_type.check, PayloadSchema("task", version=entry["version"], schema=entry["schema"]).check


def refusal(check: Callable[[bytes], None], payload: object) -> tuple[str | None, str] | None:
    try:
        check(payload if isinstance(payload, bytes) else msgspec.json.encode(payload))
    except InvalidPayloadError as error:
        return error.field, str(error)
    return None


scalars = st.none() | st.booleans() | st.integers(-3, 9) | st.floats(allow_nan=False, allow_infinity=False)
words = st.sampled_from(
    [
        *("", "a@b", "abcd", "red", "dog", "Cat", "AAAA", "2026-11-23", "2026-11-23T10:00:00Z", "2026-11-23T10:00:00"),
        *("10:00:00", "PT1H", "8d3b7c5e-4c0f-4a53-9d4b-0c3f2a6d1e90", "1.50", "1", "a@b.example.com", "QUJDREVG"),
    ]
)
NAMES = ("type", "sku", "part", "to", "size", "width", "lives", "name", "age", "friends", "1", "x", "$v", "other")
values = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)
CHECKS = {function.__name__: (function, *checks_of(function)) for function in FUNCTIONS}


@st.composite
def payloads(draw: st.DrawFn) -> tuple[str, object]:
    """Draw a payload for one of the functions: about its members, and with luck what they hold."""
    name = draw(st.sampled_from(sorted(CHECKS)))
    members = [*CHECKS[name][0].__annotations__.keys() - {"return"}]
    if not members or draw(st.integers(0, 9)) == 0:
        return name, draw(values)
    return name, draw(st.dictionaries(st.sampled_from(sorted(members)), values, max_size=len(members)))


@settings(max_examples=1_500, deadline=None)
@given(payloads())
def test_what_the_code_takes_is_never_refused(drawn: tuple[str, object]) -> None:
    name, payload = drawn
    _, by_code, by_schema = CHECKS[name]

    refused = refusal(by_schema, payload)

    if refused is not None:
        assert refusal(by_code, payload) is not None


RIGHT = {"sku": "abc", "part": {"sku": "abcd"}}


@pytest.mark.parametrize(
    ("function", "payload", "field"),
    [
        (numbers, {"whole": 1}, "$.payload.bounded"),
        (numbers, {"whole": "1", "bounded": 1}, "$.payload.whole"),
        (numbers, {"whole": 1.0, "bounded": 1}, "$.payload.whole"),
        (numbers, {"whole": 1, "bounded": 5}, "$.payload.bounded"),
        (numbers, {"whole": 1, "bounded": 1, "exact": "one"}, "$.payload.exact"),
        (numbers, {"whole": 1, "bounded": 1, "more": 1}, "$.payload.more"),
        (texts, {"to": "nobody"}, "$.payload.to"),
        (texts, {"to": 7}, "$.payload.to"),
        (texts, {"to": "a@b", "at": "soon"}, "$.payload.at"),
        (texts, {"to": "a@b", "key": "1"}, "$.payload.key"),
        (texts, {"to": "a@b", "span": "long"}, "$.payload.span"),
        (texts, {"to": "a@b", "raw": "?"}, "$.payload.raw"),
        (objects, {"item": {"sku": "ab"}}, "$.payload.item.sku"),
        (objects, {"item": RIGHT, "mail": {"to": "a", "size": {"width": "x"}}}, "$.payload.mail.size.width"),
        (objects, {"item": RIGHT, "cat": {"lives": "nine"}}, "$.payload.cat.lives"),
        (choices, {"pet": {"type": "Cat", "lives": 9}, "colour": "blue"}, "$.payload.colour"),
        (choices, {"pet": {"type": "Cat", "lives": 9}, "level": 2}, "$.payload.level"),
        (choices, {"pet": {"type": "Cat", "lives": 9}, "word": "b"}, "$.payload.word"),
        (lists, {"items": []}, "$.payload.items"),
        (lists, {"items": [RIGHT, {"sku": 1}]}, "$.payload.items[1].sku"),
        (lists, {"items": [RIGHT], "pair": [1]}, "$.payload.pair"),
        (lists, {"items": [RIGHT], "names": {"a": "x"}}, "$.payload.names[...]"),
        (models, {"people": []}, "$.payload.person"),
        (nothing, {"a": 1}, "$.payload.a"),
        (nothing, [], "$.payload"),
    ],
)
def test_what_is_wrong_is_named_as_the_code_names_it(
    function: Callable[..., None], payload: object, field: str
) -> None:
    by_code, by_schema = checks_of(function)

    assert refusal(by_schema, payload) == refusal(by_code, payload)
    assert refusal(by_schema, payload) == (field, refusal(by_code, payload)[1])  # type: ignore[index]  # not None


@pytest.mark.parametrize(
    ("function", "payload"),
    [
        (objects, {"item": {"sku": "abc", "part": {"sku": "a"}}}),  # of a type made of itself, one turn is checked
        (choices, {"pet": {"type": "cow"}}),  # one of several kinds of objects
        (lists, {"items": [RIGHT], "point": ["x"]}),
        (lists, {"items": [RIGHT], "by_number": {"one": RIGHT}}),
        (models, {"person": {"age": "x"}}),
    ],
)
def test_what_a_schema_cannot_tell_is_left_to_the_worker(function: Callable[..., None], payload: object) -> None:
    by_code, by_schema = checks_of(function)

    assert refusal(by_code, payload) is not None
    assert refusal(by_schema, payload) is None


@pytest.mark.parametrize("payload", [{"person": {"age": "7"}}, {"person": {"age": 7, "friends": [{"age": 7.0}]}}])
def test_a_model_may_take_more_than_its_schema_says(payload: object) -> None:
    for check in checks_of(models):
        assert refusal(check, payload) is None


def upcast(payload: dict[str, Any], _: int) -> dict[str, Any]:
    return {"to": payload["address"]}


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"$v": 2, "to": "a@b"}, None),
        ({"address": "a@b"}, None),
        ({"$v": 1, "address": 7}, None),  # what comes of it, only the upcast knows
        (None, None),  # likewise
        ({"$v": 2, "to": 7}, "$.payload.to"),
        ({"$v": 3, "to": "a@b"}, "$.payload.$v"),
        ({"$v": "2", "to": "a@b"}, "$.payload.$v"),
        ({"$v": 0, "to": "a@b"}, "$.payload.$v"),
    ],
)
def test_payloads_of_older_versions_are_left_to_the_upcast(payload: object, field: str | None) -> None:
    _, by_schema = checks_of(texts, version=2, upcast=upcast)
    refused = refusal(by_schema, payload)

    assert (refused and refused[0]) == field


def test_a_payload_may_say_that_it_is_of_the_first_version() -> None:
    _, by_schema = checks_of(texts)

    assert refusal(by_schema, {"$v": 1, "to": "a@b"}) is None
    assert refusal(by_schema, {"$v": 1, "to": "ab"}) == refusal(by_schema, {"to": "ab"})


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"$ref": "#/$defs/nowhere"},
        {"type": "octet"},
        {"allOf": [{"type": "string"}]},
        {"type": "string", "pattern": "(?<!a"},
        {"type": "string", "minLength": "many"},
        {"enum": [1.5, True, {}]},
        {"enum": []},
        {"anyOf": "text"},
        {"type": "object", "properties": {"a": True}, "required": ["b"]},
        {"type": "array", "prefixItems": 7},
    ],
)
@pytest.mark.parametrize("payload", [None, 1, "text", {"a": 1}, [[]]])
def test_a_schema_that_says_nothing_we_know_admits_all(schema: dict[str, Any], payload: object) -> None:
    assert refusal(PayloadSchema("task", version=1, schema=schema).check, payload) is None


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]}, "B": {}}}

    assert refusal(PayloadSchema("task", version=1, schema=schema).check, {"a": 1}) is None
