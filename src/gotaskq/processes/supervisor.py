"""The supervisor: starts the processes, replaces those that end, passes signals on, and ends when they have.

It runs no job and imports no app. The first process starts alone: what is wrong with settings or app is then said once.
Invariant: no process outlives the supervisor by more than its drain, however the supervisor ends.
"""

import asyncio
import json
import logging
import signal
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final

from gotaskq.errors import ConfigError
from gotaskq.processes.member import HURRY, QUIET, Member

FIRST_DELAY_S: Final = 0.1
MAX_DELAY_S: Final = 30.0
SPREAD: Final = 0.5  # processes that died together do not come back together
STEADY_S: Final = 60.0  # one that lived so long did not fail for the reason of the one before
MAX_SOCKET_PATH: Final = 100  # bytes; macOS allows 103, Linux 107
KILL_AT_SIGNAL: Final = 3  # the first drains, the second hurries

logger = logging.getLogger(__name__)

Command = Callable[[Member], Sequence[str]]


def supervise(count: int, command: Command, *, is_finite: bool, announce: Callable[[str], None]) -> int:
    """Keep `count` processes running until a signal, and return the exit code of the whole.

    `is_finite`: a process that ends well is not replaced. Raises ConfigError when there is no place for the folder.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="gotaskq-", ignore_cleanup_errors=True) as name:  # it has mode 0700
            folder = Path(name)
            if len(bytes(folder / f"{count}.sock")) > MAX_SOCKET_PATH:
                raise ConfigError("TMPDIR", name, "too long to hold sockets; name a folder with a shorter path")
            supervisor = Supervisor(count, command, folder=folder, is_finite=is_finite, announce=announce, rng=Random())
            return asyncio.run(supervisor.run())
    except FileNotFoundError as error:
        raise ConfigError("TMPDIR", "", "no folder for temporary files can be written; name one") from error


def restart_delay_s(failures: int, rng: Random) -> float:
    """Return how long to wait before a process is started again, after so many failures in a row (from 1)."""
    delay_s = min(FIRST_DELAY_S * 2.0 ** min(failures - 1, 16), MAX_DELAY_S)
    return delay_s * rng.uniform(1 - SPREAD, 1 + SPREAD)


class Child:
    """A process that was started, and our end of its line."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, line: socket.socket) -> None:
        self.number = number
        self.pid = process.pid
        self._process = process
        self._line = line
        self._writer: asyncio.StreamWriter | None = None  # kept: the line must stay open as long as we live
        self.is_ready = False
        self.began_s = asyncio.get_running_loop().time()

    async def ready(self) -> str | None:
        """Return its greeting once it serves; None when it ends instead."""
        reader, self._writer = await asyncio.open_connection(sock=self._line)
        said = await reader.readline()
        if not said:
            return None
        self.is_ready = True
        greeting: str = json.loads(said)["greeting"]
        return greeting

    async def ended(self) -> int:
        """Return its exit code once it has ended."""
        code = await self._process.wait()
        if self._writer is not None:
            self._writer.close()
        self._line.close()
        return code

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    def tell(self, word: bytes) -> None:
        """Tell it to hurry, or to fall quiet; one that does not listen yet reads it when it does."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(word)


class Supervisor:
    """Keeps `count` processes."""

    def __init__(
        self,
        count: int,
        command: Command,
        *,
        folder: Path,
        is_finite: bool,
        announce: Callable[[str], None],
        rng: Random,
    ) -> None:
        self._count = count
        self._command = command
        self._folder = folder
        self._is_finite = is_finite
        self._announce = announce
        self._rng = rng
        self._children: dict[int, Child] = {}
        self._unready = set(range(count))
        self._ending = asyncio.Event()
        self._signals = 0
        self._is_quiet = False
        self._has_failed = False

    async def run(self) -> int:
        """Start them, keep them, and return the exit code of the whole."""
        loop = asyncio.get_running_loop()
        for heard in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(heard, self._pass_on)
        loop.add_signal_handler(signal.SIGUSR1, self._quiet)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        first = await self._start(0)
        if not await self._hear(first):
            code = await first.ended()
            return 0 if self._is_clean(first, code) else max(code, 1)
        async with asyncio.TaskGroup() as keeping:
            keeping.create_task(self._keep(0, first))
            for number in range(1, self._count):
                keeping.create_task(self._keep(number, None))
        return int(self._has_failed)

    async def _keep(self, number: int, child: Child | None) -> None:
        """Start a process in this place again and again, until it is to end or has done what it was to do.

        One that ended well is replaced at once, one that failed after a while.
        """
        failures = 0
        while child is not None or not self._ending.is_set():
            if child is None:
                child = await self._start(number)
                await self._hear(child)
            code = await child.ended()
            if self._ending.is_set() or (code == 0 and self._is_finite):
                self._has_failed |= not self._is_clean(child, code)
                return
            if code == 0 and child.is_ready:  # it has served long enough, or somebody told it to end
                logger.info("process replaced", extra={"number": number, "ended_pid": child.pid})
                failures, child = 0, None
                continue
            is_steady = asyncio.get_running_loop().time() - child.began_s > STEADY_S
            failures = 1 if is_steady else failures + 1
            delay_s = restart_delay_s(failures, self._rng)
            about = {"number": number, "ended_pid": child.pid, "exit_code": code, "restart_in_s": round(delay_s, 3)}
            logger.warning("process ended", extra=about)
            child = None
            await self._pause(delay_s)

    async def _start(self, number: int) -> Child:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            member = Member(number, theirs.fileno(), self._folder)
            process = await asyncio.create_subprocess_exec(
                *self._command(member),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[member.line],
            )
        child = self._children[number] = Child(number, process, ours)
        if self._ending.is_set():  # the signal came while it was being started
            child.send(signal.SIGTERM)
        return child

    async def _hear(self, child: Child) -> bool:
        """Wait until the process serves or has ended, and greet once all serve; say whether it serves."""
        greeting = await child.ready()
        if greeting is None:
            return False
        if self._is_quiet:
            child.tell(QUIET)
        if child.number in self._unready:
            self._unready.discard(child.number)
            if not self._unready:
                self._announce(greeting)
        return True

    async def _pause(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._ending.wait()
        except TimeoutError:
            pass

    def _quiet(self) -> None:
        """Let them fetch no more jobs, and those neither that are started in the place of one that dies."""
        self._is_quiet = True
        for child in self._children.values():
            child.tell(QUIET)

    def _reload(self) -> None:
        """Let them read their tokens anew; one that has not begun to listen reads them when it does."""
        for child in self._children.values():
            if child.is_ready:  # before that it would end by the signal
                child.send(signal.SIGHUP)

    def _pass_on(self) -> None:
        """Drain at the first signal, hurry at the second, kill at the third.

        A terminal or systemd sends its signal to all processes at once, so to the others it means no more than drain.
        """
        self._signals += 1
        self._ending.set()
        if self._signals >= KILL_AT_SIGNAL:
            logger.warning("third signal: killing what still runs")
        for child in self._children.values():
            if self._signals == 1:
                child.send(signal.SIGTERM)
            elif self._signals < KILL_AT_SIGNAL:
                child.tell(HURRY)
            else:
                child.send(signal.SIGKILL)

    def _is_clean(self, child: Child, code: int) -> bool:
        """Say whether it ended as it should: by itself, or by a signal that came before it could heed one."""
        return code == 0 or (code == -signal.SIGTERM and not child.is_ready and self._ending.is_set())
