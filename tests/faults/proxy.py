"""A proxy between our clients and a Redis that misbehaves on demand, the way networks do.

Runs on a loop in a thread of its own, so tests of any kind can use it, and one whose loop is blocked too. It knows
RESP well enough to count commands and to find the call of one script, so it can lose exactly that call, or exactly its
reply: the two cases that tell "not executed" from "nobody knows".
"""

import asyncio
import contextlib
import hashlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal, Self, TypeVar

from tests.faults.resp import Frames, arguments
from tests.redis_servers import HOST, START_WAIT_S

READ_BYTES: Final = 65_536
QUEUED_FRAMES: Final = 1_000  # on their way in one direction of one connection
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Weather:
    """What one direction suffers: a delay, and pieces of `piece_bytes` (0: all at once) with `pause_s` after each."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    piece_bytes: int = 0
    pause_s: float = 0.0


FAIR: Final = Weather()
DRIP: Final = Weather(piece_bytes=1)


@dataclass(slots=True)
class Loss:
    """One call of one script to be lost: the call itself, or its reply."""

    part: Literal["call", "reply"]
    script: str
    nth: int  # counted from when it was asked for
    then: Callable[[], object] = lambda: None  # done while it is lost, before its caller can know
    happened: threading.Event = field(default_factory=threading.Event)
    at_s: float = 0.0  # when it was lost, on the machine's monotonic clock
    again_s: float | None = None  # when the next call of this script came, if one did

    def happen(self) -> None:
        """Note that it is lost."""
        self.then()
        self.at_s = time.monotonic()
        self.happened.set()

    def wait(self, within_s: float = START_WAIT_S) -> None:
        """Return when it has been lost."""
        assert self.happened.wait(within_s), f"there was no call number {self.nth} of {self.script} to lose"


class FaultProxy:
    """Stands before the server at `port`; `scripts` gives each script's name by its SHA. Use it with `with`.

    With `is_raw` it takes what comes for bytes and counts nothing: replicas, too, can come by it, whose stream is not
    all RESP.
    """

    def __init__(
        self,
        port: int,
        *,
        scripts: Mapping[str, str] | None = None,
        rng: Random | None = None,
        is_raw: bool = False,
    ) -> None:
        self.target_port = port
        self.port = 0
        self.up = FAIR  # from the client to the server
        self.down = FAIR
        self.rng = rng or Random()
        self.calls: Counter[str] = Counter()  # calls of scripts, by name
        self.commands: Counter[str] = Counter()
        self.connections = 0  # accepted so far
        self.is_raw = is_raw
        self.open_gate = asyncio.Event()
        self._scripts = dict(scripts or {})
        self.losses: list[Loss] = []  # all that were asked for
        self._losses: list[Loss] = []  # those that are still to happen
        self._links: set[_Link] = set()
        self._bytes_left: int | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The URL of the server's first database, by way of this proxy."""
        return f"redis://{HOST}:{self.port}/0"

    def __enter__(self) -> Self:
        self._thread.start()
        self.open_gate.set()
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- what can go wrong ---------------------------------------------------------------------------------------------

    def weather(self, weather: Weather) -> None:
        """Let both directions suffer this from now on."""
        self.up = self.down = weather

    def blackhole(self) -> None:
        """Keep every connection open and accept new ones, and forward nothing."""
        self._call(self.open_gate.clear)

    def heal(self) -> None:
        """Forward again, also what came meanwhile."""
        self._call(self.open_gate.set)

    def reset(self) -> int:
        """End every connection by RST; return how many there were."""
        return self._call(self._reset)

    def refuse(self) -> None:
        """Take no new connections and end those there are."""
        self._run(self._stop_listening())
        self.reset()

    def accept(self) -> None:
        """Take connections (again), always on the same port."""
        self._run(self._listen())

    def cut_after(self, replied_bytes: int) -> None:
        """End every connection once this many more bytes of replies went through in all."""
        self._bytes_left = replied_bytes

    def lose_call(self, script: str, *, nth: int = 1) -> Loss:
        """Cut the connection before the nth call of a script from now reaches the server."""
        return self._lose(Loss("call", script, nth))

    def lose_reply(self, script: str, *, nth: int = 1) -> Loss:
        """Let the nth call of a script from now be executed, and cut the connection before its reply comes back."""
        return self._lose(Loss("reply", script, nth))

    def _lose(self, loss: Loss) -> Loss:
        assert loss.script in self._scripts.values(), f"no script is called {loss.script!r}"
        self.losses.append(loss)
        self._call(lambda: self._losses.append(loss))
        return loss

    # -- for the links -------------------------------------------------------------------------------------------------

    def note_command(self, command: bytes) -> Loss | None:
        """Count a command; return the loss it is to suffer, if any."""
        words = arguments(command)
        verb = words[0].decode().upper() if words else ""
        self.commands[verb] += 1
        if verb not in ("EVALSHA", "EVAL"):
            return None
        sha = words[1].decode().lower() if verb == "EVALSHA" else hashlib.sha1(words[1]).hexdigest()
        name = self._scripts.get(sha, sha)
        self.calls[name] += 1
        for loss in self.losses:
            if loss.script == name and loss.happened.is_set() and loss.again_s is None:
                loss.again_s = time.monotonic()
        return self._due(name)

    def _due(self, script: str) -> Loss | None:
        due = None
        for loss in [loss for loss in self._losses if loss.script == script]:
            loss.nth -= 1
            if loss.nth == 0 and due is None:
                due = loss
                self._losses.remove(loss)
        return due

    def not_executed(self, loss: Loss) -> None:
        """The server did not know the script, so that call was none: lose the next one."""
        loss.nth = 1
        self._losses.append(loss)

    def note_reply(self, reply: bytes) -> bool:
        """Count the bytes of a reply; False: the connection ends here."""
        if self._bytes_left is not None:
            self._bytes_left -= len(reply)
            if self._bytes_left < 0:
                self._bytes_left = None
                self._reset()
                return False
        return True

    # -- the loop ------------------------------------------------------------------------------------------------------

    def _call(self, call: Callable[[], T]) -> T:
        """Run something on the proxy's loop and return what it returns."""
        done: Future[T] = Future()
        self._loop.call_soon_threadsafe(lambda: done.set_result(call()))
        return done.result(START_WAIT_S)

    def _run(self, coroutine: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(START_WAIT_S)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, HOST, self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _end(self) -> None:
        await self._stop_listening()
        tasks = [link.task for link in self._links]
        self._reset()
        if tasks:
            await asyncio.wait(tasks)

    def _reset(self) -> int:
        for link in self._links:
            link.cut()
        return len(self._links)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        try:
            server_reader, server_writer = await asyncio.open_connection(HOST, self.target_port)
        except OSError:
            _abort(writer)
            return
        link = _Link(self, (reader, writer), (server_reader, server_writer), task)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


class _Link:
    """One connection of a client, and ours to the server behind it."""

    def __init__(
        self,
        proxy: FaultProxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        task: "asyncio.Task[None]",
    ) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self.task = task
        self._upward: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_FRAMES)
        self._downward: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_FRAMES)
        self._sent = 0
        self._replied = 0
        self._loss: Loss | None = None  # of the reply with number `_sent`
        self._judged = asyncio.Event()
        self._cut = asyncio.Event()

    async def run(self) -> None:
        """Forward until one side ends or the link is cut."""
        pumps = (
            self._read_commands(),
            self._send(up=True),
            self._read_replies(),
            self._send(up=False),
            self._cut.wait(),
        )
        tasks = [asyncio.ensure_future(pump) for pump in pumps]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.cut()

    def cut(self) -> None:
        """End both halves by RST."""
        self._cut.set()
        _abort(self._to_client)
        _abort(self._to_server)

    async def _read_commands(self) -> None:
        frames = None if self._proxy.is_raw else Frames()
        while data := await self._from_client.read(READ_BYTES):
            for command in frames.feed(data) if frames else (data,):
                loss = self._proxy.note_command(command) if frames else None
                if loss is not None and loss.part == "call":
                    await self._upward.join()
                    loss.happen()
                    return
                self._sent += 1
                self._loss = loss
                await self._upward.put((self._due_s(self._proxy.up), command))
                if loss is not None:  # what comes behind it may not be executed before we know whether it was
                    await self._judged.wait()
                    self._judged.clear()
        await self._upward.join()  # a client that has hung up cannot call back what it sent

    async def _read_replies(self) -> None:
        frames = None if self._proxy.is_raw else Frames()
        while data := await self._from_server.read(READ_BYTES):
            for reply in frames.feed(data) if frames else (data,):
                self._replied += 1
                if self._loss is not None and self._replied == self._sent and self._is_lost(self._loss, reply):
                    await self._downward.join()
                    self._loss.happen()
                    return
                if not self._proxy.note_reply(reply):
                    return
                await self._downward.put((self._due_s(self._proxy.down), reply))
        await self._downward.join()

    def _is_lost(self, loss: Loss, reply: bytes) -> bool:
        if not reply.startswith(b"-NOSCRIPT"):
            return True
        self._proxy.not_executed(loss)
        self._loss = None
        self._judged.set()
        return False

    async def _send(self, *, up: bool) -> None:
        queue, writer = (self._upward, self._to_server) if up else (self._downward, self._to_client)
        while True:
            due_s, data = await queue.get()
            await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))
            weather = self._proxy.up if up else self._proxy.down
            step = weather.piece_bytes or len(data)
            for start in range(0, len(data), step):
                await self._proxy.open_gate.wait()
                writer.write(data[start : start + step])
                await writer.drain()
                if weather.piece_bytes:
                    await asyncio.sleep(weather.pause_s)
            queue.task_done()

    def _due_s(self, weather: Weather) -> float:
        delay_s = weather.latency_s + weather.jitter_s * self._proxy.rng.random()
        return asyncio.get_running_loop().time() + delay_s


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side sees a reset, whatever is still unsent."""
    transport = writer.transport
    if not transport.is_closing():
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        transport.abort()
