"""A raw HTTP/1.1 client on sockets: sends exactly the bytes a test wants, and keeps the answer's bytes.

Reads bodies with a Content-Length, bodies that end with the connection, and none at all (HEAD); several answers may
come one after the other on one connection.
"""

import contextlib
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

TIMEOUT_S: Final = 20.0  # for one read; a server that hangs fails the test and not the whole run


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as Python values."""
        return json.loads(self.body)


class Connection:
    """One connection to a server; requests may be pipelined."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=TIMEOUT_S)
        self._reader: BinaryIO = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reader.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send raw bytes; a server that hangs up before it has read them all has answered already."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)

    def read(self, *, has_body: bool = True) -> Answer:
        """Read one answer; raises ConnectionError when the connection ends instead."""
        status_line = self._reader.readline()
        if not status_line:
            raise ConnectionError("the server closed the connection without an answer")
        status = int(status_line.split(b" ", 2)[1])
        headers = dict(self._headers())
        length = headers.get("content-length")
        if not has_body or status == 100:
            return Answer(status, headers, b"")
        return Answer(status, headers, self._reader.read(-1 if length is None else int(length)))

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request and read its answer."""
        self.send(request(method, path, body, headers=headers))
        return self.read(has_body=method != "HEAD")

    def is_at_end(self) -> bool:
        """Say whether the server closes the connection without sending more."""
        try:
            return self._reader.read(1) == b""
        except ConnectionResetError:
            return True

    def _headers(self) -> Iterable[tuple[str, str]]:
        while (line := self._reader.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            yield name.lower(), value.strip()


def request(method: str, path: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a request; JSON unless `headers` say otherwise, of known length unless they say chunked."""
    lines = {"host": "test"}
    if body is not None:
        lines |= {"content-type": "application/json", "content-length": str(len(body))}
    lines |= {name.lower(): value for name, value in (headers or {}).items()}
    if "transfer-encoding" in lines:
        lines.pop("content-length", None)
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return head.encode("latin-1") + b"\r\n" + (body or b"")
