"""The ceiling of one Python core: asyncio.Protocol, httptools, uvloop and msgspec, without a framework.

Run as `python -m benchmarks.references.bare --port 8001`.
"""

import asyncio
import signal
from typing import cast

import httptools
import msgspec
import uvloop

from benchmarks.references.desk import Desk, encode_error
from benchmarks.references.serve import listening_socket

HEADERS = b"\r\ncontent-type: application/json\r\ncontent-length: "
CREATED = b"HTTP/1.1 201 Created" + HEADERS
BAD_REQUEST = b"HTTP/1.1 400 Bad Request" + HEADERS
NOT_FOUND = b"HTTP/1.1 404 Not Found" + HEADERS
NOTHING_HERE = b'{"error":"not found"}'


class BareProtocol(asyncio.Protocol):
    """One connection: parses requests and answers each in the callback that completes it."""

    __slots__ = ("_body", "_desk", "_parser", "_transport", "_url")

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        # A cast, not a check: uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which calls the methods below."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        """Forget the request before."""
        self._url = self._body = b""

    def on_url(self, url: bytes) -> None:
        """Collect the path; it may come in pieces."""
        self._url += url

    def on_body(self, body: bytes) -> None:
        """Collect the body; it may come in pieces."""
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """Answer."""
        if self._url != b"/jobs" or self._parser.get_method() != b"POST":
            self._answer(NOT_FOUND, NOTHING_HERE)
            return
        try:
            answer = self._desk.submit(self._body)
        except msgspec.MsgspecError as error:
            self._answer(BAD_REQUEST, encode_error(error))
        else:
            self._answer(CREATED, answer)

    def _answer(self, head: bytes, body: bytes) -> None:
        self._transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        if not self._parser.should_keep_alive():
            self._transport.close()


async def serve() -> None:
    """Answer until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    desk = Desk()
    await loop.create_server(lambda: BareProtocol(desk), sock=listening_socket("The bare responder."))
    await stopped.wait()


def main() -> None:
    """Run the server."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
