"""What a child prints, line by line into the worker's log; so that prints and crash reports are found, and found there.

Invariant: nothing a child prints is taken for a frame, and a line without end is logged in parts.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

MAX_LINE_BYTES: Final = 4_096  # a longer line is logged in parts

logger = logging.getLogger(__name__)


class Output(asyncio.Protocol):
    """One of a child's two streams; `on_end` is called when nobody can write to it any more."""

    def __init__(self, stream: str, *, pid: int, job_id: Callable[[], str | None], on_end: Callable[[], None]) -> None:
        self._stream = stream
        self._pid = pid
        self._job_id = job_id
        self._on_end = on_end
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Log the lines that are whole now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._log(line)
        if len(self._rest) >= MAX_LINE_BYTES:
            self._log_rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """Log what came last, with or without its end."""
        if self._rest:
            self._log_rest()
        self._on_end()

    def _log_rest(self) -> None:
        line, self._rest = self._rest, b""
        self._log(line)

    def _log(self, line: bytes) -> None:
        about = {"stream": self._stream, "child_pid": self._pid, "job_id": self._job_id()}
        for start in range(0, len(line) or 1, MAX_LINE_BYTES):
            part = line[start : start + MAX_LINE_BYTES].decode("utf-8", "replace").rstrip("\r")
            logger.info("child_output", extra={**about, "line": part})
