"""The wire: one connection to one server, shared by all who call it.

Calls are written as they come and answered in their order, so many are under way at once. A caller that goes away harms
nobody: its reply is read and dropped. This is what makes a lone call cheap (benchmarks: redis_library, redis_latency).
Invariant: every call sent is answered once: with the reply, the server's refusal, or the loss of the connection.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast

import hiredis

Word: TypeAlias = str | bytes | int
Heard: TypeAlias = Callable[[Any], None]  # a reply, or the exception that stands for it

NOTHING_YET: Final = object()


class RefusedError(Exception):
    """The server answered with an error; `code` is its first word, such as NOSCRIPT."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]


class Wire(asyncio.Protocol):
    """A connection in use."""

    def __init__(self) -> None:
        self._replies = hiredis.Reader(replyError=RefusedError, notEnoughData=NOTHING_YET)
        self._callers: deque[Heard] = deque()
        self._overhear: Heard | None = None
        self._transport: asyncio.Transport | None = None
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard_s = 0.0  # when the server last said anything, on the loop's clock

    @property
    def is_open(self) -> bool:
        """Whether calls can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def pending(self) -> int:
        """How many calls have no answer yet."""
        return len(self._callers)

    def send(self, words: tuple[Word, ...], heard: Heard) -> None:
        """Send a call; `heard` gets its reply, a RefusedError, or a ConnectionError."""
        if self._transport is None or self._transport.is_closing():
            heard(ConnectionResetError("the connection is closed"))
            return
        self._callers.append(heard)
        self._transport.write(hiredis.pack_command(words))  # type: ignore[arg-type]  # it takes any number of words

    def call(self, words: tuple[Word, ...]) -> "asyncio.Future[Any]":
        """Send a call and return what becomes of it; cancelling that takes nothing back."""
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def heard(reply: Any) -> None:
            if answered.done():
                return
            if isinstance(reply, Exception):
                answered.set_exception(reply)
            else:
                answered.set_result(reply)

        self.send(words, heard)
        return answered

    def overhear(self, hear: Heard) -> None:
        """Let `hear` get all that the server says from now on, as a subscription needs it; nobody calls any more."""
        self._overhear = hear

    def write(self, words: tuple[Word, ...]) -> None:
        """Send words that nobody waits for an answer to; only on a wire that is overheard."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(hiredis.pack_command(words))  # type: ignore[arg-type]  # it takes any number of words

    async def is_lost_within(self, timeout_s: float) -> bool:
        """Wait so long, or until the connection is lost, and say whether it is."""
        await asyncio.wait([self._lost], timeout=timeout_s)
        return self._lost.done()

    def give_up(self) -> None:
        """Let go of a server that does not answer; who waits for it hears so at once."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Close, once what was written is sent, and return when it is."""
        if self._transport is not None:
            self._transport.close()
            await self._lost

    # -- the transport's side ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's says so in no other way

    def data_received(self, data: bytes) -> None:
        """Give each reply to the caller whose turn it is."""
        self.heard_s = asyncio.get_running_loop().time()
        replies, callers, overhear = self._replies, self._callers, self._overhear
        replies.feed(data)
        while (reply := replies.gets()) is not NOTHING_YET:
            if overhear is None:
                callers.popleft()(reply)
            else:
                overhear(reply)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell everybody who waits."""
        lost = ConnectionResetError(
            f"the connection was lost: {error}" if error else "the server closed the connection"
        )
        callers, self._callers = self._callers, deque()
        for heard in callers:
            heard(lost)
        self._lost.set_result(None)


async def open_wire(
    host: str, port: int, *, tls: ssl.SSLContext | None, greeting: tuple[tuple[Word, ...], ...], timeout_s: float
) -> Wire:
    """Connect and introduce ourselves; raises OSError, TimeoutError or RefusedError."""
    async with asyncio.timeout(timeout_s):
        _, wire = await asyncio.get_running_loop().create_connection(Wire, host, port, ssl=tls)
        try:
            await asyncio.gather(*(wire.call(words) for words in greeting))
        except BaseException:
            wire.give_up()
            await wire.close()
            raise
    return wire
