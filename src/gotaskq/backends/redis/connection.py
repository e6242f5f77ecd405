"""The connection: runs scripts and commands, repeats what is safe to repeat, and says when the store is away.

Every script is idempotent by a nonce or a lease, so a call whose fate is unknown is sent again, with the same nonce.
One wire leads to each server; what callers do while they wait cannot harm it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from random import Random
from typing import Any, Final, TypeAlias, TypeVar

from redis import exceptions as refusals

from gotaskq.backends.redis.keys import NEVER, Keys
from gotaskq.backends.redis.scripts import Script, ScriptText, load_scripts
from gotaskq.backends.redis.slots import Place
from gotaskq.backends.redis.topology import CONNECT_TIMEOUT_S, Address, Locator, greeting_of, tls_of
from gotaskq.backends.redis.wire import Heard, RefusedError, Wire, Word, open_wire
from gotaskq.errors import BackendUnavailableError, StoreFullError

T = TypeVar("T")
Argument: TypeAlias = Word

PATIENCE_S: Final = 5.0  # how long a call is tried, unless its caller says otherwise
FIRST_PAUSE_S: Final = 0.01
MAX_PAUSE_S: Final = 0.5
MAX_WORDS: Final = 200
FLAGS_SINCE: Final = 7  # the first major version that knows script flags

# Refusals that pass: nothing was carried out, and soon it may be.
PASSING: Final = frozenset(
    {
        *("LOADING", "BUSY", "MISCONF", "READONLY", "NOREPLICAS", "MASTERDOWN", "UNBLOCKED"),
        *("CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK"),
        # An operator is changing a password or rights; until they are right again the store is away.
        *("NOAUTH", "WRONGPASS", "NOPERM"),
    }
)
# This server is a master no more. Behind an address that stays, only a new connection leads to the one that is now.
DEMOTED: Final = "READONLY"
ELSEWHERE: Final = frozenset({DEMOTED, "MOVED", "CLUSTERDOWN"})  # another server is to be asked

# What a call can raise: the server's refusals, the socket's errors, and those of the client that finds servers.
FAILURES: Final = (RefusedError, OSError, refusals.RedisError, refusals.RedisClusterException)

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
        self.is_reachable = True
        self._locator = Locator(address)
        self._tls = tls_of(address)
        self._greeting = greeting_of(address)
        self._keys = keys
        self._metas: dict[int, str] = {}
        self._wires: dict[Place, Wire] = {}
        self._opening: dict[Place, asyncio.Task[Wire]] = {}
        self._near: dict[str, Wire] = {}  # key → the wire that served it last
        self._rng = rng
        self._test_clock = test_clock
        self._scripts: dict[Script, ScriptText] = {}

    async def open(self) -> None:
        """Connect; raises BackendUnavailableError."""
        information = await self.information()
        version = information.get("redis_version", "0")
        self._scripts = load_scripts(has_flags=int(version.partition(".")[0]) >= FLAGS_SINCE)

    async def information(self) -> dict[str, str]:
        """Return what the server says of itself."""
        text: bytes = await self.command("INFO", self._keys.store)
        lines = (line.partition(":") for line in text.decode(errors="replace").splitlines())
        return {name: value for name, colon, value in lines if colon}

    async def configuration(self, names: Sequence[str]) -> dict[str, str]:
        """Return the server's settings of these names, as far as we may read them."""
        settings: dict[str, str] = {}
        for name in names:
            try:
                reply = await self._call(self._keys.store, ("CONFIG", "GET", name))
            except RefusedError:  # a right that jobs do not need
                continue
            settings |= {found.decode(): value.decode() for found, value in zip(reply[::2], reply[1::2], strict=True)}
        return settings

    async def close(self) -> None:
        """Let go of all connections."""
        for opening in list(self._opening.values()):
            opening.cancel()
        for wire in self._wires.values():
            await wire.close()

    @property
    def calls_under_way(self) -> int:
        """How many calls the store has not answered yet."""
        return len(self._opening) + sum(wire.pending for wire in self._wires.values())

    async def run(
        self,
        script: Script,
        partition: int,
        *arguments: Argument,
        patience_s: float = PATIENCE_S,
        is_repeated: bool = True,
        may_have_run: bool = False,
    ) -> Any:
        """Run a script on a partition; raises BackendUnavailableError, StoreFullError or StoreFaultError.

        With `is_repeated` False the first failure is raised: for a caller who must know that a call is a repeat.
        `may_have_run` says that it is one.
        """
        meta = self._meta(partition)
        text, now_ms = self._scripts[script], self._now_ms()

        async def evaluate() -> Any:
            try:
                return await self._call(meta, ("EVALSHA", text.digest, 2, meta, meta + NEVER, now_ms, *arguments))
            except RefusedError as refused:
                if refused.code != "NOSCRIPT":
                    raise
                # Not carried out: the server was restarted, or another took over.
                return await self._call(meta, ("EVAL", text.text, 2, meta, meta + NEVER, now_ms, *arguments))

        return await self._persist(evaluate, meta, patience_s, is_repeated=is_repeated, may_have_run=may_have_run)

    def text_of(self, script: Script) -> ScriptText:
        """Return a script as this server wants it, for another way to it."""
        return self._scripts[script]

    def run_soon(self, script: Script, partition: int, arguments: Sequence[Argument], heard: Heard) -> bool:
        """Run a script without a task or a repeat, where a wire is at hand; False: nothing was sent, use `run`."""
        meta = self._meta(partition)
        wire = self._near.get(meta)
        if wire is None or not wire.is_open:
            return False
        wire.send(("EVALSHA", self._scripts[script].digest, 2, meta, meta + NEVER, self._now_ms(), *arguments), heard)
        return True

    async def command(self, name: str, key: str, *words: Argument, patience_s: float = PATIENCE_S) -> Any:
        """Run a command on a key, one that is safe to repeat; raises as `run`."""
        call = (name,) if name == "INFO" else (name, key, *words)
        return await self._persist(lambda: self._call(key, call), key, patience_s)

    def _meta(self, partition: int) -> str:
        return self._metas.get(partition) or self._metas.setdefault(partition, self._keys.meta(partition))

    def _now_ms(self) -> Argument:
        return b"" if self._test_clock is None else self._test_clock()

    # -- wires ---------------------------------------------------------------------------------------------------------

    async def _call(self, key: str, words: tuple[Word, ...]) -> Any:
        wire = self._near.get(key)
        if wire is None or not wire.is_open:
            wire = self._near[key] = await self._wire_to(await self._locator.place_of(key))
        try:
            return await wire.call(words)
        except RefusedError as refused:
            if refused.code == DEMOTED:
                wire.give_up()
            if refused.code != "ASK":
                raise
            return await self._ask(refused, words)

    async def _ask(self, refused: RefusedError, words: tuple[Word, ...]) -> Any:
        """Send a call to the server that takes this slot over just now."""
        host, _, port = str(refused).split()[2].rpartition(":")
        wire = await self._wire_to((host, int(port)))
        _, reply = await asyncio.gather(wire.call(("ASKING",)), wire.call(words))  # nothing comes between the two
        return reply

    async def _wire_to(self, place: Place) -> Wire:
        wire = self._wires.get(place)
        if wire is not None and wire.is_open:
            return wire
        opening = self._opening.get(place)
        if opening is None:
            opening = self._opening[place] = asyncio.get_running_loop().create_task(self._open_wire(place))
        return await asyncio.shield(opening)  # others wait for it too

    async def _open_wire(self, place: Place) -> Wire:
        try:
            wire = self._wires[place] = await self._new_wire(place)
        finally:
            del self._opening[place]
        return wire

    async def _new_wire(self, place: Place) -> Wire:
        host, port = place
        return await open_wire(host, port, tls=self._tls, greeting=self._greeting, timeout_s=CONNECT_TIMEOUT_S)

    async def another_wire(self, key: str) -> Wire:
        """Return a wire of one's own to the server of a key; raises one of FAILURES."""
        return await self._new_wire(await self._locator.place_of(key))

    def give_up_on(self, partition: int, *, since_s: float) -> None:
        """Hear that a call was not answered; a wire on which nothing has come since then leads nowhere."""
        self._give_up(self._meta(partition), since_s)
        self.went_away(TimeoutError("no answer in time"))

    def _give_up(self, key: str, since_s: float) -> None:
        wire = self._near.pop(key, None)
        if wire is not None and wire.heard_s < since_s:
            wire.give_up()
        self._locator.look_again()

    # -- persisting ----------------------------------------------------------------------------------------------------

    async def _persist(
        self,
        call: Callable[[], Awaitable[T]],
        key: str,
        patience_s: float,
        *,
        is_repeated: bool = True,
        may_have_run: bool = False,
    ) -> T:
        """Make a call, again and again while its errors pass and there is time."""
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        give_up_s = began_s + patience_s
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                async with asyncio.timeout_at(give_up_s):
                    reply = await call()
            except TimeoutError as error:
                reason: Exception = error
                may_have_run = True
                self._give_up(key, began_s)
            except FAILURES as error:
                self._judge(error, key, may_have_run=may_have_run)
                reason = error
                may_have_run = may_have_run or not isinstance(error, RefusedError)
            else:
                if not self.is_reachable:
                    self.came_back()
                return reply
            pause_now_s = pause_s * self._rng.uniform(0.5, 1.0)
            is_over = now_s() + pause_now_s >= give_up_s
            if is_over:
                self.went_away(reason)
            if is_over or not is_repeated:
                raise BackendUnavailableError(f"the job store did not answer: {words_of(reason)}") from reason
            await asyncio.sleep(pause_now_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    def _judge(self, error: Exception, key: str, *, may_have_run: bool) -> None:
        """Return where a call may be sent again; raise where it may not."""
        match fate_of(error):
            case Fate.FULL if may_have_run:  # an earlier try brought what now finds no room, perhaps
                raise BackendUnavailableError("the job store did not answer, and is full now") from error
            case Fate.FULL:
                raise StoreFullError(self._rng.randint(5, 30)) from error
            case Fate.BUG:
                logger.error("the store refused a call", exc_info=error)
                raise StoreFaultError("the job store refused a call; the log says why") from error
            case Fate.PASSING:
                if not isinstance(error, RefusedError) or error.code in ELSEWHERE:
                    self._near.pop(key, None)
                    self._locator.look_again()

    def went_away(self, error: Exception) -> None:
        """Note, and say once, that the store does not answer."""
        if self.is_reachable:
            logger.warning("the job store is away", extra={"error": words_of(error)})
        self.is_reachable = False

    def came_back(self) -> None:
        """Note, and say, that the store answers again."""
        logger.info("the job store is back")
        self.is_reachable = True


def fate_of(error: Exception) -> Fate:
    """Say what an error means for the call."""
    if not isinstance(error, RefusedError):
        return Fate.PASSING
    if error.code == "OOM" or "OOM" in str(error):
        return Fate.FULL
    return Fate.PASSING if error.code in PASSING else Fate.BUG


def words_of(error: Exception) -> str:
    """Return an error for a message: bounded."""
    return f"{type(error).__name__}: {error}"[:MAX_WORDS]
