"""The wire contract: bodies that are decoded, and jobs as they are encoded, byte for byte."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.engine.jobs import NOW_MS, pending, running

from gotaskq.api.schemas import decode_submission, encode_error, encode_instant, encode_job, encode_jobs
from gotaskq.errors import InvalidRequestError
from gotaskq.job import DeathReason, Job, JobId, Status, Timeouts
from gotaskq.payload import MAX_DEPTH
from gotaskq.trail import Attempt, Trail

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=3), children, max_size=4),
    max_leaves=20,
)


# ---- encoding


AS_SUBMITTED = (
    b'{"id":"7301","type":"logger","payload":{"msg":"hello"},"status":"PENDING","priority":5,"delay":0,'
    b'"max_retries":5,"retry_count":0,"created_at":"2026-11-23T10:00:00.000Z","updated_at":"2026-11-23T10:00:00.000Z",'
    b'"run_after":"2026-11-23T10:00:00.000Z"}'
)
LOGGER = pending(id=JobId(7301), type="logger", payload_json=b'{"msg":"hello"}', priority=5)
DEAD = running(
    id=JobId(2**63 - 1),
    type="a.b:c/d",
    queue="mail",
    payload_json=b'[ 1,\n{"b":2,"a":1e400}]',
    status=Status.DEAD,
    priority=10,
    delay_ms=1_250,
    max_retries=2,
    retry_count=2,
    attempt=3,
    crashes=1,
    replays=4,
    is_cancel_requested=True,
    created_at_ms=NOW_MS,
    updated_at_ms=NOW_MS + 61_001,
    run_after_ms=NOW_MS + 1_250,
    started_at_ms=NOW_MS + 60_999,
    finished_at_ms=NOW_MS + 61_001,
    error='ValueError: "quoted" \\ größe',
    death_reason=DeathReason.RETRIES_EXHAUSTED,
)


def test_a_submitted_job_is_the_originals_job() -> None:
    assert encode_job(LOGGER) == AS_SUBMITTED


def test_every_member_we_added_comes_behind_the_originals() -> None:
    assert encode_job(DEAD) == (
        b'{"id":"9223372036854775807","type":"a.b:c/d","payload":[ 1,\n{"b":2,"a":1e400}],"status":"DEAD",'
        b'"priority":10,"delay":1.25,"max_retries":2,"retry_count":2,"created_at":"2026-11-23T10:00:00.000Z",'
        b'"updated_at":"2026-11-23T10:01:01.001Z","run_after":"2026-11-23T10:00:01.250Z","queue":"mail",'
        b'"error":"ValueError: \\"quoted\\" \\\\ gr\xc3\xb6\xc3\x9fe","reason":"retries_exhausted","attempt":3,'
        b'"crashes":1,"replays":4,"cancel_requested":true,"started_at":"2026-11-23T10:01:00.999Z",'
        b'"finished_at":"2026-11-23T10:01:01.001Z"}'
    )


@pytest.mark.parametrize(
    ("job", "more"),
    [
        (pending(queue="mail"), {"queue": "mail"}),
        (
            pending(status=Status.CANCELLED, finished_at_ms=NOW_MS),
            {"finished_at": "2026-11-23T10:00:00.000Z"},
        ),
        (pending(started_at_ms=NOW_MS), {"started_at": "2026-11-23T10:00:00.000Z"}),  # given back before it ran
        (running(), {"attempt": 1, "started_at": "2026-11-23T10:00:00.005Z"}),
        (pending(attempt=2, replays=1), {"attempt": 2, "replays": 1}),
    ],
    ids=["on a queue", "cancelled while it waited", "given back", "running", "replayed"],
)
def test_a_member_we_added_is_there_exactly_when_it_is_not_empty(job: Job, more: dict[str, object]) -> None:
    encoded = json.loads(encode_job(job))

    assert {name: encoded[name] for name in list(encoded)[11:]} == more


LONG = running(
    status=Status.DONE,
    attempt=3,
    finished_at_ms=NOW_MS + 9,
    timeouts=Timeouts(execution_ms=30_000, schedule_ms=500),
    result_json=b'{"pages":[1,2.50]}',
    trail=Trail(
        attempts=(
            Attempt(1, NOW_MS, NOW_MS + 1, "here:1", "ValueError: no", "Traceback\n  ...\nValueError: no\n"),
            Attempt(2, NOW_MS + 2, NOW_MS + 3, "there:2", "worker lost"),
        ),
        progress=0.5,
        note="page 2",
        checkpoint_json=b'{"page":2}',
    ),
)


def test_a_long_job_shows_its_timeouts_result_and_progress() -> None:
    assert encode_job(LONG).endswith(
        b',"timeout":30,"schedule_timeout":0.5,"result":{"pages":[1,2.50]},"attempt":3,'
        b'"progress":{"fraction":0.5,"note":"page 2"},"started_at":"2026-11-23T10:00:00.005Z",'
        b'"finished_at":"2026-11-23T10:00:00.009Z"}'
    )


def test_the_attempts_that_failed_are_shown_when_asked_for_and_in_no_list() -> None:
    encoded = encode_job(LONG, with_attempts=True)

    assert encoded.removeprefix(encode_job(LONG)[:-1]) == (
        b',"attempts":[{"attempt":1,"status":"FAILED","started_at":"2026-11-23T10:00:00.000Z",'
        b'"finished_at":"2026-11-23T10:00:00.001Z","worker":"here:1","error":"ValueError: no",'
        b'"traceback":"Traceback\\n  ...\\nValueError: no\\n"},'
        b'{"attempt":2,"status":"FAILED","started_at":"2026-11-23T10:00:00.002Z",'
        b'"finished_at":"2026-11-23T10:00:00.003Z","worker":"there:2","error":"worker lost"}]}'
    )
    assert encode_jobs([LONG]) == b"[%b]" % encode_job(LONG)


def test_a_job_without_failed_attempts_has_no_such_member() -> None:
    assert encode_job(LOGGER, with_attempts=True) == AS_SUBMITTED


@pytest.mark.parametrize(
    ("job", "more"),
    [
        (pending(timeouts=Timeouts(execution_ms=1)), {"timeout": 0.001}),
        (pending(timeouts=Timeouts(schedule_ms=60_000)), {"schedule_timeout": 60}),
        (pending(status=Status.DONE, result_json=b"0"), {"result": 0}),
        (pending(status=Status.DONE, result_json=b'""'), {"result": ""}),
        (pending(status=Status.RUNNING, trail=Trail(progress=0.0)), {"progress": {"fraction": 0}}),
        (pending(status=Status.RUNNING, trail=Trail(checkpoint_json=b"1")), {}),
        (pending(status=Status.DEAD, death_reason=DeathReason.EXPIRED), {"reason": "expired"}),
        (pending(status=Status.DEAD, death_reason=DeathReason.CANCELLED), {"reason": "cancelled"}),
        (pending(status=Status.DEAD, death_reason=DeathReason.DISCARDED), {"reason": "discarded"}),
    ],
    ids=lambda value: "" if isinstance(value, Job) else repr(value),
)
def test_what_is_said_of_long_jobs_is_there_exactly_when_it_is_not_empty(job: Job, more: dict[str, object]) -> None:
    encoded = json.loads(encode_job(job))

    assert {name: encoded[name] for name in list(encoded)[11:]} == more


@pytest.mark.parametrize(
    ("delay_ms", "delay"), [(0, b"0"), (1, b"0.001"), (1_000, b"1"), (1_500, b"1.5"), (31_536_000_000, b"31536000")]
)
def test_a_delay_is_shown_in_seconds(delay_ms: int, delay: bytes) -> None:
    assert b'"delay":%b,' % delay in encode_job(pending(delay_ms=delay_ms))


@pytest.mark.parametrize("status", list(Status))
def test_a_status_is_its_word(status: Status) -> None:
    assert b'"status":"%b",' % status.name.encode() in encode_job(pending(status=status))


@pytest.mark.parametrize(
    ("jobs", "encoded"),
    [([], b"[]"), ([LOGGER], b"[%b]" % AS_SUBMITTED), ([LOGGER] * 2, b"[%b,%b]" % ((AS_SUBMITTED,) * 2))],
    ids=["none", "one", "two"],
)
def test_jobs_are_a_bare_array(jobs: list[Job], encoded: bytes) -> None:
    assert encode_jobs(jobs) == encoded


def test_an_error_names_a_field_only_where_one_is_to_blame() -> None:
    assert encode_error("no") == b'{"error":"no"}'
    assert encode_error('say "no"', field="type") == b'{"error":"say \\"no\\"","field":"type"}'


@given(st.integers(0, 253_402_300_799_999))
@example(0)
@example(253_402_300_799_999)
@example(951_782_400_000)  # 2000-02-29
def test_an_instant_is_what_datetime_says(instant_ms: int) -> None:
    seconds, milliseconds = divmod(instant_ms, 1000)
    at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=milliseconds * 1000)

    encoded = encode_instant(instant_ms).decode()

    assert encoded == f'"{at.isoformat(timespec="milliseconds").removesuffix("+00:00")}Z"'


@given(json_values, st.integers(0, 2**63 - 1), st.text(max_size=50))
def test_an_encoded_job_is_valid_json_with_its_values(payload: object, job_id: int, error: str) -> None:
    error = error.encode("utf-8", "replace").decode()
    job = running(id=JobId(job_id), payload_json=msgspec.json.encode(payload), error=error or None)

    encoded = json.loads(encode_job(job))

    assert (encoded["id"], encoded["payload"]) == (str(job_id), json.loads(job.payload_json))
    assert encoded.get("error") == (error or None)


# ---- decoding


def test_a_body_becomes_a_request_for_the_paths_queue() -> None:
    body = b'{"type":"logger","payload":{"msg":"hello"},"priority":5,"delay":0.5,"max_retries":0}'

    request = decode_submission(body, "mail")

    assert (request.type, bytes(request.payload), request.queue) == ("logger", b'{"msg":"hello"}', "mail")
    assert (request.priority, request.delay, request.max_retries) == (5, 0.5, 0)


def test_a_body_may_say_how_long_a_job_may_run_and_wait() -> None:
    request = decode_submission(b'{"type":"a","timeout":30,"schedule_timeout":0.5}', None)

    assert (request.timeout, request.schedule_timeout) == (30, 0.5)


def test_the_path_says_the_queue_and_not_the_body() -> None:
    assert decode_submission(b'{"type":"logger","queue":"other"}', "mail").queue == "mail"


@given(json_values)
def test_a_payload_keeps_its_bytes(payload: object) -> None:
    text = json.dumps(payload, ensure_ascii=False, indent=1).encode()

    request = decode_submission(b'{"payload": %b ,"type":"logger"}' % text, "default")

    assert bytes(request.payload) == text


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b'{"type":"a","payload":"\xff"}')
@example(b'{"type":"a:b"}\xff')
@example(b'{"":1,"":2}')
def test_any_bytes_are_either_a_request_or_refused(body: bytes) -> None:
    for text in (body, b'{"type":"a","payload":%b}' % body, b'{"type":"a:",%b}' % body):
        try:
            request = decode_submission(text, "default")
        except InvalidRequestError:
            continue
        json.loads(bytes(request.payload))
        text.decode()


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("spare", [b"", b" " * 500, b'"[[[[[[[{{{{{{",'])
def test_a_payload_may_be_nested_up_to_the_limit(opening: bytes, spare: bytes) -> None:
    def nested(levels: int) -> bytes:
        closing = {b"[": b"]", b'{"a":': b"}"}[opening]
        inner = b"[%b1]" % spare
        return b'{"type":"a","payload":%b}' % (opening * (levels - 1) + inner + closing * (levels - 1))

    request = decode_submission(nested(MAX_DEPTH), "default")

    assert request.type == "a"
    with pytest.raises(InvalidRequestError, match="deeper than 64 levels") as error:
        decode_submission(nested(MAX_DEPTH + 1), "default")
    assert error.value.field == "payload"


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"a","type":"a"}',
        b'{"type":"a","\\u0074ype":"b"}',
        b'{"type":"a","payload":":","payload":1}',
        b'{"type":"a","payload":1,"payload":"::::::"}',
        b'{"type":"a","x":1,"x":1}',
        b'{"type":null,"type":"a"}',
        b'{"type":"a","priority":null,"priority":1}',
    ],
)
def test_a_member_that_is_there_twice_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="is there twice"):
        decode_submission(body, "default")


MEMBERS = ["type", "payload", "priority", "delay", "max_retries", "timeout", "schedule_timeout", "x", "y"]
VALUES = {"type": ['"a"', '"a:b"', "null"], "payload": ["1", '":"', '{"a":1}', '{"a":1,"a":2}', "null"]}


@given(st.lists(st.sampled_from(MEMBERS), max_size=7), st.data())
def test_a_body_is_refused_exactly_when_it_repeats_a_member(names: list[str], data: st.DataObject) -> None:
    members = [f'"{name}":{data.draw(st.sampled_from(VALUES.get(name, ["1", "null", "0"])))}' for name in names]
    body = "{" + ",".join(members) + "}"

    is_repeating = is_refused_as_repeating(body.encode())

    assert is_repeating == (len(set(names)) < len(names))


def is_refused_as_repeating(body: bytes) -> bool:
    try:
        decode_submission(body, "default")
    except InvalidRequestError as error:
        return "is there twice" in str(error)
    return False
