"""The calls of workers elsewhere over real sockets, each status, on the memory and the Redis store."""

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import StartServer
from tests.integration.http_client import Answer, request
from tests.integration.server_process import ServerProcess, eventually, running_server
from tests.redis_servers import RedisServer

ACTS = ["heartbeat", "complete", "fail", "snooze", "release"]
GOOD: dict[str, dict[str, Any]] = {"fail": {"error": "ValueError: no luck"}, "snooze": {"delay": 60}}
NO_JOB = "1-" + "0" * 24


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with RedisServer() as redis:
        yield redis.url


@pytest.fixture(scope="module", params=["memory", "redis"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    url = "memory://" if request.param == "memory" else request.getfixturevalue("redis_url")
    with running_server("--no-workers", env={"BACKEND_URL": url}) as server:
        yield server


def ask(server: ServerProcess, path: str, **members: Any) -> Answer:
    return server.post(path, json.dumps(members).encode())


def lend(server: ServerProcess, queue: str = "default", **members: Any) -> Any:
    """Submit a job to a queue where it is alone, and lease it."""
    job = server.submit("email", {"to": "a@b.c"}, queue=queue, **members)
    answer = ask(server, "/leases", queues=[queue], worker="far")
    assert answer.status == 200
    [lent] = answer.json["leases"]
    assert lent["job"]["id"] == job["id"]
    return lent


def settle(server: ServerProcess, lease: str, act: str, /, **members: Any) -> Answer:
    return ask(server, f"/leases/{lease}/{act}", **members)


def test_a_lent_job_is_shown_whole(server: ServerProcess) -> None:
    lent = lend(server)

    assert lent["lease"].startswith(f"{lent['job']['id']}-")
    assert lent["expires_at"] > lent["job"]["started_at"]
    assert lent["job"]["payload"] == {"to": "a@b.c"}
    assert lent["job"]["status"] == "RUNNING"
    assert settle(server, lent["lease"], "complete").json == {"status": "DONE"}


def test_an_empty_body_asks_for_one_job_of_the_default_queue(server: ServerProcess) -> None:
    job = server.submit("email")

    answer = server.post("/leases")

    [lent] = answer.json["leases"]
    assert lent["job"]["id"] == job["id"]
    assert server.post(f"/leases/{lent['lease']}/release").json == {"status": "PENDING"}
    assert ask(server, "/leases").json["leases"][0]["job"]["attempt"] == 1


def test_a_worker_that_waits_gets_the_job_that_comes(server: ServerProcess) -> None:
    server.post("/queue/waited-for")
    answers: list[Answer] = []
    waiting = threading.Thread(
        target=lambda: answers.append(ask(server, "/leases", queues=["waited-for"], wait=20, max=64))
    )
    waiting.start()

    job = server.submit("email", queue="waited-for")
    waiting.join(20)

    assert [lent["job"]["id"] for lent in answers[0].json["leases"]] == [job["id"]]


def test_nothing_is_lent_where_nothing_is_due(server: ServerProcess) -> None:
    server.post("/queue/empty")

    answer = ask(server, "/leases", queues=["EMPTY"], wait=0.01)

    assert (answer.status, answer.json) == (200, {"leases": []})


def test_what_a_heartbeat_says_is_shown_and_kept_for_the_next_attempt(server: ServerProcess) -> None:
    server.post("/queue/long")
    lent = lend(server, "long")

    beat = settle(server, lent["lease"], "heartbeat", lease=60, progress=0.5, note="half", checkpoint={"at": 7})

    assert beat.json["state"] == "running"
    assert beat.json["expires_at"] > lent["expires_at"]
    assert server.job(lent["job"]["id"])["progress"] == {"fraction": 0.5, "note": "half"}
    settle(server, lent["lease"], "fail", error="ValueError: no luck", delay=0)
    [again] = ask(server, "/leases", queues=["long"]).json["leases"]
    assert again["checkpoint"] == {"at": 7}


def test_a_cancel_reaches_the_worker_and_ends_the_job(server: ServerProcess) -> None:
    server.post("/queue/unwanted")
    lent = lend(server, "unwanted")
    server.post(f"/jobs/{lent['job']['id']}/cancel")

    beat = settle(server, lent["lease"], "heartbeat")
    released = settle(server, lent["lease"], "release")

    assert beat.json["state"] == "cancel"
    assert released.json == {"status": "CANCELLED"}


def test_a_result_and_an_error_are_kept(server: ServerProcess) -> None:
    server.post("/queue/kept")
    done, dead = lend(server, "kept"), lend(server, "kept")

    settle(server, done["lease"], "complete", result={"sent": 250})
    settle(server, dead["lease"], "fail", error="SMTPError: no\nroute", traceback="at line 7", retry=False)

    assert server.job(done["job"]["id"])["result"] == {"sent": 250}
    job = server.job(dead["job"]["id"])
    assert (job["status"], job["reason"], job["error"]) == ("DEAD", "no_retry", "SMTPError: no route")
    assert [(attempt["worker"], attempt["traceback"]) for attempt in job["attempts"]] == [("far", "at line 7")]


@pytest.mark.parametrize("act", ACTS[1:])
def test_a_repeat_is_answered_as_the_first(server: ServerProcess, act: str) -> None:
    server.post(f"/queue/twice-{act}")
    lent = lend(server, f"twice-{act}", max_retries=0)

    answers = [settle(server, lent["lease"], act, **GOOD.get(act, {})) for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].json == answers[1].json


@pytest.mark.parametrize("act", ACTS)
def test_a_lease_that_is_over_is_a_conflict(server: ServerProcess, act: str) -> None:
    server.post(f"/queue/over-{act}")
    lent = lend(server, f"over-{act}")
    settle(server, lent["lease"], "release" if act == "complete" else "complete")

    answer = settle(server, lent["lease"], act, **GOOD.get(act, {}))

    assert answer.status == 409
    assert "this lease of job" in answer.json["error"]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("lease", [NO_JOB, "9" * 20 + "-0", "abc", "1", "1-", "-0", "1-0x", "1-0%0a", "1-" + "0" * 65])
def test_a_lease_that_never_was_is_not_found(server: ServerProcess, act: str, lease: str) -> None:
    answer = settle(server, lease, act, **GOOD.get(act, {}))

    assert answer.status == 404
    assert list(answer.json) == ["error"]


def test_a_queue_that_is_not_there_is_not_found(server: ServerProcess) -> None:
    answer = ask(server, "/leases", queues=["default", "nowhere"])

    assert (answer.status, answer.json) == (404, {"error": "queue not found: nowhere"})


BAD_WISHES: list[tuple[str, Any]] = [
    ("queues", []),
    ("queues", "default"),
    ("queues", ["no name"]),
    ("queues", [f"q{number}" for number in range(65)]),
    ("types", []),
    ("types", ["no type"]),
    ("max", 0),
    ("max", 65),
    ("max", 1.5),
    ("wait", -1),
    ("wait", 21),
    ("lease", 4),
    ("lease", 3601),
    ("lease", "30"),
    ("worker", ""),
    ("worker", "w" * 129),
    ("worker", "a\nb"),
]
BAD_ENDS: list[tuple[str, str, dict[str, Any]]] = [
    ("heartbeat", "progress", {"progress": 1.1}),
    ("heartbeat", "note", {"note": 5}),
    ("heartbeat", "lease", {"lease": 1}),
    ("heartbeat", "checkpoint", {"checkpoint": "x" * 65_536}),
    ("complete", "result", {"result": "x" * 65_536}),
    ("complete", "result", {"result": json.loads("[" * 65 + "]" * 65)}),
    ("fail", "error", {}),
    ("fail", "error", {"error": " \n "}),
    ("fail", "retry", {"error": "E", "retry": "no"}),
    ("fail", "delay", {"error": "E", "delay": -1}),
    ("snooze", "delay", {}),
    ("snooze", "delay", {"delay": 31_536_001}),
]


@pytest.mark.parametrize(("field", "value"), BAD_WISHES)
def test_a_wish_that_cannot_be_names_the_member(server: ServerProcess, field: str, value: Any) -> None:
    answer = ask(server, "/leases", **{field: value})

    assert answer.status == 400
    assert answer.json["field"].partition("[")[0] == field


@pytest.mark.parametrize(("act", "field", "members"), BAD_ENDS)
def test_an_end_that_cannot_be_names_the_member(
    server: ServerProcess, act: str, field: str, members: dict[str, Any]
) -> None:
    answer = settle(server, NO_JOB, act, **members)

    assert (answer.status, answer.json["field"]) == (400, field)


@pytest.mark.parametrize("path", ["/leases", *(f"/leases/{NO_JOB}/{act}" for act in ACTS)])
def test_what_is_no_such_body_is_refused(server: ServerProcess, path: str) -> None:
    origin = {"origin": "http://elsewhere", "content-type": "text/plain"}

    assert server.post(path, b"{").json == {"error": "invalid json"}
    assert server.post(path, b"[]").status == 400
    assert server.post(path, b'{"a":1}').json == {"error": "'a' is no member that can be given here", "field": "a"}
    assert server.post(path, b'{"a":1,"a":2}').json["field"] == "a"
    assert server.post(path, b'{"a":"\xff"}').status == 400
    assert server.post(path, b'"%b"' % (b"x" * (1 << 20))).status == 413
    assert server.ask("POST", path, b"{}", headers=origin).status == 415
    assert server.get(path).status == 405


def test_a_worker_whose_connection_is_gone_takes_no_job_along(server: ServerProcess) -> None:
    server.post("/queue/gone")
    with server.connect() as connection:
        body = b'{"queues":["gone"],"wait":20}'
        connection.send(b"POST /leases HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        server.get("/healthz")

    job = server.submit("email", queue="gone")

    eventually(
        lambda: [each["job"]["id"] for each in ask(server, "/leases", queues=["gone"]).json["leases"]] == [job["id"]]
    )


@pytest.mark.slow
def test_a_service_that_drains_lends_no_more_and_ends_waits(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(env={"QUEUES": "default"})
    server.post("/queue/far")
    lent = lend(server, "far")
    server.submit("wait", {"folder": str(tmp_path)})  # keeps the service draining
    eventually((tmp_path / "started").exists)
    with server.connect() as waiting:
        waiting.send(request("POST", "/leases", b'{"queues":["far"],"wait":20}'))
        server.get("/healthz")  # answered by the same loop, later

        server.signal(signal.SIGTERM)
        server.wait_for_line("draining")
        refused = ask(server, "/leases")
        beat = settle(server, lent["lease"], "heartbeat")
        ended = waiting.read()
    (tmp_path / "go").touch()

    assert (refused.status, int(refused.headers["retry-after"]) > 0) == (503, True)
    assert refused.json == {"error": "shutting down; ask another process or try again later"}
    assert beat.json["state"] == "quiet"
    assert ended.json == {"leases": []}
