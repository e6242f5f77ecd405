"""The connection: runs scripts and commands, repeats what is safe to repeat, and says when the store is away.

Every script is idempotent by a nonce or a lease, so a call whose fate is unknown is sent again, with the same nonce.
Invariant: nobody who waits for a call can cancel it half-way: calls run in tasks of ours.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from enum import Enum
from random import Random
from typing import Any, Final, TypeAlias, TypeVar, cast

from redis import exceptions as refusals

from gotaskq.backends.redis.keys import Keys
from gotaskq.backends.redis.scripts import Script, ScriptText, load_scripts
from gotaskq.backends.redis.topology import Address, connect
from gotaskq.errors import BackendUnavailableError, StoreFullError

T = TypeVar("T")
Argument: TypeAlias = str | bytes | int

PATIENCE_S: Final = 5.0  # how long a call is tried, unless its caller says otherwise
FIRST_PAUSE_S: Final = 0.02
MAX_PAUSE_S: Final = 0.5
MAX_WORDS: Final = 200
FLAGS_SINCE: Final = 7  # the first major version that knows script flags

# Refusals that pass: the server answered, and did nothing. By the first word of its answer.
PASSING: Final = frozenset({"BUSY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "LOADING", "UNBLOCKED", "TRYAGAIN"})

# What a call can raise: the client's own errors (a Cluster's have a root of their own), the socket's, and the loop's.
FAILURES: Final = (refusals.RedisError, refusals.RedisClusterException, OSError, RuntimeError)

logger = logging.getLogger(__name__)


class Fate(Enum):
    """What an error says about the call."""

    PASSING = "passing"  # not carried out, or not known to be: send it again
    FULL = "full"  # not carried out: the server is out of memory
    BUG = "bug"  # ours, or broken data: sending it again would not help


class StoreFaultError(BackendUnavailableError):
    """The store refused a call in a way that no repeat mends at once; the log has its words."""


class Connection:
    """One process's way to the store."""

    def __init__(self, address: Address, keys: Keys, *, rng: Random, test_clock: Callable[[], int] | None) -> None:
        self.client = connect(address)
        self.is_reachable = True
        self._keys = keys
        self._metas: dict[int, str] = {}
        self._rng = rng
        self._test_clock = test_clock
        self._scripts: dict[Script, ScriptText] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.on_return: Callable[[], None] | None = None

    async def open(self) -> dict[str, Any]:
        """Connect and return what the server says of itself; raises BackendUnavailableError."""
        reply = await self.command("INFO", "server", patience_s=PATIENCE_S)
        information = _information(reply)
        version = str(information.get("redis_version", "0"))
        self._scripts = load_scripts(has_flags=int(version.partition(".")[0]) >= FLAGS_SINCE)
        return information

    async def close(self) -> None:
        """Let calls under way end, then let go."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE_S)
        await self.client.aclose()

    @property
    def calls_under_way(self) -> frozenset[asyncio.Task[Any]]:
        """The guarded calls that have not ended."""
        return frozenset(self._tasks)

    async def run(self, script: Script, partition: int, *arguments: Argument, patience_s: float = PATIENCE_S) -> Any:
        """Run a script on a partition; raises BackendUnavailableError, StoreFullError or StoreFaultError."""
        meta = self._metas.get(partition) or self._metas.setdefault(partition, self._keys.meta(partition))
        now_ms: Argument = b"" if self._test_clock is None else self._test_clock()
        return await self._persist(lambda: self._evaluate(script, meta, now_ms, arguments), patience_s)

    async def command(self, *words: Argument, patience_s: float = PATIENCE_S) -> Any:
        """Run a command that is safe to repeat; raises as `run`."""
        return await self._persist(lambda: self._command(*words), patience_s)

    async def guarded(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a call to its end even when its caller is cancelled: a socket must not be left with half a reply."""
        task = asyncio.get_running_loop().create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may be gone, and then nobody else looks at it

    async def _evaluate(self, script: Script, meta: str, now_ms: Argument, arguments: Sequence[Argument]) -> Any:
        text = self._scripts[script]
        try:
            return await self._command("EVALSHA", text.digest, 1, meta, now_ms, *arguments)
        except refusals.NoScriptError:  # not carried out: the server was restarted, or another took over
            return await self._command("EVAL", text.text, 1, meta, now_ms, *arguments)

    def _command(self, *words: Argument) -> Awaitable[Any]:
        return cast("Awaitable[Any]", self.client.execute_command(*words))

    async def _persist(self, call: Callable[[], Awaitable[T]], patience_s: float) -> T:
        """Make a call, again and again while its errors pass and there is time."""
        give_up_s = time.monotonic() + patience_s
        pause_s = FIRST_PAUSE_S
        while True:
            left_s = max(give_up_s - time.monotonic(), 0.001)
            try:
                async with asyncio.timeout(left_s):
                    reply = await call()
            except TimeoutError as error:
                reason: Exception = error
            except FAILURES as error:
                reason = error
                match fate_of(error):
                    case Fate.PASSING:
                        pass
                    case Fate.FULL:
                        raise StoreFullError(self._rng.randint(5, 30)) from error
                    case Fate.BUG:
                        logger.exception("the store refused a call")
                        raise StoreFaultError("the job store refused a call; the log says why") from error
            else:
                if not self.is_reachable:
                    self._came_back()
                return reply
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
            pause_now_s = pause_s * self._rng.uniform(0.5, 1.0)
            if time.monotonic() + pause_now_s >= give_up_s:
                self._went_away(reason)
                raise BackendUnavailableError(f"the job store did not answer: {_words(reason)}") from reason
            await asyncio.sleep(pause_now_s)

    def _went_away(self, error: Exception) -> None:
        if self.is_reachable:
            logger.warning("the job store is away", extra={"error": _words(error)})
        self.is_reachable = False

    def _came_back(self) -> None:
        logger.info("the job store is back")
        self.is_reachable = True
        if self.on_return is not None:
            self.on_return()


def fate_of(error: Exception) -> Fate:
    """Say what an error of the client means for the call."""
    text = str(error)
    match error:
        case refusals.OutOfMemoryError():
            return Fate.FULL
        case refusals.ResponseError() if "OOM" in text:
            return Fate.FULL
        case refusals.NoPermissionError():  # like a wrong password: the store is away until an operator has mended it
            return Fate.PASSING
        case refusals.ReadOnlyError() | refusals.TryAgainError() | refusals.ClusterError() | refusals.AskError():
            return Fate.PASSING
        case refusals.ResponseError():
            return Fate.PASSING if PASSING.intersection(text.split()[:1]) else Fate.BUG
        case refusals.ConnectionError() | refusals.TimeoutError() | OSError() | refusals.RedisClusterException():
            return Fate.PASSING
        case RuntimeError() if "closed" in text:  # the loop's word for a socket that was closed under a call
            return Fate.PASSING
        case _:
            return Fate.BUG


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:MAX_WORDS]


def _information(reply: Any) -> dict[str, Any]:
    """Return the reply to INFO: of a Cluster, the first node's."""
    if isinstance(reply, dict):
        first = next(iter(reply.values()), None)
        return cast("dict[str, Any]", first) if isinstance(first, dict) else cast("dict[str, Any]", reply)
    raise StoreFaultError("the job store did not say what it is")
