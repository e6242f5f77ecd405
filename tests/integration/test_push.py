"""Job types run by a URL: through the library, with workers, and in real processes."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from tests.integration.conftest import StartServer
from tests.integration.metrics_page import sample
from tests.integration.receiver import SECRET, answer, receiving
from tests.integration.server_process import WORKER, eventually, run_command
from tests.redis_servers import running

from gotaskq import Job, NoRetry, Settings, Status, TaskQ
from gotaskq.config import load_settings
from gotaskq.delivery import verify
from gotaskq.errors import ConfigError, InvalidPayloadError, RegistrationError, StartError
from gotaskq.job import DeathReason

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HOME = Settings(delivery_allow=("127.0.0.0/8",))


@pytest.fixture
def app() -> TaskQ:
    return TaskQ(settings=HOME)


async def test_a_job_is_run_by_its_url(app: TaskQ) -> None:
    async with receiving(answer(200, b'{"message":17}')) as receiver:
        app.push("email.send", receiver.url, secrets=[SECRET], headers={"x-team": "a"})
        async with app, app.workers(concurrency=2):
            job = await app.enqueue("email.send", {"to": "a@b.c"}, headers={"traceparent": TRACE, "tenant": "t"})
            ended = await app.wait(job.id)

    [request] = receiver.requests
    body = json.loads(request.body)
    assert ended.result == {"message": 17}
    assert request.verified(now_s=job.created_at_ms / 1000) == str(job.id) == body["id"]
    assert (request.headers["traceparent"], request.headers["x-team"]) == (TRACE, "a")
    assert (body["type"], body["attempt"], body["payload"]) == ("email.send", 1, {"to": "a@b.c"})
    assert body["headers"] == {"traceparent": TRACE, "tenant": "t"}
    assert app.push.counts == [("email.send", "done", 1)]


async def test_a_signature_makes_it_typed(app: TaskQ) -> None:
    async with receiving(answer(200, b"250")) as receiver:

        @app.push("email.send", receiver.url, secrets=[SECRET])
        def send_email(to: str, subject: str = "hi") -> int:
            raise AssertionError("a push is never called")

        async with app, app.workers(concurrency=1):
            handle = await send_email.enqueue("a@b.c")
            with pytest.raises(InvalidPayloadError, match="Expected `str`"):
                await app.enqueue("email.send", {"to": 7})
            assert await handle.result() == 250

    assert json.loads(receiver.requests[0].body)["payload"] == {"to": "a@b.c", "subject": "hi"}


async def test_a_refusal_is_a_dead_letter_with_its_reason(app: TaskQ, caplog: pytest.LogCaptureFixture) -> None:
    async with receiving(answer(422, b"no such user")) as receiver:
        app.push("email.send", receiver.url, secrets=[SECRET])
        async with app, app.workers(concurrency=1):
            ended = await app.wait((await app.enqueue("email.send")).id)

    assert (ended.status, ended.attempt, ended.death_reason) == (Status.DEAD, 1, DeathReason.DISCARDED)
    assert ended.error == f"Discard: http://127.0.0.1:{receiver.port}: HTTP 422: no such user"
    assert SECRET not in caplog.text
    assert "in-the-query" not in caplog.text + msgspec.json.encode(ended).decode()


async def test_a_failure_is_retried_as_its_policy_says(app: TaskQ) -> None:
    async with receiving(answer(500)) as receiver:
        app.push("email.send", receiver.url, secrets=[SECRET], retry=NoRetry())
        async with app, app.workers(concurrency=1):
            ended = await app.wait((await app.enqueue("email.send")).id)

    assert ended.error == f"DeliveryError: http://127.0.0.1:{receiver.port}: HTTP 500"


async def test_a_destination_nobody_allowed_is_a_dead_letter() -> None:
    app = TaskQ()
    async with receiving() as receiver:
        app.push("email.send", receiver.url, secrets=[SECRET])
        async with app, app.workers(concurrency=1):
            ended = await app.wait((await app.enqueue("email.send")).id)

    assert "a loopback address; DELIVERY_ALLOW can allow it" in (ended.error or "")
    assert receiver.connections == 0


async def test_a_cancelled_job_breaks_off_its_post(app: TaskQ) -> None:
    async with receiving(b"HTTP/1.1 200 OK\r\n") as receiver:
        app.push("email.send", receiver.url, secrets=[SECRET])
        async with app, app.workers(concurrency=1):
            job = await app.enqueue("email.send")
            await receiver.came.wait()
            await app.cancel(job.id)
            await receiver.broken_off.wait()
            assert (await app.wait(job.id)).status is Status.CANCELLED


async def test_a_drain_waits_for_a_post_under_way(app: TaskQ) -> None:
    said = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        said.set()
        await draining.wait()
        writer.write(answer(200, b"1", connection="close"))
        writer.close()

    draining = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    app.push("email.send", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", secrets=[SECRET])
    async with app:
        async with app.workers(concurrency=1) as worker:
            job = await app.enqueue("email.send")
            await said.wait()
            worker.stop()
            draining.set()
        assert (await app.get(job.id)).result == 1
    server.close()


@pytest.mark.parametrize(
    ("url", "secrets", "words"),
    [
        ("ftp://x/", [SECRET], "https://"),
        ("https://example.com/", ["hunter2"], "whsec_"),
        ("https://u:hunter2@x/", [SECRET], "no user"),
    ],
)
def test_what_cannot_be_pushed_is_refused_at_once(app: TaskQ, url: str, secrets: list[str], words: str) -> None:
    with pytest.raises(RegistrationError, match=words) as refused:
        app.push("email.send", url, secrets=secrets)

    assert "hunter2" not in str(refused.value)


async def test_without_httpx2_workers_do_not_start(app: TaskQ, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gotaskq.delivery.sender", None)
    app.push("email.send", "https://example.com/", secrets=[SECRET])

    async with app:
        with pytest.raises(StartError, match=r"pip install 'gotaskq\[client\]'"):
            async with app.workers():
                pass


async def test_a_file_binds_types_with_what_the_door_shall_know(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    path = tmp_path / "pushes.toml"
    async with receiving() as receiver:
        path.write_text(
            f'[types."email.send"]\nurl = "{receiver.url}"\nsecret_file = "secret"\nmax_retries = 9\nqueue = "mail"\n'
        )
        app = TaskQ(settings=load_settings({"PUSH_FILE": str(path), "DELIVERY_ALLOW": "127.0.0.1"}).settings)
        for _ in range(2):  # an app may be opened again
            async with app, app.workers(concurrency=1):
                job = await app.enqueue("email.send", [1])
                await app.wait(job.id)

    assert (job.max_retries, job.queue) == (9, "mail")
    assert len(receiver.requests) == 2


async def test_a_type_that_has_a_handler_cannot_be_bound_by_the_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    path = tmp_path / "pushes.toml"
    path.write_text('[types.email]\nurl = "https://example.com/"\nsecret_file = "secret"\n')
    app = TaskQ(settings=Settings(push_file=str(path)))

    @app.handler("email")
    async def email(job: Job) -> None: ...

    with pytest.raises(ConfigError, match=r'types\."email": job type .* has a handler already'):
        async with app:
            pass


class _Hook(BaseHTTPRequestHandler):
    """A receiver in a thread, for the processes that are tested."""

    bodies: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        verify(dict(self.headers), body, SECRET)
        self.server.bodies.append(body)  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hook() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hook) as server:
        server.bodies = []  # type: ignore[attr-defined]
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server
        server.shutdown()
        serving.join()


def push_file(folder: Path, hook: ThreadingHTTPServer) -> dict[str, str]:
    (folder / "secret").write_text(SECRET)
    path = folder / "pushes.toml"
    url = f"http://127.0.0.1:{hook.server_address[1]}/hook?key=in-the-query"
    path.write_text(f'[types."email.send"]\nurl = "{url}"\nsecret_file = "secret"\n')
    return {"PUSH_FILE": str(path), "DELIVERY_ALLOW": "127.0.0.1", "LOG_LEVEL": "debug"}


@pytest.mark.slow
def test_a_service_needs_no_python_of_its_own(
    start_server: StartServer, tmp_path: Path, hook: ThreadingHTTPServer
) -> None:
    server = start_server(env=push_file(tmp_path, hook), app=None)

    job = server.submit("email.send", {"to": "a@b.c"})
    server.wait_for_status(job["id"], "DONE")

    types = server.get("/types").json["types"]
    assert {"type": "email.send"} in types
    assert json.loads(hook.bodies[0])["payload"] == {"to": "a@b.c"}  # type: ignore[attr-defined]
    eventually(lambda: sample(server, "gotaskq_deliveries_total", type="email.send", outcome="done") == 1)
    assert server.stop() == 0
    assert SECRET not in server.stderr
    assert "in-the-query" not in server.stderr


@pytest.mark.slow
def test_a_worker_process_delivers_what_another_process_took(
    start_server: StartServer, tmp_path: Path, hook: ThreadingHTTPServer
) -> None:
    with running() as redis:
        store = {"BACKEND_URL": redis.url}
        server = start_server("--no-workers", env=store, app=None)
        worker = start_server(env={**store, **push_file(tmp_path, hook)}, app=None, command=WORKER)

        job = server.submit("email.send", {"to": "a@b.c"})
        server.wait_for_status(job["id"], "DONE")

        assert (worker.stop(), server.stop()) == (0, 0)
    assert json.loads(hook.bodies[0])["id"] == job["id"]  # type: ignore[attr-defined]
    assert SECRET not in worker.stderr
    assert "in-the-query" not in worker.stderr


@pytest.mark.slow
def test_the_check_shows_where_jobs_would_go(tmp_path: Path, hook: ThreadingHTTPServer) -> None:
    env = push_file(tmp_path, hook)

    fine = run_command("config", "--check", env=env)
    refused = run_command("config", "--check", env={**env, "DELIVERY_ALLOW": ""})

    origin = f"http://127.0.0.1:{hook.server_address[1]}"
    assert fine.stdout.endswith(f"\nJobs run by URLs\n  ok       email.send to {origin}\n"), fine
    assert f"  warning  email.send to {origin}\n           nothing is delivered to 127.0.0.1" in refused.stdout
    assert (fine.returncode, refused.returncode) == (0, 0)
    assert SECRET not in fine.stdout + refused.stdout


@pytest.mark.slow
def test_a_file_that_cannot_be_used_stops_the_start_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "pushes.toml"
    path.write_text('[types.a]\nurl = "https://example.com/"\nsecret_env = "NONE_SUCH"\n')

    ended = run_command("run", "--port", "0", env={"PUSH_FILE": str(path)})

    assert ended.returncode == 2
    assert ended.stderr == f'gotaskq: PUSH_FILE={str(path)!r}: types."a".secret_env: the environment has no NONE_SUCH\n'
