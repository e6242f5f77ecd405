"""Frames: whole however the bytes come, bounded, and nothing else than frames."""

import pytest
from tests.unit.engine.jobs import running

from gotaskq.executors.process.pipe import (
    LENGTH,
    MAX_FRAME_BYTES,
    Beat,
    FrameCutter,
    FrameError,
    Progress,
    Returned,
    Run,
    Started,
    ToWorker,
    decode_to_child,
    encode,
)

FRAMES: list[ToWorker] = [Started(), Progress(0.5, "half"), Beat(), Returned(b'{"a": 1}', 4_096)]
STREAM = b"".join(encode(frame) for frame in FRAMES)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, len(STREAM)])
def test_frames_come_whole_however_the_bytes_come(size: int) -> None:
    cutter = FrameCutter()

    cut = [frame for at in range(0, len(STREAM), size) for frame in cutter.feed(STREAM[at : at + size])]

    assert cut == FRAMES


def test_a_job_goes_through_as_it_is() -> None:
    run = Run("shop.images:resize", running(payload_json=b'{ "a":1e400,  "\\u0041":"\xc3\xa9"}', error="E: x"))

    assert decode_to_child(encode(run)[LENGTH.size :]) == run


def test_a_frame_that_is_too_long_is_refused_before_it_has_come() -> None:
    with pytest.raises(FrameError, match=str(MAX_FRAME_BYTES + 1)):
        FrameCutter().feed(LENGTH.pack(MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize("body", [b"", b"print\n", b"\xc0", b'["Run"]', encode(Run("a:b", running()))[LENGTH.size :]])
def test_what_is_no_frame_of_a_child_is_refused(body: bytes) -> None:
    with pytest.raises(FrameError):
        FrameCutter().feed(LENGTH.pack(len(body)) + body)
