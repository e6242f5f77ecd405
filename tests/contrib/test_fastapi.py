"""`gotaskq.contrib.fastapi` in a real FastAPI, under a real uvicorn."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from tests.redis_servers import RedisServer

from gotaskq import Job, TaskQ
from gotaskq.contrib.fastapi import lifespan_workers
from gotaskq.errors import NotOpenError

DEMO = Path(__file__).parents[2] / "examples" / "fastapi_demo"
WAIT_S = 30.0
T = TypeVar("T")
LISTENS = re.compile(r"running on (http://127\.0\.0\.1:\d+)")


def application(queue: TaskQ) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with queue, lifespan_workers(queue, concurrency=2):
            yield

    api = FastAPI(lifespan=lifespan)
    api.mount("/queue-admin", queue.asgi())
    return api


@pytest.fixture
def queue() -> TaskQ:
    queue = TaskQ()

    @queue.handler("fails")
    async def fails(job: Job) -> None:
        raise ValueError(job.payload)

    @queue.handler("works")
    async def works(job: Job) -> object:
        return job.payload

    return queue


@pytest.fixture
def client(queue: TaskQ) -> Iterator[TestClient]:
    with TestClient(application(queue)) as client:
        yield client


def job_of(client: TestClient, job_id: str, status: str) -> dict[str, object]:
    return eventually(lambda: held(client.get(f"/queue-admin/jobs/{job_id}").json(), status))


def held(job: dict[str, object], status: str) -> dict[str, object] | None:
    return job if job["status"] == status else None


def test_jobs_posted_below_the_prefix_run_in_the_web_process(client: TestClient) -> None:
    posted = client.post("/queue-admin/jobs", json={"type": "works", "payload": {"n": 1}})

    assert posted.status_code == 201
    assert job_of(client, posted.json()["id"], "DONE")["payload"] == {"n": 1}


def test_every_route_works_below_the_prefix(client: TestClient, queue: TaskQ) -> None:
    dead = client.post("/queue-admin/jobs", json={"type": "fails", "max_retries": 0}).json()["id"]
    job_of(client, dead, "DEAD")
    later = [client.post("/queue-admin/jobs", json={"type": "works", "delay": 60}).json()["id"] for _ in range(2)]
    calls = {
        ("POST", "/queue/mail"): 201,
        ("POST", "/mail/jobs"): 201,
        ("POST", "/jobs"): 201,
        ("POST", "/jobs/batch"): 201,
        ("GET", f"/jobs/{dead}"): 200,
        ("POST", f"/jobs/{later[0]}/cancel"): 200,
        ("DELETE", f"/jobs/{later[1]}"): 200,
        ("GET", "/queue"): 200,
        ("GET", "/dlq"): 200,
        ("POST", f"/dlq/{dead}/replay"): 200,
        ("DELETE", "/dlq/1"): 404,
        ("GET", "/metrics"): 200,
        ("GET", "/healthz"): 200,
        ("GET", "/readyz"): 200,
        ("GET", "/types"): 200,
        ("GET", "/openapi.json"): 200,
        ("GET", "/docs"): 200,
        ("GET", "/docs/docs.css"): 200,
    }
    body = {"type": "works", "delay": 60}

    answers = {
        (method, path): client.request(
            method,
            f"/queue-admin{path}",
            json={"jobs": [body]}
            if "batch" in path
            else body
            if method == "POST" and not path.endswith("/replay")
            else None,
        ).status_code
        for method, path in calls
    }

    assert answers == calls
    tried = {(method, re.sub(r"\d{5,}|(?<=dlq/)1", "{id}", path)) for method, path in calls}
    routes = {
        (method, route.path.replace("{name}", "mail").replace("{queue}", "mail").replace("{asset}", "docs.css"))
        for route in queue.asgi().routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert tried <= routes
    for method, path in routes - tried - {("GET", "/events")}:  # which has no end
        answer = client.request(method, f"/queue-admin{re.sub(r'{[a-z]+}', '7', path)}", json={})
        assert answer.status_code != 405
        assert answer.json() != {"error": "not found"}, path


def test_the_next_page_of_dead_letters_is_below_the_prefix_too(client: TestClient) -> None:
    ids = [client.post("/queue-admin/jobs", json={"type": "fails", "max_retries": 0}).json()["id"] for _ in range(3)]
    for job_id in ids:
        job_of(client, job_id, "DEAD")

    first = client.get("/queue-admin/dlq", params={"limit": 2})
    second = client.get(first.links["next"]["url"])

    assert first.links["next"]["url"].startswith("/queue-admin/dlq?")
    assert (len(first.json()), len(second.json()), "link" in second.headers) == (2, 1, False)


def test_what_is_not_there_is_said_in_the_words_of_each_api(client: TestClient) -> None:
    assert client.get("/queue-admin/nothing", follow_redirects=False).json() == {"error": "not found"}
    assert client.get("/queue-admin/jobs/", follow_redirects=False).status_code == 404
    assert client.get("/nothing").json() == {"detail": "Not Found"}


def test_a_starlette_application_will_do(queue: TaskQ) -> None:
    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with queue, lifespan_workers(queue):
            yield

    with TestClient(Starlette(routes=[Mount("/q", queue.asgi())], lifespan=lifespan)) as client:
        posted = client.post("/q/jobs", json={"type": "works"})

    assert posted.status_code == 201
    assert not queue.is_open


async def test_a_taskq_that_is_not_open_has_no_workers(queue: TaskQ) -> None:
    with pytest.raises(NotOpenError):
        async with lifespan_workers(queue):
            pytest.fail("there is nothing to run jobs of")


async def test_what_runs_is_finished_at_the_end(queue: TaskQ) -> None:
    started, may_end = asyncio.Event(), asyncio.Event()

    @queue.handler("slow")
    async def slow(_: Job) -> str:
        started.set()
        await may_end.wait()
        return "done"

    async with queue:
        async with lifespan_workers(queue):
            job = await queue.enqueue("slow")
            await started.wait()
            asyncio.get_running_loop().call_soon(may_end.set)

        assert (await queue.get(job.id)).result == "done"


# -- under uvicorn -----------------------------------------------------------------------------------------------------


class Process:
    """A process of the demo, and what it says."""

    def __init__(self, *command: str, backend_url: str) -> None:
        environment: Mapping[str, str] = {**os.environ, "BACKEND_URL": backend_url, "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=DEMO,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self._lines.extend(self._process.stdout)

    @property
    def said(self) -> str:
        return "".join(self._lines)

    def wait_for(self, pattern: re.Pattern[str]) -> str:
        found: re.Match[str] = eventually(lambda: pattern.search(self.said), about=lambda: self.said)
        return found[1] if pattern.groups else found[0]

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(WAIT_S)

    def end(self) -> None:
        self._process.kill()
        self._process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextlib.contextmanager
def process(*command: str, backend_url: str) -> Iterator[Process]:
    running = Process(*command, backend_url=backend_url)
    try:
        yield running
    finally:
        running.stop()
        running.end()


def web(*options: str, backend_url: str) -> contextlib.AbstractContextManager[Process]:
    return process("uvicorn", "main:api", "--port", "0", *options, backend_url=backend_url)


def test_the_demo_runs_its_jobs_on_redis_and_ends_in_order() -> None:
    with RedisServer() as server, web(backend_url=server.url) as uvicorn:
        url = uvicorn.wait_for(LISTENS)
        jobs = [
            httpx2.post(f"{url}/{path}", params={"to": "a@b.c"}).json()["job"] for path in ("signup", "signup-sync")
        ]

        for job in jobs:
            assert outcome(f"{url}/signup/{job}") == {"sent_to": "a@b.c"}
        assert httpx2.get(f"{url}/signup/1").status_code == 404
        assert httpx2.get(f"{url}/queue-admin/queue").json() == ["default"]
        assert uvicorn.stop() == -signal.SIGTERM  # as uvicorn ends, after all was shut down
        assert "Application shutdown complete" in uvicorn.said


def test_workers_of_their_own_run_what_the_demo_enqueues() -> None:
    with RedisServer() as server, process("gotaskq", "worker", "main:queue", backend_url=server.url) as worker:
        worker.wait_for(re.compile("GoTaskQ runs the jobs"))

        job = TaskQ(server.url).enqueue_sync("welcome", {"to": "a@b.c"})

        eventually(lambda: TaskQ(server.url).get_sync(job.id).result == {"sent_to": "a@b.c"})
        assert worker.stop() == 0


def test_several_web_processes_share_redis() -> None:
    with RedisServer() as server, web("--workers", "2", backend_url=server.url) as uvicorn:
        eventually(lambda: uvicorn.said.count("startup complete") == 2, about=lambda: uvicorn.said)


@pytest.mark.skipif(sys.platform != "linux", reason="known on Linux only")
def test_jobs_in_memory_are_refused_in_several_web_processes() -> None:
    with web("--workers", "2", backend_url="memory://") as uvicorn:
        uvicorn.wait_for(re.compile(r"BACKEND_URL='memory://': this server runs several processes"))


def test_jobs_in_memory_are_fine_in_one_web_process() -> None:
    with web(backend_url="memory://") as uvicorn:
        url = uvicorn.wait_for(LISTENS)
        job = httpx2.post(f"{url}/signup-sync", params={"to": "a@b.c"}).json()["job"]

        assert outcome(f"{url}/signup/{job}") == {"sent_to": "a@b.c"}


def outcome(url: str) -> object:
    return eventually(lambda: done(httpx2.get(url).json()))["result"]


def done(answer: dict[str, object]) -> dict[str, object] | None:
    return answer if answer["status"] == "DONE" else None


def eventually(look: Callable[[], T | None], *, about: Callable[[], str] = str) -> T:
    """Return what a look sees once it sees something; processes far away give no event to wait for."""
    give_up = time.monotonic() + WAIT_S
    while not (seen := look()):
        assert time.monotonic() < give_up, f"this did not come about; {about()}"
        time.sleep(0.01)
    return seen
