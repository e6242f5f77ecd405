"""A body whose frame is known is answered as if it had never been seen: byte for byte, and with the same jobs."""

import asyncio
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gotaskq import TaskQ
from gotaskq.api.answers import Answer
from gotaskq.api.frames import MAX_HEADS, MAX_TAILS, Frames
from gotaskq.api.submit import submit_now
from gotaskq.testing.clock import FakeClock

pytestmark = pytest.mark.slow

# What may stand before, in, and after a payload: whole bodies come of it, and bodies that only look like some.
HEADS = [
    b"{",
    b'{"type":"a",',
    b'{"type":"b:c","priority":5,',
    b'{"x":{',
    b'{"x":{"payload":1},"type":"a",',
    b'{"x":"\\"payload\\":","type":"a",',
    b'{"type":"a","payload":2,',
    b'{"type":"a","timeout":30,',
    b'{"type":"a","headers":{"x":"1"},',
    b'{"type":"a","schedule_timeout":true,',
    b'{"type":"',
    b"[",
]
PAYLOADS = [
    b"1",
    b"12",
    b'"a"',
    b'"probe"',
    b" null ",
    b'{"payload":1}',
    b'{"b":[1,2]}\n',
    b'"\\ud83d"',
    b'"\\ud83d\\ude00"',
    '"größe"'.encode(),
    b'"\xff"',
    b"[" * 65 + b"]" * 65,
    b"[" * 2_000 + b"]" * 2_000,
    b'"' + b"x" * 200 + b'"',
    b"NaN",
    b"01",
    b"",
    b"1,2",
    b'1,"payload":2',
    b'1,"priority":7',
    b'1},"y":{"z":1',
]
TAILS = [
    b"}",
    b',"type":"a"}',
    b',"type":"a","priority":5}',
    b',"priority":5}',
    b',"priority":99}',
    b',"delay":0,"priority":5} ',
    b',"queue":"MAIL"}',
    b',"timeout":1.5,"schedule_timeout":60}',
    b',"timeout":1}',
    b',"unique_key":"w:1"}',
    b',"idempotency_key":"k"}',
    b',"unique_key":null}',
    b',"timeout":0}',
    b',"headers":{"payload":"1"}}',
    b',"headers":{"x":"1","x":"2"}}',
    b',"headers":{}}',
    b',"queue":"queue"}',
    b'},"type":"a","payload":1}',
    b'","type":"a"}',
    b"]",
]
MARKS = [b'"payload":', b'"payload": ', b'"payload" :', b'"\\u0070ayload":']
PLAIN = st.just((b'{"type":"a",', b'"payload":', b',"priority":5}'))
frames = PLAIN | st.tuples(st.sampled_from(HEADS), st.sampled_from(MARKS), st.sampled_from(TAILS))
payloads = st.sampled_from(PAYLOADS) | st.integers().map(lambda number: b"[%d]" % number)


@st.composite
def requests(draw: st.DrawFn) -> list[tuple[bytes, str | None]]:
    """Draw bodies of few frames, so that most of those frames are known when they come again."""
    drawn = draw(st.lists(frames, min_size=1, max_size=3))
    queues = st.sampled_from([None, None, "mail"])
    choices = draw(st.lists(st.tuples(st.sampled_from(drawn), payloads, queues), min_size=4, max_size=12))
    return [(head + mark + payload + tail, queue) for (head, mark, tail), payload, queue in choices]


async def answers(sent: list[tuple[bytes, str | None]], *, is_remembering: bool) -> list[Answer | None]:
    async with TaskQ(clock=FakeClock(), rng=Random(1)) as app:
        await app.create_queue("mail")
        known = Frames(app.door)
        return [
            submit_now(app.door, known if is_remembering else Frames(app.door), body, queue) for body, queue in sent
        ]


@settings(max_examples=400)
@given(sent=requests())
@example(sent=[(b'{"x":{"payload":%d},"type":"a","payload":1}' % number, None) for number in (1, 2)])
def test_a_known_frame_changes_no_answer(sent: list[tuple[bytes, str | None]]) -> None:
    with_frames = asyncio.run(answers(sent, is_remembering=True))

    assert with_frames == asyncio.run(answers(sent, is_remembering=False))


async def test_what_is_remembered_is_bounded() -> None:
    async with TaskQ() as app:
        known = Frames(app.door)

        for number in range(MAX_HEADS + 10):
            for tail in range(MAX_TAILS + 2):
                submit_now(app.door, known, b'{"type":"a","x":%d,"payload":1,"y":%d}' % (number, tail), None)

        assert len(known._frames) == 10
        assert {len(tails) for tails in known._frames.values()} == {MAX_TAILS}
