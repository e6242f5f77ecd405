"""A receiver of deliveries on a loopback socket, which answers what a test says, byte for byte."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from gotaskq.delivery import verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Request:
    """One that came."""

    line: str
    headers: dict[str, str]
    body: bytes

    def verified(self, *, now_s: float) -> str:
        return verify(self.headers, self.body, SECRET, now_s=now_s)


@dataclass
class Receiver:
    """What it is told to answer, the last of it for ever, and what came."""

    answers: list[bytes] = field(default_factory=lambda: [OK])
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    connections: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)
    broken_off: asyncio.Event = field(default_factory=asyncio.Event)  # the other side closed a connection

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=in-the-query"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *rest = head.rstrip().split("\r\n")
                headers = dict(map(_pair, rest))
                body = await reader.readexactly(int(headers["content-length"]))
                self.requests.append(Request(line, headers, body))
                said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                writer.write(said)
                await writer.drain()
                self.came.set()
                if not said or b"connection: close" in said:
                    break
        self.broken_off.set()


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name.lower(), value


@contextlib.asynccontextmanager
async def receiving(*answers: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    if answers:
        receiver.answers = [*answers]
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
