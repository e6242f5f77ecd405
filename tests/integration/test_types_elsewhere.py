"""A process without the code of the workers, on the same store: it knows their types, and the door is as theirs."""

import asyncio
import json
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import schemathesis
from msgspec import Meta, Struct
from tests.integration.conftest import StartServer
from tests.integration.server_process import ServerProcess, eventually
from tests.redis_servers import Flavour, RedisServer, flavours

from gotaskq import Job, Settings, TaskQ
from gotaskq.errors import InvalidPayloadError, UnknownJobTypeError
from gotaskq.job import Status

pytestmark = pytest.mark.slow  # a store each


class Attachment(Struct):
    name: Annotated[str, Meta(min_length=1)]


def worker_app(url: str, **settings: Any) -> TaskQ:
    app = TaskQ(url, settings=Settings(**settings))

    @app.task("email", queue="mail", priority=7, max_retries=1)
    async def send_email(to: Annotated[str, Meta(pattern="@")], attachments: list[Attachment] | None = None) -> str:
        """Send a mail."""
        return f"sent to {to}"

    @app.handler("sweep")
    async def sweep(_: Job) -> None: ...

    return app


@pytest.fixture(params=flavours()[:1], ids=lambda flavour: flavour.name)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    flavour: Flavour = request.param
    with RedisServer(flavour) as started:
        yield started


async def published(app: TaskQ) -> None:
    """Return once what the workers of this store say can be read."""
    async with asyncio.timeout(20):
        while True:
            async with TaskQ(app.backend_name) as reader:
                if {entry["type"] for entry in reader.types_elsewhere} >= {"email", "sweep"}:
                    return
            await asyncio.sleep(0.01)


def ask(api: ServerProcess, path: str, **members: object) -> tuple[int, Any]:
    answer = api.post(path, json.dumps(members).encode())
    return answer.status, answer.json


async def test_a_process_that_serves_http_alone_knows_the_types_of_the_workers(
    server: RedisServer, start_server: StartServer
) -> None:
    app = worker_app(server.url)
    async with app, app.workers(concurrency=1):
        await published(app)
        api = await asyncio.to_thread(
            start_server, "--no-workers", app=None, env={"BACKEND_URL": server.url, "STRICT_TYPES": "true"}
        )

        def look() -> tuple[Any, ...]:
            return (
                api.get("/types").json["types"],
                api.get("/openapi.json").json,
                ask(api, "/jobs", type="email", payload={"to": "a@b.c"}),
                ask(api, "/jobs", type="email", payload={"to": 7}),
                ask(api, "/jobs", type="email", payload={"to": "a@b.c", "attachments": [{"name": ""}]}),
                ask(api, "/jobs", type="emial"),
                ask(api, "/jobs", type="sweep", payload=[1]),
                ask(api, "/jobs/batch", jobs=[{"type": "email", "payload": {"to": 7}}])[1],
            )

        types, document, taken, wrong, deep, unknown, plain, batch = await asyncio.to_thread(look)
        done = await app.wait(int(taken[1]["id"]), timeout=20)

    assert [entry["type"] for entry in types] == ["email", "logger", "sweep"]
    assert (types[0]["queue"], types[0]["description"], types[2]) == ("mail", "Send a mail.", {"type": "sweep"})
    assert (taken[0], taken[1]["queue"], taken[1]["priority"], taken[1]["max_retries"]) == (201, "mail", 7, 1)
    assert (done.status, done.result) == (Status.DONE, "sent to a@b.c")
    assert wrong == (422, {"error": "invalid payload: Expected `str`, got `int`", "field": "$.payload.to"})
    assert (deep[0], deep[1]["field"]) == (422, "$.payload.attachments[0].name")
    assert unknown == (
        422,
        {"error": "unknown type 'emial'; known here: email, logger, sweep", "field": "type"},
    )
    assert plain[0] == 201
    assert batch["errors"][0]["field"] == "$.payload.to"
    requests = document["components"]["schemas"]
    assert requests["job.elsewhere.email"]["properties"]["payload"] == {"$ref": "#/components/schemas/elsewhere.email"}
    assert requests["elsewhere.email.Attachment"]["required"] == ["name"]
    assert requests["AnyJob"]["properties"]["type"] == {"enum": ["logger", "sweep"]}
    schemathesis.openapi.from_dict(document)  # it is a document


async def test_one_that_runs_already_learns_them_within_seconds(server: RedisServer, start_server: StartServer) -> None:
    api = await asyncio.to_thread(start_server, "--no-workers", app=None, env={"BACKEND_URL": server.url})
    before = await asyncio.to_thread(ask, api, "/jobs", type="email", payload={"to": 7})
    document = (await asyncio.to_thread(api.get, "/openapi.json")).json

    app = worker_app(server.url)
    async with app, app.workers(concurrency=1):
        await asyncio.to_thread(eventually, lambda: ask(api, "/jobs", type="email", payload={"to": 7})[0] == 422)
        types = (await asyncio.to_thread(api.get, "/types")).json["types"]
        later = (await asyncio.to_thread(api.get, "/openapi.json")).json

    assert before[0] == 201
    assert [entry["type"] for entry in types] == ["email", "logger", "sweep"]
    assert document["components"]["schemas"].keys() < later["components"]["schemas"].keys()


async def test_a_program_with_no_task_of_its_own_is_held_to_them_too(server: RedisServer) -> None:
    app = worker_app(server.url)
    async with app, app.workers(concurrency=1):
        await published(app)
        async with TaskQ(server.url, settings=Settings(strict_types=True)) as other:
            with pytest.raises(InvalidPayloadError, match="got `int`") as refused:
                await other.enqueue("email", {"to": 7})
            with pytest.raises(UnknownJobTypeError, match="known here: email, sweep"):
                await other.enqueue("emial")
            job = await other.enqueue("email", {"to": "a@b.c"})
            done = await other.wait(job.id, timeout=20)

    assert refused.value.field == "$.payload.to"
    assert (job.queue, done.result) == ("mail", "sent to a@b.c")
    assert other.types_elsewhere == []  # it is closed


async def test_a_test_sees_nothing_of_what_its_app_has_heard(server: RedisServer) -> None:
    app = worker_app(server.url)
    async with app, app.workers(concurrency=1):
        await published(app)
        async with TaskQ(server.url) as other:
            heard = len(other.types_elsewhere)
            async with other.override():
                assert (await other.enqueue("email", {"to": 7})).queue == "default"
                assert other.types_elsewhere == []

            assert len(other.types_elsewhere) == heard == 2
