"""The document describes what is served: every route, every type, and answers that are as it says."""

import json
import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pydantic
import pytest
import schemathesis
from hypothesis import assume, settings
from msgspec import Meta, Struct
from schemathesis.checks import positive_data_acceptance, unsupported_method
from tests.integration.test_lanes_agree import ask
from tests.unit.api.test_protocol import in_process

from gotaskq import Context, Job, Settings, TaskQ
from gotaskq.api.openapi import build_openapi
from gotaskq.api.operations import operations
from gotaskq.api.routes import Routes
from gotaskq.api.security.access import scope_of


class Item(Struct):
    sku: Annotated[str, Meta(min_length=3)]
    price: Decimal
    part: "Item | None" = None


class Error(Struct):
    """Called what a schema of ours is called."""

    code: int


class Person(pydantic.BaseModel):
    name: str
    friends: "list[Person]" = []


def refuse(payload: dict[str, Any], from_version: int) -> dict[str, Any]:
    raise ValueError("there is no way from there")


def define(app: TaskQ) -> None:
    @app.task("email", queue="mail", priority=7, max_retries=1)
    async def email(ctx: Context, to: Annotated[str, Meta(pattern="^[^@]+@[^@]+$")], copies: int = 1) -> None:
        """Send a mail.

        Or two.
        """

    @app.task("orders:place", version=2, upcast=refuse)
    def order(
        items: list[Item], at: datetime, key: UUID, due: date | None = None, kind: Literal["a", "b"] = "a"
    ) -> None: ...

    @app.task("orders/place")
    def report(error: Error, codes: dict[str, int], seen: list[datetime]) -> None: ...

    @app.task()
    def sweep() -> None: ...

    @app.handler("logger")
    async def log(job: Job) -> None: ...


@pytest.fixture
def app() -> TaskQ:
    app = TaskQ()
    define(app)
    return app


def references(value: object) -> Iterator[str]:
    match value:
        case {"$ref": str(target)}:
            yield target
        case dict():
            for item in value.values():
                yield from references(item)
        case list():
            for item in value:
                yield from references(item)
        case _:
            pass


async def get(path: bytes, **settings: Any) -> tuple[bytes, bytes]:
    async with in_process(fast_lane=True, define=define, **settings) as server:
        transport = await ask(server, b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % path)
    head, _, rest = transport.sent.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    return head, rest[: int(length[1])]


def test_it_has_every_route_and_no_other(app: TaskQ) -> None:
    routes = {
        (route.path, method.lower())
        for route in Routes(app).routes()
        for method in route.methods or ()
        if method != "HEAD"
    }

    paths = build_openapi(app.tasks)["paths"]

    assert {(path, method) for path, methods in paths.items() for method in methods} == routes


def test_the_page_of_endpoints_lists_each_with_its_scope_and_tests_that_are_there() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "endpoints.md").read_text()
    rows = re.findall(r"^\| `([A-Z]+) (\S+)` \| `?(\w+)`? \| (.+) \|$", page, re.MULTILINE)
    scopes = {
        (method.upper(), path): getattr(scope_of(method.upper(), path), "value", "none")
        for path, methods in operations().items()
        for method in methods
    }

    assert {(method, path): scope for method, path, scope, _ in rows} == scopes
    for _, _, _, tests in rows:
        for name in re.findall(r"`(\w+)`", tests):
            assert Path(__file__).with_name(f"{name}.py").exists(), name


def test_every_reference_leads_somewhere(app: TaskQ) -> None:
    document = build_openapi(app.tasks)

    names = {target.removeprefix("#/components/schemas/") for target in references(document)}

    assert names
    assert names <= document["components"]["schemas"].keys()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in document["components"]["schemas"])


async def test_every_type_has_a_schema_and_an_example_the_door_takes(app: TaskQ) -> None:
    content = build_openapi(app.tasks)["paths"]["/jobs"]["post"]["requestBody"]["content"]["application/json"]

    assert list(content["examples"]) == ["email", "orders/place", "orders:place", "sweep"]
    async with app:
        for example in content["examples"].values():
            await app.enqueue(example["value"]["type"], example["value"]["payload"])


def test_a_model_of_pydantic_is_described_with_what_it_refers_to() -> None:
    app = TaskQ()

    @app.task()
    def greet(person: Person) -> None: ...

    document = build_openapi(app.tasks)

    schemas = document["components"]["schemas"]
    assert {target.removeprefix("#/components/schemas/") for target in references(document)} <= schemas.keys()
    assert schemas["payload.Person"]["properties"]["name"] == {"title": "Name", "type": "string"}


