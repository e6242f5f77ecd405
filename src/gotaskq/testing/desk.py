"""Where handlers of any kind report to a test, and wait to be let go: a port of the loopback, an event per arrival.

Invariant: when the desk closes, every handler that still waits at it is let go.
"""

import asyncio
import contextlib
from typing import Final, Self

from gotaskq.testing.handlers import HOST

PATIENCE_S: Final = 30.0  # a start of a process takes real time; this is how long a broken one may hold up a test


class Visitor:
    """A handler that has arrived."""

    def __init__(self, said: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.said = said
        self._reader = reader
        self._writer = writer

    def answer(self, line: str) -> None:
        """Let it go on, with a word for it to return."""
        self._writer.write(f"{line}\n".encode())

    async def last_words(self) -> str:
        """Wait until its end of the line is closed, as it is when its process dies, and return what came before."""
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionResetError):
                return (await self._reader.read()).decode().strip()
        return ""


class Desk:
    """Takes visitors in the order they come."""

    def __init__(self) -> None:
        self._visitors: asyncio.Queue[Visitor] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._greet, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()

    async def visitor(self) -> Visitor:
        """Wait for the next one to arrive."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._visitors.get()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        said = (await reader.readline()).decode().strip()
        self._visitors.put_nowait(Visitor(said, reader, writer))
