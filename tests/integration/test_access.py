"""Who is let in, in a real process: tokens and scopes, names, the audit log, request ids, and problem+json."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.http_client import Answer
from tests.integration.server_process import ServerProcess, eventually, run_command

from gotaskq.api.security.tokens import Scope, new_token

BODY = b'{"type":"echo"}'
TOKENS = {scope: new_token(scope.value, [scope]) for scope in Scope}


def bearer(scope: Scope) -> str:
    return f"authorization: Bearer {TOKENS[scope][0]}"


@pytest.fixture
def tokens_file(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text("\n".join(token.line() for _, token in TOKENS.values()))
    return file


@pytest.fixture
def guarded(tmp_path: Path, tokens_file: Path) -> Iterator[ServerProcess]:
    env = {"TOKENS_FILE": str(tokens_file), "LOG_FORMAT": "json", "ALLOWED_HOSTS": ""}
    process = ServerProcess(app=None, env=env, folder=tmp_path)
    yield process
    process.kill()


def ask(server: ServerProcess, method: str, path: str, *headers: str, body: bytes | None = None) -> Answer:
    named = dict(header.split(": ", 1) for header in ("host: localhost", *headers))
    return server.ask(method, path, body, headers=named)


def lines(server: ServerProcess, message: str) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in server.stderr.splitlines() if line.startswith("{")]
    return [record for record in records if record.get("event") == message]


ASKED = [
    (Scope.SUBMIT, "POST", "/jobs", BODY, 201),
    (Scope.SUBMIT, "POST", "/default/jobs", BODY, 201),
    (Scope.SUBMIT, "POST", "/jobs/batch", b'{"jobs":[{"type":"echo"}]}', 201),
    (Scope.READ, "GET", "/jobs/7", None, 404),
    (Scope.READ, "GET", "/dlq", None, 200),
    (Scope.READ, "GET", "/queue", None, 200),
    (Scope.READ, "GET", "/types", None, 200),
    (Scope.READ, "GET", "/openapi.json", None, 200),
    (Scope.DLQ, "POST", "/dlq/7/replay", b"", 404),
    (Scope.DLQ, "DELETE", "/dlq/7", None, 404),
    (Scope.ADMIN, "POST", "/dlq/import", b"", 400),
    (Scope.ADMIN, "POST", "/queue/mail", b"", 201),
    (Scope.ADMIN, "POST", "/jobs/7/cancel", b"", 404),
    (Scope.ADMIN, "DELETE", "/jobs/7", None, 404),
]


@pytest.mark.parametrize(("scope", "method", "path", "body", "status"), ASKED)
def test_each_scope_opens_its_routes_and_no_other_does(
    guarded: ServerProcess, scope: Scope, method: str, path: str, body: bytes | None, status: int
) -> None:
    answers = {
        other: ask(guarded, method, path, bearer(other), body=body).status for other in Scope if other is not scope
    }

    assert ask(guarded, method, path, body=body).status == 401
    assert answers.pop(Scope.ADMIN, 403) in (status, 403)
    assert set(answers.values()) == {403}
    if status != 201 or scope is Scope.SUBMIT:
        assert ask(guarded, method, path, bearer(scope), body=body).status == status


@pytest.mark.parametrize("headers", [(), ("authorization: Bearer gtq_submit_wrong",), ("x-slow: 1", "te: trailers")])
def test_without_a_valid_token_it_says_so_and_nothing_else(guarded: ServerProcess, headers: tuple[str, ...]) -> None:
    answer = ask(guarded, "POST", "/jobs", *headers, body=BODY)

    assert (answer.status, answer.json) == (401, {"error": "a valid bearer token is needed"})
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_need_no_token(guarded: ServerProcess, path: str) -> None:
    assert ask(guarded, "GET", path).json == {"status": "ok"}


def test_the_counters_are_open_to_this_machine(guarded: ServerProcess) -> None:
    assert ask(guarded, "GET", "/metrics").status == 200


def test_a_token_in_the_url_is_no_token(guarded: ServerProcess) -> None:
    sent = TOKENS[Scope.ADMIN][0]

    assert ask(guarded, "GET", f"/queue?access_token={sent}&token={sent}").status == 401


def test_who_asks_first_with_a_wrong_token_is_not_told_to_go_on(guarded: ServerProcess) -> None:
    head = "POST /jobs HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer gtq_a_b\r\ncontent-length: 15\r\n"
    with guarded.connect() as connection:
        connection.send(f"{head}expect: 100-continue\r\n\r\n".encode())

        assert connection.read().status == 401


def test_who_guesses_is_made_to_wait(guarded: ServerProcess) -> None:
    wrong = [ask(guarded, "POST", "/jobs", "authorization: Bearer gtq_a_b", body=BODY).status for _ in range(11)]
    answer = ask(guarded, "GET", "/queue", bearer(Scope.READ))

    assert wrong == [401] * 10 + [429]
    assert answer.status == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_tokens_are_read_anew_when_asked(guarded: ServerProcess, tokens_file: Path) -> None:
    sent, token = new_token("new", [Scope.SUBMIT])
    assert ask(guarded, "POST", "/jobs", bearer(Scope.SUBMIT), body=BODY).status == 201
    tokens_file.write_text(token.line())

    guarded.signal(signal.SIGHUP)
    guarded.wait_for_line("tokens reloaded")

    assert ask(guarded, "POST", "/jobs", bearer(Scope.SUBMIT), body=BODY).status == 401
    assert ask(guarded, "POST", "/jobs", f"authorization: Bearer {sent}", body=BODY).status == 201


def test_what_operators_do_is_written_down(guarded: ServerProcess) -> None:
    ask(guarded, "POST", "/queue/mail", bearer(Scope.ADMIN), "x-request-id: deploy-7", body=b"")
    ask(guarded, "GET", "/queue", bearer(Scope.ADMIN))
    ask(guarded, "POST", "/jobs", bearer(Scope.ADMIN), body=BODY)

    [line] = eventually(lambda: lines(guarded, "operator action"))
    about = ("logger", "action", "target", "principal", "remote", "request_id", "status")
    assert {name: line[name] for name in about} == {
        "logger": "gotaskq.audit",
        "action": "POST /queue/{name}",
        "target": "/queue/mail",
        "principal": "admin",
        "remote": "127.0.0.1",
        "request_id": "deploy-7",
        "status": 201,
    }


def test_no_log_line_holds_a_token(guarded: ServerProcess) -> None:
    for scope in Scope:
        ask(guarded, "POST", "/queue/mail", bearer(scope), body=b"")
        ask(guarded, "POST", "/jobs", bearer(scope), body=BODY)
    guarded.stop()

    assert not any(sent in guarded.stderr for sent, _ in TOKENS.values())


# -- without tokens ----------------------------------------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(app=None, env={"ALLOWED_HOSTS": "queue.example.com"}, folder=tmp_path)
    yield process
    process.kill()


def with_host(host: str, method: str = "POST", path: str = "/jobs", body: bytes | None = BODY) -> bytes:
    size = [] if body is None else [f"content-length: {len(body)}"]
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"host: {host}", *size, "", ""]).encode() + (body or b"")


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]", "queue.example.com:80"])
def test_a_name_of_ours_is_served(alone: ServerProcess, host: str) -> None:
    assert alone.ask_raw(with_host(host)).status == 201


@pytest.mark.parametrize("host", ["evil.example.com", "localhost.evil.example.com:8000"])
@pytest.mark.parametrize(
    ("method", "path", "body"), [("POST", "/jobs", BODY), ("GET", "/dlq", None), ("DELETE", "/jobs/7", None)]
)
def test_a_page_whose_name_points_here_is_refused(
    alone: ServerProcess, host: str, method: str, path: str, body: bytes | None
) -> None:
    answer = alone.ask_raw(with_host(host, method, path, body))

    assert (answer.status, "ALLOWED_HOSTS" in answer.json["error"]) == (421, True)


def test_a_request_id_comes_back_to_who_sent_one(alone: ServerProcess) -> None:
    mine = ask(alone, "POST", "/jobs", "x-request-id: a.b-7", body=BODY)
    bad = ask(alone, "POST", "/jobs", "x-request-id: a b", body=BODY)
    none = ask(alone, "POST", "/jobs", body=BODY)

    assert mine.headers["x-request-id"] == "a.b-7"
    assert bad.headers["x-request-id"] not in ("", "a b")
    assert "x-request-id" not in none.headers


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [("POST", "/jobs", b"{}", 400, "type"), ("GET", "/jobs/7", None, 404, None), ("PUT", "/jobs", b"", 405, None)],
)
def test_errors_come_as_problems_to_who_wants_them(
    alone: ServerProcess, method: str, path: str, body: bytes | None, status: int, field: str | None
) -> None:
    answer = ask(alone, method, path, "accept: application/problem+json", "x-request-id: r1", body=body)

    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json
    assert (problem["status"], problem["request_id"], problem.get("field")) == (status, "r1", field)
    assert problem["detail"] == problem["error"] != ""
    assert (problem["type"], bool(problem["title"])) == ("about:blank", True)


def test_what_goes_well_is_no_problem(alone: ServerProcess) -> None:
    answer = ask(alone, "POST", "/jobs", "accept: application/problem+json", body=BODY)

    assert (answer.status, answer.headers["content-type"]) == (201, "application/json")


def test_others_are_not_let_in_without_tokens() -> None:
    ended = run_command("run", "--host", "0.0.0.0", "--port", "0")

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "HOST='0.0.0.0'" in ended.stderr
    assert "INSECURE_NO_AUTH" in ended.stderr
