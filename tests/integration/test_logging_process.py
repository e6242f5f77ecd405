"""What a server process logs: one JSON object a line, whatever clients and handlers put into it."""

import json
from pathlib import Path

import pytest
from tests.integration.conftest import StartServer
from tests.integration.server_process import ServerProcess, run_command

pytestmark = pytest.mark.slow  # a process each

FORGED = '{"level":"fake"}'
HOSTILE = f"a\r\n{FORGED}\n\x1b[31m\u2028{FORGED}"


def log_lines(server: ServerProcess) -> list[str]:
    """Return what was logged, without the greeting (which is for people)."""
    return [line for line in server.stderr.splitlines() if not line.startswith(("GoTaskQ listens", "Try: curl"))]


def test_each_log_line_is_one_json_object(start_server: StartServer) -> None:
    server = start_server("--log-format", "json", "--log-level", "debug")
    server.post("/queue/mail")
    server.wait_for_status(server.submit("ok")["id"], "DONE")
    dead = server.wait_for_status(server.submit("fail", max_retries=0)["id"], "DEAD")
    assert server.stop() == 0

    lines = [json.loads(line) for line in log_lines(server)]

    assert all({"at", "level", "logger", "event"} <= line.keys() for line in lines)
    events = [line["event"] for line in lines]
    assert {"queue_created", "job_enqueued", "job_started", "job_done", "job_died"} <= set(events)
    died = next(line for line in lines if line["event"] == "job_died")
    assert died["level"] == "warning"
    assert {name: died[name] for name in ("job_id", "queue", "type", "attempt", "error", "reason")} == {
        "job_id": dead["id"],
        "queue": "default",
        "type": "fail",
        "attempt": 1,
        "error": "ValueError: no luck",
        "reason": "retries_exhausted",
    }


def test_at_the_usual_level_a_job_that_went_well_is_not_logged(start_server: StartServer) -> None:
    server = start_server("--log-format", "json")
    job = server.submit("ok", {"secret": "hunter2"})
    server.wait_for_status(job["id"], "DONE")
    assert server.stop() == 0

    assert job["id"] not in server.stderr
    assert "hunter2" not in server.stderr


def test_nobody_can_make_a_log_line_of_their_own(start_server: StartServer) -> None:
    server = start_server("--log-format", "json", "--log-level", "debug", app=None)
    payload = json.dumps({"msg": HOSTILE}, ensure_ascii=False).encode()
    headers = {"user-agent": f"x\x1b[31m\x0b{FORGED}", "x-request-id": FORGED}
    server.ask("POST", "/jobs", b'{"type":"logger","payload":%b}' % payload, headers=headers)
    plain = server.submit("logger", HOSTILE)
    server.wait_for_status(plain["id"], "DONE")
    server.post("/queue/a%0D%0A" + "%7B%22level%22:%22fake%22%7D")
    assert server.stop() == 0

    assert_no_forged_line(server)


def test_a_handlers_error_cannot_make_a_log_line(start_server: StartServer) -> None:
    server = start_server("--log-format", "json")
    server.wait_for_status(server.submit("injure", max_retries=0)["id"], "DEAD")
    assert server.stop() == 0

    assert_no_forged_line(server)
    assert "SecretError" in server.stderr


def assert_no_forged_line(server: ServerProcess) -> None:
    lines = [json.loads(line) for line in log_lines(server)]
    assert lines
    assert all(line["level"] != "fake" for line in lines)
    assert all(character.isprintable() or character == "\n" for character in server.stderr)


def test_as_text_a_hostile_payload_stays_on_its_line(start_server: StartServer) -> None:
    server = start_server("--log-format", "text", app=None)
    job = server.submit("logger", HOSTILE)
    server.wait_for_status(job["id"], "DONE")
    assert server.stop() == 0

    assert [line for line in log_lines(server) if line.startswith(FORGED)] == []
    assert all(character.isprintable() or character == "\n" for character in server.stderr)


def test_a_password_in_a_setting_is_never_shown(tmp_path: Path) -> None:
    env = {"BACKEND_URL": "redis://:hunter2@localhost:1/0"}

    shown = run_command("config", env=env)
    as_json = run_command("config", "--json", env=env)

    assert "hunter2" not in shown.stdout + shown.stderr + as_json.stdout + as_json.stderr
    assert json.loads(as_json.stdout)["BACKEND_URL"]["value"] == "redis://:***@localhost:1/0"
