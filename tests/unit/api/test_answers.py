"""Refusals: each error of ours has its status, and what is not ours says nothing."""

import json

import pytest

from gotaskq.api.answers import Answer, refuse
from gotaskq.errors import (
    BackendUnavailableError,
    DeadJobNotFoundError,
    GotaskqError,
    IllegalTransitionError,
    InvalidRequestError,
    JobNotFoundError,
    NotOpenError,
    QueueExistsError,
    QueueFullError,
    QueueNotFoundError,
    ShuttingDownError,
)
from gotaskq.job import JobId

STORE_AWAY = b'{"error":"the job store is unavailable; try again later"}'
SHUTTING_DOWN = b'{"error":"shutting down; send the job to another process or try again later"}'


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (InvalidRequestError("invalid json"), Answer(400, b'{"error":"invalid json"}')),
        (InvalidRequestError("no", field="type"), Answer(400, b'{"error":"no","field":"type"}')),
        (JobNotFoundError(7), Answer(404, b'{"error":"can\'t get job with this id"}')),
        (DeadJobNotFoundError(7), Answer(404, b'{"error":"dead job not found"}')),
        (QueueNotFoundError("mail"), Answer(404, b'{"error":"queue not found: mail"}')),
        (QueueExistsError("mail"), Answer(409, b'{"error":"queue already exists: mail","field":"queue"}')),
        (BackendUnavailableError("redis://:hunter2@cache: EOF"), Answer(503, STORE_AWAY, (("retry-after", "5"),))),
        (
            BackendUnavailableError("timed out", job_id=JobId(2**62)),
            Answer(
                503, STORE_AWAY[:-1] + b',"accepted":"unknown","id":"4611686018427387904"}', (("retry-after", "5"),)
            ),
        ),
        (ShuttingDownError(), Answer(503, SHUTTING_DOWN, (("retry-after", "5"), ("connection", "close")))),
        (NotOpenError(), Answer(503, b'{"error":"starting; try again"}', (("retry-after", "1"),))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_ours_has_its_answer(error: GotaskqError, answer: Answer) -> None:
    assert refuse(error) == answer


@pytest.mark.parametrize(
    ("error", "status"), [(QueueFullError("mail", max_depth=5), 429), (BackendUnavailableError("away"), 503)]
)
def test_what_may_work_later_says_when(error: GotaskqError, status: int) -> None:
    answer = refuse(error)

    assert answer.status == status
    [(name, seconds)] = answer.headers
    assert name == "retry-after"
    assert int(seconds) > 0


def test_a_fault_of_ours_says_nothing_and_the_log_says_all(caplog: pytest.LogCaptureFixture) -> None:
    answer = refuse(IllegalTransitionError("job 7 is DONE and cannot become DEAD"))

    said = json.loads(answer.body)
    assert (answer.status, said.keys(), said["error"]) == (500, {"error", "request_id"}, "internal")
    assert caplog.records[-1].__dict__["request_id"] == said["request_id"]
    assert caplog.messages == ["request failed"]
    assert "cannot become DEAD" in caplog.text
