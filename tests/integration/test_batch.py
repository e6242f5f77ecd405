"""`POST /jobs/batch`: many jobs in one call, each refusal named by its index, all or none on request."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.http_client import Answer, request
from tests.integration.server_process import ServerProcess, running_server

JSON = {"content-type": "application/json"}
LINES = {"content-type": "application/x-ndjson"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with running_server("--no-workers", env={"MAX_QUEUE_DEPTH": "5"}, folder=tmp_path) as server:
        server.post("/queue/mail")
        yield server


def send(server: ServerProcess, batch: object) -> Answer:
    return server.ask_raw(request("POST", "/jobs/batch", json.dumps(batch).encode(), headers=JSON))


def depth(server: ServerProcess) -> float:
    page = server.get("/metrics").body.decode()
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith("gotaskq_queue_depth{"))


def test_the_jobs_come_back_in_order_as_stored(server: ServerProcess) -> None:
    answer = send(
        server, {"jobs": [{"type": "ok", "payload": {"n": 1}}, {"type": "ok", "queue": "Mail", "priority": 7}]}
    )

    first, second = answer.json["jobs"]
    assert answer.status == 201
    assert answer.json["errors"] == []
    assert (first["payload"], second["queue"], second["priority"]) == ({"n": 1}, "mail", 7)
    assert server.job(first["id"]) == first


def test_a_refused_job_is_named_by_its_index_and_spares_the_others(server: ServerProcess) -> None:
    bad = [
        {"type": ""},
        {"type": "ok", "queue": "nope"},
        {"type": "ok", "priority": 11},
        7,
        {"type": "ok", "delay": -1},
    ]

    answer = send(server, {"jobs": [{"type": "ok"}, *bad, {"type": "ok"}]})

    assert answer.status == 201
    assert len(answer.json["jobs"]) == 2
    assert [(error["index"], error.get("field")) for error in answer.json["errors"]] == [
        (1, "type"),
        (2, None),
        (3, "priority"),
        (4, None),
        (5, "delay"),
    ]


def test_an_atomic_batch_with_one_bad_job_stores_none(server: ServerProcess) -> None:
    answer = send(server, {"atomic": True, "jobs": [{"type": "ok"}, {"type": "ok", "priority": 11}]})

    assert (answer.status, answer.json["field"]) == (400, "priority")
    assert answer.json["jobs"] == []
    assert [error["index"] for error in answer.json["errors"]] == [0, 1]
    assert depth(server) == 0


def test_an_atomic_batch_for_which_there_is_no_room_stores_none(server: ServerProcess) -> None:
    answer = send(server, {"atomic": True, "jobs": [{"type": "ok"}] * 6})

    assert answer.status == 429
    assert int(answer.headers["retry-after"]) > 0
    assert depth(server) == 0


def test_a_batch_that_overfills_a_queue_stores_what_fits(server: ServerProcess) -> None:
    answer = send(server, {"jobs": [{"type": "ok"}] * 7})

    assert (answer.status, len(answer.json["jobs"]), len(answer.json["errors"])) == (201, 5, 2)
    assert depth(server) == 5


def test_one_job_a_line_is_a_batch_too(server: ServerProcess) -> None:
    body = b'{"type":"ok","payload":[1,  2]}\r\n\n{"type":"ok",}\n{"type":"ok"}'

    answer = server.ask_raw(request("POST", "/jobs/batch", body, headers=LINES))

    assert answer.status == 201
    assert b'"payload":[1,  2]' in answer.body
    assert len(answer.json["jobs"]) == 2
    assert answer.json["errors"] == [{"index": 1, "error": "invalid json"}]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"jobs":[]}', "jobs"),
        (b'{"jobs":{}}', "jobs"),
        (b'{"jobs":[{"type":"ok"}],"atomic":1}', "atomic"),
        (b'{"jobs":[' + b",".join([b'{"type":"ok"}'] * 1_001) + b"]}", "jobs"),
        (b"{}", None),
        (b"[]", None),
        (b'{"jobs":[', None),
        (b"", None),
    ],
)
def test_what_is_no_batch_is_refused_whole(server: ServerProcess, body: bytes, field: str | None) -> None:
    answer = server.ask_raw(request("POST", "/jobs/batch", body, headers=JSON))

    assert (answer.status, answer.json.get("field")) == (400, field)
    assert depth(server) == 0


def test_a_batch_over_8_mib_is_refused_before_it_is_read(server: ServerProcess) -> None:
    head = b"POST /jobs/batch HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % ((8 << 20) + 1)

    answer = server.ask_raw(head)

    assert answer.status == 413
    assert answer.headers["connection"] == "close"
