"""The edges of the HTTP surface: what is asked with the wrong method or at no known path, HEAD, health, metrics."""

from collections.abc import Iterator

import pytest
from tests.integration.server_process import ServerProcess, running_server
from tests.integration.wire import assert_is_error

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
ALLOWED = {
    "/jobs": {"GET", "HEAD", "POST"},
    "/default/jobs": {"POST"},
    "/jobs/1": {"GET", "HEAD", "PATCH", "DELETE"},
    "/jobs/1/attempts": {"GET", "HEAD"},
    "/jobs/1/result": {"GET", "HEAD"},
    "/jobs/1/explain": {"GET", "HEAD"},
    "/jobs/1/retry": {"POST"},
    "/jobs/1/run": {"POST"},
    "/operations": {"GET", "HEAD"},
    "/operations/1": {"GET", "HEAD"},
    "/operations/1/cancel": {"POST"},
    "/jobs/1/cancel": {"POST"},
    "/dlq": {"GET", "HEAD"},
    "/dlq/1": {"GET", "HEAD", "DELETE"},
    "/dlq/1/replay": {"POST"},
    "/workers": {"GET", "HEAD"},
    "/queue": {"GET", "HEAD"},
    "/queue/mail": {"POST"},
    "/metrics": {"GET", "HEAD"},
    "/healthz": {"GET", "HEAD"},
    "/readyz": {"GET", "HEAD"},
}
REFUSED_METHODS = [(method, path) for path in ALLOWED for method in METHODS if method not in ALLOWED[path]]


@pytest.fixture(scope="module", params=["true", "false"], ids=["fast lane", "full way"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with running_server("--no-workers", env={"FAST_LANE": request.param}) as server:
        yield server


def test_the_metrics_are_prometheus_text(server: ServerProcess) -> None:
    answer = server.get("/metrics")

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_server_that_runs_is_healthy_and_ready(server: ServerProcess, path: str) -> None:
    answer = server.get(path)

    assert (answer.status, answer.json) == (200, {"status": "ok"})


@pytest.mark.parametrize(("method", "path"), REFUSED_METHODS)
def test_a_method_that_is_not_allowed_is_told_which_are(server: ServerProcess, method: str, path: str) -> None:
    answer = server.ask(method, path)

    assert_is_error(answer, 405, "method not allowed")
    assert set(answer.headers["allow"].split(", ")) == ALLOWED[path]


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/jobs/", "/jobs/1/2", "/queue/", "//jobs", "/a/b/jobs", "/Jobs", "/dlq/1/x"]
)
def test_an_unknown_path_is_not_found_in_json(server: ServerProcess, path: str) -> None:
    answer = server.get(path)

    assert_is_error(answer, 404, "not found")


@pytest.mark.parametrize("path", ["/dlq", "/queue", "/healthz", "/readyz", "/jobs/1", "/nope"])
def test_head_answers_as_get_does_without_the_body(server: ServerProcess, path: str) -> None:
    with server.connect() as connection:
        got = connection.ask("GET", path)
        head = connection.ask("HEAD", path)
        again = connection.ask("GET", path)

    assert (head.status, head.body) == (got.status, b"")
    assert head.headers["content-length"] == str(len(got.body))
    assert again.body == got.body


def test_the_server_does_not_say_what_it_is_made_of(server: ServerProcess) -> None:
    answer = server.get("/healthz")

    assert "server" not in answer.headers
