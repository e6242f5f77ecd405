"""Waiting for a job and watching events over HTTP, with real sockets."""

import http.client
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest
from tests.integration.server_process import ServerProcess, eventually

APP = "apps:app"
WITHIN_S = 20.0


class Event(NamedTuple):
    """One event of a stream."""

    name: str
    id: str
    data: Any


class Stream:
    """A stream of events, read as it comes."""

    def __init__(self, server: ServerProcess, path: str, **headers: str) -> None:
        self._connection = http.client.HTTPConnection(*server.address, timeout=WITHIN_S)
        self._connection.request(
            "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        self.response = self._connection.getresponse()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def begin(self) -> Self:
        """Read what every stream begins with: from then on it watches."""
        assert self.response.readline() == b"retry: 2000\n"
        assert self.response.readline() == b"\n"
        return self

    def read(self) -> Event | None:
        """Return the next event; None at the end of the stream."""
        fields: dict[str, str] = {}
        while line := self.response.readline().decode():
            if line == "\n" and "data" in fields:
                return Event(fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"]))
            name, colon, value = line.rstrip("\n").partition(": ")
            if name and colon:
                fields[name] = fields[name] + "\n" + value if name in fields else value
        return None

    def rest(self) -> list[Event]:
        """Return all that comes before the end."""
        return list(iter(self.read, None))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(app=APP, env={"MAX_RETRIES": "0", "NUM_WORKERS": "4"}, folder=tmp_path)
    yield process
    process.kill()


def post(server: ServerProcess, job_type: str, query: str = "", payload: object = None, **headers: str) -> Any:
    body = json.dumps({"type": job_type, "payload": payload}).encode()
    return server.ask("POST", f"/jobs{query}", body, headers={name.replace("_", "-"): v for name, v in headers.items()})


# -- waiting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("job_type", "status"), [("ok", "DONE"), ("fail", "DEAD")])
def test_a_job_is_posted_and_its_end_answered_in_one_call(server: ServerProcess, job_type: str, status: str) -> None:
    answer = post(server, job_type, "?wait=20")

    assert (answer.status, answer.json["status"]) == (201, status)
    assert "preference-applied" not in answer.headers


def test_a_preference_does_the_same_and_is_confirmed(server: ServerProcess) -> None:
    answer = post(server, "ok", prefer='respond-async, wait="20"; x')

    assert (answer.status, answer.json["status"]) == (201, "DONE")
    assert answer.headers["preference-applied"] == "wait=20"


def test_a_look_up_waits_too(server: ServerProcess, tmp_path: Path) -> None:
    job_id = server.submit("wait", {"folder": str(tmp_path)})["id"]
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(server.get(f"/jobs/{job_id}?wait=20")))
    waiting.start()
    (tmp_path / "go").touch()
    waiting.join(WITHIN_S)

    assert [(answer.status, answer.json["status"]) for answer in answers] == [(200, "DONE")]


@pytest.mark.parametrize("query", ["?wait=0", "?wait=0.01"])
def test_at_its_time_the_job_is_answered_as_it_is(server: ServerProcess, tmp_path: Path, query: str) -> None:
    answer = post(server, "wait", query, {"folder": str(tmp_path)})

    assert answer.status == 201
    assert answer.json["status"] in ("PENDING", "RUNNING")


@pytest.mark.parametrize("wait", ["", "-1", "61", "1e1", "x", "60.0001", "0x1", "%D9%A3"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wait_that_is_none_is_refused_by_name(server: ServerProcess, method: str, wait: str) -> None:
    path = "/jobs" if method == "POST" else "/jobs/7"
    body = b'{"type":"ok"}' if method == "POST" else None
    answer = server.ask(method, f"{path}?wait={wait}", body)

    assert (answer.status, answer.json["field"]) == (400, "wait")


@pytest.mark.parametrize("prefer", ["wait=x", "wait", "wait=1000", "awaiting=20", "return=minimal"])
def test_a_preference_nobody_can_read_is_none(server: ServerProcess, tmp_path: Path, prefer: str) -> None:
    answer = post(server, "wait", payload={"folder": str(tmp_path)}, prefer=prefer)

    assert answer.status == 201
    assert "preference-applied" not in answer.headers


def test_a_bad_job_is_refused_at_once(server: ServerProcess) -> None:
    assert server.ask("POST", "/jobs?wait=20", b"{}").status == 400
    assert server.ask("GET", "/jobs/7?wait=20").status == 404


def test_a_drain_answers_those_who_wait(server: ServerProcess, tmp_path: Path) -> None:
    job_id = server.submit("wait", {"folder": str(tmp_path)})["id"]
    eventually(lambda: server.job(job_id)["status"] == "RUNNING")
    with server.connect() as connection:
        connection.send(f"GET /jobs/{job_id}?wait=60 HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        with Stream(server, "/events").begin() as stream:
            server.signal(signal.SIGTERM)
            answer = connection.read()
            assert stream.rest() == []

    assert (answer.status, answer.json["status"]) == (200, "RUNNING")


# -- events ------------------------------------------------------------------------------------------------------------


def test_a_job_is_watched_from_how_it_is_to_its_end(server: ServerProcess, tmp_path: Path) -> None:
    job_id = server.submit("wait", {"folder": str(tmp_path)})["id"]
    with Stream(server, f"/jobs/{job_id}/events").begin() as stream:
        first = stream.read()
        (tmp_path / "go").touch()
        rest = stream.rest()

    assert first is not None
    assert first.data["id"] == job_id
    assert [event.name for event in rest][-1] == "job.done"
    assert rest[-1].data["payload"] == {"folder": str(tmp_path)}
    assert stream.response.headers["content-type"].startswith("text/event-stream")


def test_a_job_that_has_ended_is_one_event_and_none_for_who_has_seen_it(server: ServerProcess) -> None:
    job_id = post(server, "ok", "?wait=20").json["id"]

    with Stream(server, f"/jobs/{job_id}/events").begin() as stream:
        [event] = stream.rest()
    with Stream(server, f"/jobs/{job_id}/events", last_event_id=event.id).begin() as again:
        seen = again.rest()

    assert (event.name, event.data["status"], seen) == ("job.done", "DONE", [])


@pytest.mark.parametrize("path", ["/jobs/7/events", "/jobs/x/events"])
def test_a_job_that_is_not_there_has_no_events(server: ServerProcess, path: str) -> None:
    assert server.get(path).status == 404


def test_all_events_come_as_they_happen(server: ServerProcess) -> None:
    with Stream(server, "/events").begin() as stream:
        job_id = post(server, "ok").json["id"]
        events = [stream.read() for _ in range(3)]

    assert [event.name for event in events if event] == ["job.enqueued", "job.started", "job.done"]
    assert {event.data["id"] for event in events if event} == {job_id}


def test_a_filter_leaves_the_others_out(server: ServerProcess) -> None:
    with Stream(server, "/events?type=fail&status=dead").begin() as stream:
        post(server, "ok", "?wait=20")
        job_id = post(server, "fail").json["id"]
        event = stream.read()

    assert event is not None
    assert (event.name, event.data["id"], event.data["error"]) == ("job.dead", job_id, "ValueError: no luck")


@pytest.mark.parametrize(("query", "field"), [("queue=a b", "queue"), ("status=gone", "status")])
def test_a_filter_that_is_none_is_refused_by_name(server: ServerProcess, query: str, field: str) -> None:
    answer = server.get(f"/events?{query.replace(' ', '%20')}")

    assert (answer.status, answer.json["field"]) == (400, field)


def test_who_comes_back_gets_what_was_missed(server: ServerProcess) -> None:
    with Stream(server, "/events").begin() as stream:
        first = post(server, "ok", "?wait=20").json["id"]
        seen = stream.read()
    assert seen is not None
    second = post(server, "ok", "?wait=20").json["id"]

    with Stream(server, "/events", last_event_id=seen.id).begin() as again:
        missed = [again.read() for _ in range(5)]

    assert [(event.name, event.data["id"]) for event in missed if event] == [
        ("job.started", first),
        ("job.done", first),
        ("job.enqueued", second),
        ("job.started", second),
        ("job.done", second),
    ]


@pytest.mark.parametrize("last_id", ["0123456789ab-1", "no id", "123-DONE"])
def test_who_comes_back_too_late_or_from_elsewhere_is_told(server: ServerProcess, last_id: str) -> None:
    with Stream(server, "/events", last_event_id=last_id).begin() as stream:
        event = stream.read()

    assert event == Event("reset", "", {})


def test_hundreds_who_watch_leave_nothing_behind(server: ServerProcess) -> None:
    before = descriptors(server)
    streams = [Stream(server, f"/events?queue=q{number % 7}").begin() for number in range(200)]
    post(server, "ok", "?wait=20")
    for stream in streams:
        stream.__exit__()

    eventually(lambda: descriptors(server) <= before + 1)


def descriptors(server: ServerProcess) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
