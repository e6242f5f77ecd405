"""How a failure is told: the exception in one line, and its traceback, both bounded.

Used by the engine and by child processes.
Invariant: whatever an exception is, telling of it raises nothing, and the line holds no control character.
"""

import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

from gotaskq.errors import RemoteError
from gotaskq.trail import MAX_TRACEBACK_BYTES

MAX_ERROR_BYTES: Final = 1_024
OUR_CODE: Final = tuple(str(Path(__file__).parent / room) for room in ("engine", "executors"))

_CONTROL_CHARACTERS: Final = dict.fromkeys((*range(32), 127, *range(128, 160), 8232, 8233), " ")


def describe(error: BaseException) -> str:
    """Return `TypeName: message`, in one printable line of at most 1 KiB."""
    message = message_of(error)
    name = error.type_name if isinstance(error, RemoteError) else type(error).__name__
    return one_line(f"{name}: {message}" if message else name)


def message_of(error: BaseException) -> str:
    """Return what an exception says of itself."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception that cannot even be shown is still a failure
        return "<its message cannot be shown>"


def one_line(text: str) -> str:
    """Return the beginning of a text as a printable line of at most 1 KiB."""
    return clip(text[:MAX_ERROR_BYTES].translate(_CONTROL_CHARACTERS), MAX_ERROR_BYTES)


def traceback_of(error: BaseException) -> str:
    """Return the last 4 KiB of the traceback, without our own frames at its top; nothing when even that fails."""
    if isinstance(error, RemoteError):
        return error.traceback
    try:
        lines = traceback.format_exception(type(error), error, _behind_our_code(error.__traceback__))
    except Exception:  # noqa: BLE001 - the failure itself must be told all the same
        return ""
    return clip_front("".join(lines), MAX_TRACEBACK_BYTES)


def clip(text: str, max_bytes: int) -> str:
    """Return the beginning of a text that fits, as any UTF-8 encoder can take it."""
    return text[:max_bytes].encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")


def clip_front(text: str, max_bytes: int) -> str:
    """Return the end of a text that fits: the last lines of a traceback say the most."""
    return text[-max_bytes:].encode("utf-8", "replace")[-max_bytes:].decode("utf-8", "ignore")


def _behind_our_code(stack: TracebackType | None) -> TracebackType | None:
    while stack is not None and stack.tb_frame.f_code.co_filename.startswith(OUR_CODE):
        stack = stack.tb_next
    return stack
