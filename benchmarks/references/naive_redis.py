"""The usual way to put HTTP before Redis: one script call a request, answered when it came back.

The HTTP side is that of the bare responder. The job is one JSON string and one member of a sorted set, by its rank.
Run as `REDIS_URL=redis://127.0.0.1:6379/0 python -m benchmarks.references.naive_redis --port 8004`.
"""

import asyncio
import os
from typing import cast

import httptools
import msgspec
import uvloop
from redis.asyncio import Redis

from benchmarks.references.bare import BAD_REQUEST, CREATED
from benchmarks.references.desk import HIGHEST_PRIORITY, Desk, encode_error
from benchmarks.references.serve import listening_socket

URL = "REDIS_URL"  # the variable that says which Redis
STORE = """
redis.call('SET', KEYS[2] .. ARGV[1], ARGV[3])
return redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
"""
KEYS = ("naive:ready", "naive:job:")


class NumberedAnswer(msgspec.Struct, frozen=True):
    """The two members of an answer that the store needs."""

    id: str
    priority: int


class Store:
    """Takes jobs in, one call each, over a pool of connections."""

    def __init__(self, redis: "Redis") -> None:
        self._desk = Desk()
        self._keep = redis.register_script(STORE)
        self._read = msgspec.json.Decoder(NumberedAnswer).decode

    async def submit(self, body: bytes) -> bytes:
        """Store one submission and return its answer; raises msgspec.MsgspecError when the body is no valid one."""
        answer = self._desk.submit(body)
        numbered = self._read(answer)
        await self._keep(keys=KEYS, args=(numbered.id, HIGHEST_PRIORITY - numbered.priority, answer))
        return answer


class NaiveProtocol(asyncio.Protocol):
    """One connection whose client waits for each answer before it asks again."""

    __slots__ = ("_body", "_parser", "_store", "_tasks", "_transport")

    def __init__(self, store: Store, tasks: asyncio.TaskGroup) -> None:
        self._store = store
        self._tasks = tasks
        self._parser = httptools.HttpRequestParser(self)
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
        self._body = b""

    def on_body(self, body: bytes) -> None:
        """Collect the body; it may come in pieces."""
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """Answer, once Redis has."""
        self._tasks.create_task(self._answer(self._body))

    async def _answer(self, body: bytes) -> None:
        try:
            head, answer = CREATED, await self._store.submit(body)
        except msgspec.MsgspecError as error:
            head, answer = BAD_REQUEST, encode_error(error)
        self._transport.write(b"%b%d\r\n\r\n%b" % (head, len(answer), answer))


async def serve() -> None:
    """Answer until the process is ended."""
    loop = asyncio.get_running_loop()
    async with Redis.from_url(os.environ[URL]) as redis, asyncio.TaskGroup() as tasks:
        store = Store(redis)
        listener = listening_socket("One call to Redis a request.")
        await loop.create_server(lambda: NaiveProtocol(store, tasks), sock=listener)
        await asyncio.Event().wait()


def main() -> None:
    """Run the server."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
