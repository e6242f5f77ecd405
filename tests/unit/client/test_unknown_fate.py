"""What the client says of jobs of which the service does not know whether they were stored."""

import pytest
from tests.unit.client.test_client import JOB, Service

from gotaskq.client import ApiError

AWAY = {"error": "the job store is unavailable; try again later", "accepted": "unknown"}


@pytest.mark.parametrize("named", [{"id": "7"}, {"ids": ["7", "8"]}, {}])
def test_a_refusal_names_them(named: dict[str, object]) -> None:
    service = Service((503, AWAY | named))

    with service.client(retries=0) as client, pytest.raises(ApiError) as raised:
        client.enqueue_many([{"type": "email"}])

    assert raised.value.unknown_ids == {"id": ("7",), "ids": ("7", "8")}.get(next(iter(named), ""), ())


def test_the_id_of_a_job_that_is_gone_is_not_one_of_them() -> None:
    service = Service((410, {"error": "this request was accepted before", "id": "7"}))

    with service.client() as client, pytest.raises(ApiError) as raised:
        client.enqueue("email")

    assert raised.value.unknown_ids == ()


def test_in_a_batch_that_was_stored_in_part_each_error_says_it() -> None:
    errors = [{"index": 1, **AWAY, "id": "9"}, {"index": 2, "error": "type is required", "field": "type"}]
    service = Service((201, {"jobs": [JOB], "errors": errors}))

    with service.client() as client:
        result = client.enqueue_many([{"type": "email"}, {"type": "email"}, {}])

    assert [(error.is_unknown, error.id) for error in result.errors] == [(True, "9"), (False, None)]
