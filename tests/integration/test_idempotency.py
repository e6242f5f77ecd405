"""A job is sent once: by its idempotency key, by its unique key; over HTTP on both lanes, in memory and in Redis."""

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.integration.http_client import Answer, request
from tests.integration.server_process import ServerProcess, running_server
from tests.redis_servers import running

KEY = "Idempotency-Key"
numbers = itertools.count()


@pytest.fixture(scope="module", params=["memory, fast lane", "memory, full way", "redis, fast lane"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    env = {"FAST_LANE": str("fast" in request.param).lower(), "MAX_RETRIES": "0"}
    if request.param.startswith("memory"):
        with running_server("--no-workers", env=env) as server:
            yield server
    else:
        with running() as redis, running_server("--no-workers", env=env | {"BACKEND_URL": redis.url}) as server:
            yield server


@pytest.fixture
def key() -> str:
    return f"key-{next(numbers)}"


def send(server: ServerProcess, body: dict[str, Any], key: str | None = None, *, path: str = "/jobs") -> Answer:
    headers = {} if key is None else {KEY: key}
    return server.ask("POST", path, json.dumps(body).encode(), headers=headers)


def send_batch(server: ServerProcess, *jobs: dict[str, Any], **members: Any) -> Answer:
    return server.ask("POST", "/jobs/batch", json.dumps({"jobs": jobs, **members}).encode())


def replayed(answer: Answer) -> tuple[str | None, str | None]:
    return answer.headers.get("idempotency-replayed"), answer.headers.get("unique-replayed")


def refusal(answer: Answer) -> tuple[int, str | None]:
    assert answer.json["error"]
    return answer.status, answer.json.get("field")


# ---- Idempotency-Key


def test_a_request_that_comes_again_is_answered_with_its_job_as_it_is_now(server: ServerProcess, key: str) -> None:
    body = {"type": "later", "payload": {"n": 1}, "delay": 60}
    first = send(server, body, key)
    assert server.post(f"/jobs/{first.json['id']}/cancel").status == 200

    again = send(server, body, key)

    assert (first.status, replayed(first)) == (201, (None, None))
    assert (again.status, replayed(again)) == (201, ("true", None))
    assert (again.json["id"], again.json["status"]) == (first.json["id"], "CANCELLED")
    assert again.json == server.job(first.json["id"])


def test_requests_without_the_header_or_with_another_key_are_others(server: ServerProcess, key: str) -> None:
    body = {"type": "plain"}

    answers = [send(server, body, key), send(server, body), send(server, body), send(server, body, f"{key}-2")]

    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 4


@pytest.mark.parametrize(
    "other",
    [
        {"type": "other"},
        {"payload": {"n": 2}},
        {"priority": 1},
        {"delay": 1},
        {"max_retries": 1},
        {"timeout": 1},
        {"schedule_timeout": 1},
        {"queue": "default"},
        {"unique_key": "u"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_body_with_the_same_key_is_refused(server: ServerProcess, key: str, other: dict[str, Any]) -> None:
    body = {"type": "plain", "payload": {"n": 1}}
    assert send(server, body, key).status == 201

    refused = send(server, body | other, key)

    assert refusal(refused) == (422, KEY)
    assert refused.json["error"] == f"{KEY} came before with another request; a new request needs a new key"


def test_only_the_payload_has_to_come_byte_for_byte(server: ServerProcess, key: str) -> None:
    texts = [
        b'{"type":"plain","payload":{"n": 1},"delay":5}',
        b' {"delay": 5.0, "payload" : {"n": 1}, "x":1, "type":"plain"}',
    ]

    first, again = (server.ask("POST", "/jobs", text, headers={KEY: key}) for text in texts)
    other = server.ask("POST", "/jobs", texts[0].replace(b'"n": 1', b'"n":1'), headers={KEY: key})

    assert again.json["id"] == first.json["id"]
    assert other.status == 422


def test_the_queue_of_the_path_is_part_of_the_request(server: ServerProcess, key: str) -> None:
    server.post(f"/queue/{key}")

    first = send(server, {"type": "plain"}, key, path=f"/{key}/jobs")
    again = send(server, {"type": "plain"}, key, path=f"/{key}/jobs")
    other = send(server, {"type": "plain"}, key)

    assert (first.status, again.json["id"], again.json["queue"]) == (201, first.json["id"], key)
    assert other.status == 422


def test_a_request_whose_job_is_gone_makes_no_other(server: ServerProcess, key: str) -> None:
    body = {"type": "plain"}
    job_id = send(server, body, key).json["id"]
    assert server.ask("DELETE", f"/jobs/{job_id}").status == 200

    again = send(server, body, key)

    assert refusal(again) == (410, None)
    assert again.json["id"] == job_id
    assert server.get(f"/jobs/{job_id}").status == 404


def test_what_was_refused_may_come_again(server: ServerProcess, key: str) -> None:
    refused = send(server, {"type": "plain"}, key, path=f"/{key}/jobs")
    server.post(f"/queue/{key}")

    assert refused.status == 404
    assert send(server, {"type": "plain"}, key, path=f"/{key}/jobs").status == 201


@pytest.mark.parametrize("bad", ["a b", "ä", "k" * 256, "a\tb"])
def test_a_header_that_is_no_key_is_refused(server: ServerProcess, bad: str) -> None:
    refused = send(server, {"type": "plain"}, bad)

    assert refusal(refused) == (400, KEY)


@pytest.mark.parametrize("lines", [f"{KEY}: \r\n", f"{KEY}: a\r\n{KEY}: a\r\n"])
def test_a_header_that_is_empty_or_there_twice_is_refused(server: ServerProcess, lines: str) -> None:
    raw = request("POST", "/jobs", b'{"type":"plain"}').replace(b"host: test\r\n", b"host: test\r\n" + lines.encode())

    assert refusal(server.ask_raw(raw)) == (400, KEY)


def test_the_key_may_stand_in_the_body_and_means_the_same(server: ServerProcess, key: str) -> None:
    first = send(server, {"type": "plain"}, key)
    again = send(server, {"type": "plain", "idempotency_key": key})
    both = send(server, {"type": "plain", "idempotency_key": key}, key)
    differ = send(server, {"type": "plain", "idempotency_key": f"{key}-2"}, key)
    other = send(server, {"type": "other", "idempotency_key": key})

    assert {first.json["id"], again.json["id"], both.json["id"]} == {first.json["id"]}
    assert replayed(again) == ("true", None)
    assert refusal(differ) == (400, KEY)
    assert refusal(other) == (422, "idempotency_key")


@pytest.mark.parametrize("member", ["idempotency_key", "unique_key"])
@pytest.mark.parametrize("bad", ["", "a b", "a\nb", "ä", "k" * 256, 7, True, ["a"]])
def test_a_member_that_is_no_key_is_refused(server: ServerProcess, member: str, bad: object) -> None:
    assert refusal(send(server, {"type": "plain", member: bad})) == (400, member)


def test_of_fifty_at_once_one_makes_a_job(server: ServerProcess, key: str) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: send(server, {"type": "plain", "payload": 1}, key), range(50)))

    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert [replayed(answer)[0] for answer in answers].count(None) == 1


# ---- unique_key


def test_a_unique_key_that_is_taken_answers_with_the_job_that_has_it(server: ServerProcess, key: str) -> None:
    first = send(server, {"type": "sync", "unique_key": key})
    again = send(server, {"type": "other", "payload": 2, "unique_key": key})

    assert (first.status, replayed(first), first.json["unique_key"]) == (201, (None, None), key)
    assert (again.status, replayed(again)) == (200, (None, "true"))
    assert again.json == first.json == server.job(first.json["id"])


def test_a_unique_key_is_free_once_its_job_has_ended(server: ServerProcess, key: str) -> None:
    first = send(server, {"type": "sync", "unique_key": key}).json["id"]
    server.post(f"/jobs/{first}/cancel")

    again = send(server, {"type": "sync", "unique_key": key})

    assert (again.status, again.json["id"] == first) == (201, False)


def test_with_both_keys_a_repeat_is_answered_as_a_repeat(server: ServerProcess, key: str) -> None:
    body = {"type": "sync", "unique_key": key}
    holder = send(server, body).json["id"]

    found, again = send(server, body, key), send(server, body, key)
    server.post(f"/jobs/{holder}/cancel")
    later = send(server, body, key)

    assert [(answer.status, replayed(answer)) for answer in (found, again, later)] == [
        (200, (None, "true")),
        (201, ("true", None)),
        (201, ("true", None)),
    ]
    assert {answer.json["id"] for answer in (found, again, later)} == {holder}


# ---- batches


def test_the_jobs_of_a_batch_have_keys_of_their_own(server: ServerProcess, key: str) -> None:
    keyed = {"type": "plain", "idempotency_key": key}
    first = send_batch(server, keyed, {"type": "plain"}, {"type": "sync", "unique_key": key})

    again = send_batch(server, {"type": "plain"}, {"type": "sync", "unique_key": key}, keyed, {**keyed, "priority": 1})

    ids = [job["id"] for job in first.json["jobs"]]
    assert (first.status, "replayed" in first.json) == (201, False)
    assert again.status == 201
    assert [job["id"] for job in again.json["jobs"]][1:] == [ids[2], ids[0]]
    assert again.json["replayed"] == [{"index": 1, "by": "unique_key"}, {"index": 2, "by": "idempotency_key"}]
    assert [(error["index"], error["field"]) for error in again.json["errors"]] == [(3, "idempotency_key")]


def test_a_whole_batch_may_come_again(server: ServerProcess, key: str) -> None:
    jobs = [{"type": "plain", "payload": n, "idempotency_key": f"{key}-{n}"} for n in range(20)]

    first, again = send_batch(server, *jobs, atomic=True), send_batch(server, *jobs, atomic=True)

    assert (first.status, again.status) == (201, 201)
    assert again.json["jobs"] == first.json["jobs"]
    assert len(again.json["replayed"]) == 20


def test_a_key_reused_in_an_atomic_batch_withholds_the_others(server: ServerProcess, key: str) -> None:
    send_batch(server, {"type": "plain", "idempotency_key": key})

    refused = send_batch(server, {"type": "plain"}, {"type": "other", "idempotency_key": key}, atomic=True)

    assert refused.status == 422
    assert refused.json["jobs"] == []


def test_a_job_of_a_batch_that_is_gone_is_named(server: ServerProcess, key: str) -> None:
    keyed = {"type": "plain", "idempotency_key": key}
    [job] = send_batch(server, keyed).json["jobs"]
    server.ask("DELETE", f"/jobs/{job['id']}")

    again = send_batch(server, keyed, {"type": "plain"})

    assert [error["index"] for error in again.json["errors"]] == [0]
    assert job["id"] in again.json["errors"][0]["error"]
    assert len(again.json["jobs"]) == 1


def test_a_batch_as_a_whole_has_no_key(server: ServerProcess, key: str) -> None:
    refused = server.ask("POST", "/jobs/batch", b'{"jobs":[{"type":"plain"}]}', headers={KEY: key})

    assert refusal(refused) == (400, KEY)


def test_no_member_of_a_batch_reaches_into_the_scope_of_another(server: ServerProcess, key: str) -> None:
    refused = send_batch(server, {"type": "plain", "idempotency_key": f"alice\n{key}"}, {"type": "plain"})

    assert [(error["index"], error["field"]) for error in refused.json["errors"]] == [(0, "idempotency_key")]


def test_beyond_as_many_keys_as_are_kept_new_ones_are_refused(key: str) -> None:
    with running_server("--no-workers", env={"MAX_IDEMPOTENCY_KEYS": "1"}) as server:
        first = send(server, {"type": "email"}, key)
        refused = send(server, {"type": "email"}, f"{key}-2")
        batch = send_batch(server, {"type": "email", "idempotency_key": f"{key}-3"}, {"type": "email"})
        again = send(server, {"type": "email"}, key)

    message = (
        "the store remembers as many idempotency keys as it may, and forgets none before its time; try again later"
    )
    assert (refused.status, refused.json["error"], refused.headers["retry-after"]) == (503, message, "30")
    assert (batch.status, batch.json["errors"]) == (201, [{"index": 0, "error": message}])
    assert (first.status, again.status, again.json["id"]) == (201, 201, first.json["id"])
