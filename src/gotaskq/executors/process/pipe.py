"""What a worker and its child processes say to each other, and how it is cut out of a stream of bytes.

A frame is its length in four bytes and a struct below in MessagePack.
Invariant: bytes become these structs and nothing else; whatever a child sends is bounded by MAX_FRAME_BYTES.
"""

import struct
from typing import Final, Literal, TypeAlias

import msgspec

from gotaskq.job import Job
from gotaskq.trail import MAX_STATE_BYTES

LENGTH: Final = struct.Struct("!I")
MAX_TEXT_BYTES: Final = 4_096  # of a message, a traceback or a log line
MAX_FRAME_BYTES: Final = 2 * MAX_STATE_BYTES  # from a child; more than any frame below can have


class Frame(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The root of all frames."""


class Setup(Frame, frozen=True):
    """Worker → child, first: how to live."""

    sys_path: list[str]
    worker_pid: int
    log_level: int
    memory_limit_bytes: int
    niceness: int
    heartbeat_s: float
    grace_s: float


class Run(Frame, frozen=True):
    """Worker → child: run this handler (`module:qualname`) with this job."""

    handler: str
    job: Job


class Ready(Frame, frozen=True):
    """Child → worker, first: waiting for a job."""


class Started(Frame, frozen=True):
    """The job has arrived; how the child ends from now on is the job's doing."""


class Progress(Frame, frozen=True):
    """How far the handler says it is: from 0 to 1."""

    fraction: float
    note: str


class Saved(Frame, frozen=True):
    """The handler leaves a state, as JSON, for its next attempt."""

    state_json: bytes


class Extended(Frame, frozen=True):
    """The handler wants to run for so long from now."""

    timeout_s: float


class Logged(Frame, frozen=True):
    """A log record of the child."""

    level: int
    logger: str
    message: str


class Beat(Frame, frozen=True):
    """The child lives; from a thread of its own, so that a busy handler beats too."""


class Returned(Frame, frozen=True):
    """The handler returned; `result` is JSON."""

    result: bytes
    rss_bytes: int


class Raised(Frame, frozen=True):
    """The handler raised; `traceback` holds its own part of the stack."""

    type_name: str
    message: str
    traceback: str
    rss_bytes: int


class Asked(Frame, frozen=True):
    """The handler raised or returned a Control: what it wants of its job, and the exception that led there, if any."""

    control: Literal["retry", "snooze", "cancel", "discard"]
    delay_s: float | None
    reason: str
    cause: Raised | None
    rss_bytes: int


Reply: TypeAlias = Returned | Raised | Asked
ToChild: TypeAlias = Setup | Run
ToWorker: TypeAlias = Ready | Started | Progress | Saved | Extended | Logged | Beat | Returned | Raised | Asked

decode_to_child: Final = msgspec.msgpack.Decoder[ToChild](ToChild).decode
decode_to_worker: Final = msgspec.msgpack.Decoder[ToWorker](ToWorker).decode
_encode: Final = msgspec.msgpack.Encoder().encode


class FrameError(Exception):
    """What came through the pipe is no frame."""


def encode(frame: Frame) -> bytes:
    """Return a frame with its length before it."""
    body = _encode(frame)
    return LENGTH.pack(len(body)) + body


class FrameCutter:
    """Cuts frames out of bytes as they come."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, received: bytes) -> list[ToWorker]:
        """Return the frames that are whole now; raises FrameError."""
        stream = self._rest + received
        frames: list[ToWorker] = []
        at = 0
        while len(stream) - at >= LENGTH.size:
            (size,) = LENGTH.unpack_from(stream, at)
            if size > MAX_FRAME_BYTES:
                raise FrameError(f"a frame of {size} bytes; at most {MAX_FRAME_BYTES} are sent")
            end = at + LENGTH.size + size
            if len(stream) < end:
                break
            frames.append(_decoded(stream[at + LENGTH.size : end]))
            at = end
        self._rest = stream[at:]
        return frames


def _decoded(body: bytes) -> ToWorker:
    try:
        decoded: ToWorker = decode_to_worker(body)
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from error
    return decoded
