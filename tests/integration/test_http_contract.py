"""The original's HTTP contract, to the letter, over a real socket; on the fast lane and on the full way.

One server without workers for what is accepted, looked up and refused; what becomes of jobs that run is in
test_job_outcomes.py.
"""

import itertools
import json
import re
from collections.abc import Iterator
from datetime import datetime

import pytest
from tests.integration.server_process import ServerProcess, running_server
from tests.integration.wire import INSTANT, ORIGINAL_MEMBERS, assert_is_error

NOT_IDS = ["0", "1", "9" * 20, "9" * 21, "9" * 1_000, "abc", "1.5", "-1", "1e3", "0x10", "%31%00", "1%0A", "%EF%BC%91"]
numbers = itertools.count()


@pytest.fixture(scope="module", params=["true", "false"], ids=["fast lane", "full way"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with running_server("--no-workers", env={"FAST_LANE": request.param}) as server:
        yield server


def new_queue(server: ServerProcess) -> str:
    name = f"queue-{next(numbers)}"
    assert server.post(f"/queue/{name}").status == 201
    return name


def milliseconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds() * 1000


# ---- submitting


def test_the_originals_request_is_answered_with_the_originals_job(server: ServerProcess) -> None:
    body = b'{"type":"logger","payload":{"msg":"hello"},"priority":5,"delay":0,"max_retries":5}'

    answer = server.post("/jobs", body)

    assert answer.status == 201
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(
        rb'\{"id":"[1-9]\d{5,18}","type":"logger","payload":\{"msg":"hello"\},"status":"PENDING","priority":5,"delay":0,'
        rb'"max_retries":5,"retry_count":0,"created_at":(%b),"updated_at":\1,"run_after":\1\}' % INSTANT,
        answer.body,
    )


def test_only_the_type_is_required(server: ServerProcess) -> None:
    answer = server.post("/jobs", b'{"type":"logger"}')

    job = answer.json
    assert answer.status == 201
    assert list(job) == ORIGINAL_MEMBERS
    assert (job["payload"], job["priority"], job["delay"], job["max_retries"]) == (None, 0, 0, 5)


def test_null_is_as_good_as_absent(server: ServerProcess) -> None:
    answer = server.post("/jobs", b'{"type":"logger","payload":null,"priority":null,"delay":null,"max_retries":null}')

    job = answer.json
    assert answer.status == 201
    assert (job["payload"], job["priority"], job["delay"], job["max_retries"]) == (None, 0, 0, 5)


def test_unknown_members_are_ignored(server: ServerProcess) -> None:
    answer = server.post("/jobs", b'{"type":"logger","status":"DONE","id":"1","Type":"x","nested":{"a":[1]}}')

    assert answer.status == 201
    assert answer.json["status"] == "PENDING"
    assert answer.json["id"] != "1"


def test_the_content_type_may_be_absent(server: ServerProcess) -> None:
    answer = server.ask("POST", "/jobs", b'{"type":"logger"}', headers={"content-type": ""})

    assert answer.status == 201


@pytest.mark.parametrize(
    ("member", "value"),
    [("priority", 0), ("priority", 10), ("max_retries", 0), ("max_retries", 100), ("delay", 0), ("delay", 31_536_000)],
)
def test_a_value_at_its_limit_is_accepted_and_shown(server: ServerProcess, member: str, value: int) -> None:
    answer = server.post("/jobs", json.dumps({"type": "logger", member: value}).encode())

    assert answer.status == 201
    assert answer.json[member] == value


@pytest.mark.parametrize(("sent", "shown"), [("60", b"60"), ("0.25", b"0.25"), ("1.0", b"1"), ("1e1", b"10")])
def test_a_delay_is_seconds_until_the_first_run(server: ServerProcess, sent: str, shown: bytes) -> None:
    answer = server.post("/jobs", f'{{"type":"logger","delay":{sent}}}'.encode())

    job = answer.json
    assert b'"delay":%b,"max_retries"' % shown in answer.body
    assert milliseconds_between(job["created_at"], job["run_after"]) == float(sent) * 1000
    assert job["updated_at"] == job["created_at"]


@pytest.mark.parametrize(
    "payload",
    [
        b"9" * 400,
        b"-" + b"1" * 5_000,
        b"1e400",
        b"-0.0",
        b"1.10",
        b'{"b":1,"a":2,"b":3}',
        b'{ "inner" :\t[ 1 ,\n 2 ]  }',
        '{"größe":"Ελλάς 🎉","u\\u00fc":"\\ud83c\\udf89"}'.encode(),
        b'"\\/ \\u0000 \\u001f \x7f"',
        b"[" * 64 + b"]" * 64,
        b'{"a":' * 63 + b"[]" + b"}" * 63,
        b'"' + b"[" * 1_000 + b'"',
        b'""',
        b"true",
        b"[]",
    ],
    ids=lambda payload: repr(payload[:24]),
)
def test_the_payloads_bytes_come_back_verbatim(server: ServerProcess, payload: bytes) -> None:
    created = server.post("/jobs", b' {"type":"logger", "payload": %b ,"priority":1}\n' % payload)

    job_id = created.body.removeprefix(b'{"id":"').partition(b'"')[0].decode()
    looked_up = server.get(f"/jobs/{job_id}")

    assert created.status == 201
    assert b'"payload":%b,"status"' % payload in created.body
    assert looked_up.body == created.body


def test_a_body_of_exactly_one_mebibyte_is_accepted(server: ServerProcess) -> None:
    head, tail = b'{"type":"logger","payload":"', b'"}'
    body = head + b"x" * ((1 << 20) - len(head) - len(tail)) + tail

    answer = server.post("/jobs", body)

    assert answer.status == 201


def test_a_chunked_body_is_accepted(server: ServerProcess) -> None:
    chunks = b'8\r\n{"type":\r\n9\r\n"logger"}\r\n0\r\n\r\n'

    answer = server.ask("POST", "/jobs", chunks, headers={"transfer-encoding": "chunked"})

    assert answer.status == 201
    assert answer.json["type"] == "logger"


def test_many_requests_on_one_connection_are_answered_in_order(server: ServerProcess) -> None:
    bodies = [b'{"type":"logger","payload":%d}' % number for number in range(20)]

    with server.connect() as connection:
        answers = [connection.ask("POST", "/jobs", body) for body in bodies]

    assert [answer.json["payload"] for answer in answers] == list(range(20))
    assert len({answer.json["id"] for answer in answers}) == 20


# ---- submitting to a queue


def test_a_job_on_a_queue_shows_the_queue_behind_the_originals_members(server: ServerProcess) -> None:
    queue = new_queue(server)

    answer = server.post(f"/{queue}/jobs", b'{"type":"logger"}')

    assert answer.status == 201
    assert list(answer.json) == [*ORIGINAL_MEMBERS, "queue"]
    assert answer.json["queue"] == queue


@pytest.mark.parametrize("path", ["/default/jobs", "/DEFAULT/jobs"])
def test_the_default_queue_is_not_named_in_a_job(server: ServerProcess, path: str) -> None:
    answer = server.post(path, b'{"type":"logger"}')

    assert answer.status == 201
    assert list(answer.json) == ORIGINAL_MEMBERS


def test_a_queue_is_found_in_any_case(server: ServerProcess) -> None:
    queue = new_queue(server)

    answer = server.post(f"/{queue.upper()}/jobs", b'{"type":"logger"}')

    assert (answer.status, answer.json["queue"]) == (201, queue)


def test_an_unknown_queue_is_not_found(server: ServerProcess) -> None:
    answer = server.post("/nowhere/jobs", b'{"type":"logger"}')

    assert_is_error(answer, 404, "queue not found: nowhere")


def test_a_queue_may_be_named_in_the_body(server: ServerProcess) -> None:
    queue = new_queue(server)

    answer = server.post("/jobs", b'{"type":"logger","queue":"%b"}' % queue.upper().encode())

    assert (answer.status, answer.json["queue"]) == (201, queue)


def test_the_queue_of_the_path_counts_before_that_of_the_body(server: ServerProcess) -> None:
    queue = new_queue(server)

    answer = server.post(f"/{queue}/jobs", b'{"type":"logger","queue":"nowhere"}')

    assert (answer.status, answer.json["queue"]) == (201, queue)


@pytest.mark.parametrize("value", [b"null", b'"default"', b'"Default"'])
def test_the_default_queue_may_be_named_in_the_body(server: ServerProcess, value: bytes) -> None:
    answer = server.post("/jobs", b'{"type":"logger","queue":%b}' % value)

    assert answer.status == 201
    assert list(answer.json) == ORIGINAL_MEMBERS


def test_an_unknown_queue_in_the_body_is_not_found(server: ServerProcess) -> None:
    answer = server.post("/jobs", b'{"type":"logger","queue":"Nowhere"}')

    assert_is_error(answer, 404, "queue not found: nowhere")


# ---- looking up


def test_a_job_is_looked_up_as_it_was_answered(server: ServerProcess) -> None:
    created = server.post("/jobs", b'{"type":"logger","payload":[1],"priority":3,"max_retries":1}')

    answer = server.get(f"/jobs/{created.json['id']}")

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body == created.body


@pytest.mark.parametrize("text", NOT_IDS)
def test_a_job_that_is_not_there_is_not_found(server: ServerProcess, text: str) -> None:
    answer = server.get(f"/jobs/{text}")

    assert_is_error(answer, 404, "can't get job with this id")


# ---- dead letters that are not there


def test_without_dead_jobs_the_dead_letters_are_an_empty_array(server: ServerProcess) -> None:
    answer = server.get("/dlq")

    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"[]", "application/json")


@pytest.mark.parametrize("text", NOT_IDS)
def test_a_dead_job_that_is_not_there_is_neither_replayed_nor_deleted(server: ServerProcess, text: str) -> None:
    replayed = server.post(f"/dlq/{text}/replay")
    deleted = server.ask("DELETE", f"/dlq/{text}")

    assert_is_error(replayed, 404, "dead job not found")
    assert_is_error(deleted, 404, "dead job not found")


def test_a_job_that_is_not_dead_is_neither_replayed_nor_deleted(server: ServerProcess) -> None:
    job = server.submit("logger")

    replayed = server.post(f"/dlq/{job['id']}/replay")
    deleted = server.ask("DELETE", f"/dlq/{job['id']}")

    assert_is_error(replayed, 404, "dead job not found")
    assert_is_error(deleted, 404, "dead job not found")
    assert server.job(job["id"]) == job


# ---- queues


def test_a_new_queue_is_created_once(server: ServerProcess) -> None:
    name = f"mail-{next(numbers)}"

    created = server.post(f"/queue/{name}")
    again = server.post(f"/queue/{name}")

    assert (created.status, created.body) == (201, b'"Success creating new queue"')
    assert created.headers["content-type"] == "application/json"
    assert_is_error(again, 409, f"queue already exists: {name}", field="queue")


def test_the_default_queue_exists_already(server: ServerProcess) -> None:
    answer = server.post("/queue/default")

    assert_is_error(answer, 409, "queue already exists: default", field="queue")


def test_queue_names_are_lower_cased(server: ServerProcess) -> None:
    name = f"Mixed.Case_{next(numbers)}-X"

    created = server.post(f"/queue/{name}")
    again = server.post(f"/queue/{name.lower()}")

    assert (created.status, again.status) == (201, 409)
    assert name.lower() in server.get("/queue").json
    assert name not in server.get("/queue").json


@pytest.mark.parametrize(
    "name", ["a%20b", "%C3%A4", "a" * 65, "%7Bx%7D", "a%0D%0Ab", "a:b", "a*", ".", "..", "v1", "Queue"]
)
def test_a_bad_queue_name_is_refused(server: ServerProcess, name: str) -> None:
    before = server.get("/queue").body

    answer = server.post(f"/queue/{name}")

    assert answer.status == 400
    assert list(answer.json) == ["error", "field"]
    assert answer.json["field"] == "queue"
    assert server.get("/queue").body == before


def test_the_queues_are_a_sorted_bare_array(server: ServerProcess) -> None:
    number = next(numbers)
    for name in (f"z{number}", f"a{number}", f"m{number}"):
        server.post(f"/queue/{name}")

    answer = server.get("/queue")

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == sorted(answer.json)
    assert {"default", f"z{number}", f"a{number}", f"m{number}"} <= set(answer.json)
