"""The example worker of Node where it takes more trouble than the others: cancels, SIGTERM, a service that is away.

Where there is no `node` these tests are skipped, and the run's summary says so.
"""

import json
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple, Protocol

import pytest
from tests.integration.conftest import StartServer
from tests.integration.server_process import environment
from tests.integration.test_remote_workers import NODE, needs_node

pytestmark = [pytest.mark.slow, needs_node]

WITHIN_S: Final = 30.0
HASTY: Final = {"LEASE": "5", "WAIT": "1"}  # the shortest lease there is, so that a heartbeat comes soon


class Asked(NamedTuple):
    """A request that waits for the test to answer it."""

    path: str
    body: Any
    answer: Callable[..., None]


class StandIn:
    """An HTTP server that answers when the test says so, with what it says."""

    def __init__(self) -> None:
        self._asked: queue.Queue[Asked] = queue.Queue()
        asked = self._asked

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                reply: queue.Queue[tuple[int, Any, dict[str, str]]] = queue.Queue()
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                asked.put(Asked(self.path, json.loads(body or b"null"), lambda *given: reply.put(given)))
                status, answer, headers = reply.get(timeout=WITHIN_S)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            do_GET = do_POST  # noqa: N815 - its name there

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
                """Write nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def next(self) -> Asked:
        """Return the next request."""
        return self._asked.get(timeout=WITHIN_S)

    def expect(self, path: str) -> Asked:
        """Return the next request, which must be for this path."""
        asked = self.next()
        assert asked.path == path, asked
        return asked

    def answer(self, path: str, status: int, body: Any = None, **headers: str) -> Any:
        """Answer the next request, and return what it sent."""
        asked = self.expect(path)
        asked.answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return asked.body


@pytest.fixture
def page() -> Iterator[StandIn]:
    """What jobs of type `visit` go to see; in one test it is the service."""
    stand_in = StandIn()
    serving = threading.Thread(target=stand_in.server.serve_forever, args=(0.01,))
    serving.start()
    try:
        yield stand_in
    finally:
        stand_in.server.shutdown()
        stand_in.server.server_close()
        serving.join()


class StartWorker(Protocol):
    def __call__(self, url: str, **env: str) -> subprocess.Popen[str]: ...


@pytest.fixture
def start_worker() -> Iterator[StartWorker]:
    with ExitStack() as workers:

        def start(url: str, **env: str) -> subprocess.Popen[str]:
            command = subprocess.Popen([*NODE, url], env=environment(HASTY | env), stderr=subprocess.PIPE, text=True)
            worker = workers.enter_context(command)
            workers.callback(worker.kill)
            return worker

        yield start


def stop(worker: subprocess.Popen[str]) -> None:
    """End the worker as a supervisor does; it must end well, and have nothing to complain of."""
    worker.send_signal(signal.SIGTERM)
    assert (worker.wait(WITHIN_S), worker.stderr and worker.stderr.read()) == (0, "")


def test_a_handler_puts_its_job_off(start_server: StartServer, start_worker: StartWorker, page: StandIn) -> None:
    server = start_server("--no-workers")
    job = server.submit("visit", {"url": f"{page.url}/busy"})
    worker = start_worker(f"http://127.0.0.1:{server.address[1]}", BURST="1")

    page.answer("/busy", 429, retry_after="600")

    assert worker.wait(WITHIN_S) == 0
    off = server.job(job["id"])
    assert (off["status"], off["retry_count"]) == ("PENDING", 0)
    assert off["run_after"] > off["updated_at"]


def test_a_cancel_ends_the_attempt(start_server: StartServer, start_worker: StartWorker, page: StandIn) -> None:
    server = start_server("--no-workers")
    job = server.submit("visit", {"url": f"{page.url}/never"})
    worker = start_worker(f"http://127.0.0.1:{server.address[1]}")
    page.expect("/never")  # and nobody answers it

    server.post(f"/jobs/{job['id']}/cancel")

    server.wait_for_status(job["id"], "CANCELLED")
    stop(worker)


def test_sigterm_lets_what_runs_finish(start_server: StartServer, start_worker: StartWorker, page: StandIn) -> None:
    server = start_server("--no-workers")
    job = server.submit("visit", {"url": f"{page.url}/slow"})
    worker = start_worker(f"http://127.0.0.1:{server.address[1]}")
    visit = page.expect("/slow")

    worker.send_signal(signal.SIGTERM)
    visit.answer(200, "hi", {})

    assert worker.wait(WITHIN_S) == 0
    done = server.job(job["id"])
    assert (done["status"], done["result"]) == ("DONE", {"status": 200, "length": 4})


def test_what_outlasts_the_grace_is_given_back(
    start_server: StartServer, start_worker: StartWorker, page: StandIn
) -> None:
    server = start_server("--no-workers")
    job = server.submit("visit", {"url": f"{page.url}/never"})
    worker = start_worker(f"http://127.0.0.1:{server.address[1]}", GRACE="0")
    page.expect("/never")

    stop(worker)

    back = server.job(job["id"])
    assert (back["status"], back["retry_count"]) == ("PENDING", 0)
    assert "crashes" not in back


def test_it_repeats_what_was_not_answered_and_heeds_quiet(start_worker: StartWorker, page: StandIn) -> None:
    lent = {"lease": "7-ab", "job": {"id": "7", "type": "visit", "payload": {"url": f"{page.url}/slow"}}}
    worker = start_worker(page.url)

    page.answer("/leases", 503, {"error": "shutting down"}, retry_after="0")
    page.answer("/leases", 200, {"leases": [lent]})
    at_once = [page.next() for _ in range(2)]  # the handler's visit, and a wish for the free places
    [visit, wish] = sorted(at_once, key=lambda asked: asked.path, reverse=True)
    page.answer("/leases/7-ab/heartbeat", 200, {"state": "quiet"})
    beat = page.expect("/leases/7-ab/heartbeat")  # so it has read that
    wish.answer(200, {"leases": []}, {})
    beat.answer(200, {"state": "running"}, {})
    page.answer("/leases/7-ab/heartbeat", 200, {"state": "running"})  # and no wish meanwhile
    visit.answer(200, "hi", {})
    results = [page.answer("/leases/7-ab/complete", status, {}, retry_after="0") for status in (503, 200)]
    again = page.expect("/leases")
    worker.send_signal(signal.SIGTERM)
    again.answer(200, {"leases": []}, {})

    assert (wish.path, wish.body["max"], again.body["max"]) == ("/leases", 3, 4)
    assert results == [{"result": {"status": 200, "length": 4}}] * 2
    assert worker.wait(WITHIN_S) == 0
