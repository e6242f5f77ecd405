"""A batch that is read at once is read as job by job: the same requests, the same refusals, the same words."""

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from gotaskq.api import batches
from gotaskq.api.batches import MAX_BATCH, decode_batch
from gotaskq.api.schemas import MAX_BODY_BYTES
from gotaskq.engine.requests import JobRequest
from gotaskq.errors import InvalidRequestError

pytestmark = pytest.mark.slow

GOOD = {
    b"type": [b'"a"', b'"b:c"', b'"d::e"'],
    b"payload": [b"1", b'":"', b'{"a":1,"a":2}', b"null", b"[" * 64 + b"]" * 64],
    b"priority": [b"5", b"0"],
    b"delay": [b"0", b"1.5"],
    b"max_retries": [b"3"],
    b"queue": [b'"mail"', b'"default"', b'"MAIL"'],
}
ODD = {
    b"type": [b"null", b'""', b"7", b'"\\u0061"', '"ä"'.encode(), b'"\xff"'],
    b"payload": [b'"\\ud83d"', b"[" * 65 + b"]" * 65, b"NaN", '"ä"'.encode(), b'"\xff"', b'"' + b"x" * 200 + b'"'],
    b"priority": [b"null", b"11", b"true", b"5.0"],
    b"delay": [b"-1", b"null"],
    b"max_retries": [b"101"],
    b"queue": [b"null", b'"v1"', b'"a:b"', b'"a b"', b'""'],
    b"x": [b"1", b'":"', b'{"y":1}'],
    b"\\u0074ype": [b'"a"'],
}


def members(values: dict[bytes, list[bytes]]) -> st.SearchStrategy[bytes]:
    pairs = [(name, value) for name, known in values.items() for value in known]
    return st.sampled_from(pairs).map(lambda pair: b'"%b":%b' % pair)


good_members = members(GOOD)
good_jobs = st.lists(good_members, max_size=4, unique_by=lambda member: member.partition(b":")[0])
jobs = st.lists(st.one_of(good_members, good_members, members(ODD)), max_size=4)
items = st.one_of(good_jobs, good_jobs, jobs).map(lambda drawn: b"{%b}" % b", ".join(drawn)) | st.sampled_from(
    [b"7", b"null", b"[]", b"{", b'"a"']
)
USUAL = b'{"jobs":[%b]}'
OUTSIDES = [
    b'{"jobs" : [%b] }',
    b'{"atomic":true,"jobs":[%b]}',
    b'{"jobs":[%b],"atomic":false}',
    b'{"jobs":[],"jobs":[%b]}',
    b'{"jobs":[%b],"x":":"}',
    b'{"jobs":[%b],"atomic":null}',
    b"[%b]",
    b"%b",
]
outsides = st.just(USUAL) | st.sampled_from(OUTSIDES)
bodies = st.builds(lambda outside, inside: outside % b",".join(inside), outsides, st.lists(items, max_size=4))

Read = tuple[list[tuple[object, ...]], bool] | tuple[str, str | None]


def read(body: bytes) -> Read:
    try:
        requests, is_atomic = decode_batch(body, lines=False)
    except InvalidRequestError as error:
        return str(error), error.field
    return [_shown(request) for request in requests], is_atomic


def _shown(request: JobRequest | InvalidRequestError) -> tuple[object, ...]:
    if isinstance(request, InvalidRequestError):
        return str(request), request.field
    values = (request.type, request.priority, request.delay, request.max_retries, request.queue)
    return bytes(request.payload), *values, *map(type, values)


@settings(max_examples=600)
@given(bodies)
@example(b'{"jobs":[{"type":"a","payload":"\\ud83d"}]}')
@example(b'{"jobs":[{"type":"a","payload":%b}]}' % (b"[" * 65 + b"]" * 65))
@example(b'{"jobs":[{"type":"a","type":"b"},{"type":"a"}]}')
@example(b'{"jobs":[{"type":"a","priority":null},{"type":"a","priority":1,"priority":2}]}')
@example(b'{"jobs":[%b]}' % b",".join([b'{"type":"a"}'] * MAX_BATCH))
@example(b'{"jobs":[%b]}' % b",".join([b'{"type":"a"}'] * (MAX_BATCH + 1)))
@example(b'{"jobs":[{"type":"a","payload":"%b"},{"type":"a"}]}' % (b"x" * MAX_BODY_BYTES))
@example(b'{"jobs":[{"type":"a"%b}]}' % (b" " * MAX_BODY_BYTES))
@example(b'{"jobs":[%b]}' % (b"[" * 5_000))
def test_at_once_and_one_by_one_agree(body: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        event("at once" if batches._plain_batch(body) is not None else "one by one")
        at_once = read(body)
        patch.setattr(batches, "_plain_batch", lambda _: None)
        one_by_one = read(body)

    assert at_once == one_by_one


def test_a_usual_batch_is_read_at_once() -> None:
    job = b'{"type":"email:send","payload":{"to":"a@b.c"},"priority":5,"delay":0,"max_retries":3,"queue":"mail"}'

    assert batches._plain_batch(b'{"jobs":[%b],"atomic":true}' % b",".join([job] * 100)) is not None