async def test_the_types_are_listed_with_what_is_known_of_them() -> None:
    _, body = await get(b"/types")

    types = {entry["type"]: entry for entry in json.loads(body)["types"]}
    assert list(types) == ["email", "logger", "orders/place", "orders:place", "sweep"]
    assert types["logger"] == {"type": "logger"}
    assert types["email"] == {
        "type": "email",
        "description": "Send a mail.",
        "queue": "mail",
        "priority": 7,
        "max_retries": 1,
        "version": 1,
        "schema": {
            "title": "email",
            "type": "object",
            "properties": {
                "to": {"type": "string", "pattern": "^[^@]+@[^@]+$"},
                "copies": {"type": "integer", "default": 1},
            },
            "required": ["to"],
            "additionalProperties": False,
        },
        "example": {"to": "ada@example.com", "copies": 1},
    }
    assert set(references(types["orders:place"])) == {"#/$defs/Item"}
    assert "Item" in types["orders:place"]["schema"]["$defs"]


@pytest.mark.parametrize(
    ("is_strict", "others"),
    [(False, {"not": {"enum": ["email", "orders/place", "orders:place", "sweep"]}}), (True, {"enum": ["logger"]})],
)
async def test_it_says_which_other_types_are_taken(*, is_strict: bool, others: dict[str, object]) -> None:
    _, body = await get(b"/openapi.json", strict_types=is_strict)

    document = json.loads(body)

    job_type = document["components"]["schemas"]["AnyJob"]["properties"]["type"]
    assert document["openapi"] == "3.1.0"
    assert others.items() <= job_type.items()


@pytest.mark.parametrize(
    ("path", "media_type"),
    [(b"/docs", b"text/html"), (b"/docs/docs.css", b"text/css"), (b"/docs/docs.js", b"text/javascript")],
)
async def test_the_viewer_loads_nothing_from_elsewhere(path: bytes, media_type: bytes) -> None:
    head, body = await get(path)

    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-type: " + media_type in head
    assert b"content-security-policy: default-src 'self'" in head
    assert b"://" not in body
    assert not re.search(rb"<script(?![^>]*\bsrc=)|<style|\bon\w+=|style=", body)
    assert b"innerHTML" not in body


async def test_there_is_no_other_asset() -> None:
    head, body = await get(b"/docs/docs.html")

    assert head.startswith(b"HTTP/1.1 404")
    assert body == b'{"error":"not found"}'


def served() -> Any:
    app = TaskQ(settings=Settings(callback_secret="whsec_" + "c2VjcmV0IHRoYXQgaXMgbG9uZyBlbm91Z2ghIQ=="))
    define(app)
    return schemathesis.openapi.from_asgi("/openapi.json", app.asgi()).exclude(path="/events")  # it has no end


# To JSON Schema 12.0 is an integer, and to the door it is none; a cursor is a text that we have given out.
TOO_STRICT = [positive_data_acceptance]
# GET looks for a job with the id `batch` or `actions`, and does not find it.
ALSO_A_JOBS_PATH = [unsupported_method]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Skipped test cases with unsupported payload media types")  # lines of JSON
@settings(max_examples=25)  # beside those that try each rule of the schema once
@served().parametrize()  # type: ignore[untyped-decorator]
def test_every_answer_is_as_it_says(case: Any) -> None:
    # Nobody stores or runs these jobs, so each would be waited for to its time.
    for members in (case.query, case.body):
        if isinstance(members, dict) and _is_seconds(members.get("wait")):
            members["wait"] = 0.001
    assume((case.path_parameters or {}).get("queue") not in ("queue", "queues"))  # reserved: that path makes a queue
    is_shared = case.operation.path in (
        "/jobs/batch",
        "/jobs/actions",
        "/dlq/summary",
        "/dlq/replay",
        "/dlq/export",
        "/dlq/import",
    )
    case.call_and_validate(excluded_checks=[*TOO_STRICT, *(ALSO_A_JOBS_PATH if is_shared else ())])


def _is_seconds(wait: object) -> bool:
    try:
        return isinstance(wait, str | int | float) and 0 < float(wait) <= 60
    except ValueError:
        return False
