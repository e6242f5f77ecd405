"""One seed: a fleet of workers and clients around one store, what goes wrong with them, and the verdict.

Three acts: clients enqueue while faults strike; then all is well, and every job must end; then the workers drain.
Invariant: all chance comes from the seed and all time from the loop, so a seed is played the same way each time.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any, Final, NamedTuple, TypeAlias

from gotaskq.app import TaskQ
from gotaskq.backend import JobQuery
from gotaskq.testing.simulation.backend import SimBackend
from gotaskq.testing.simulation.checker import InvariantError
from gotaskq.testing.simulation.faults import Fault, Plan
from gotaskq.testing.simulation.history import History
from gotaskq.testing.simulation.loop import PROCESS, SimClock, SimLoop, SimulationStalledError
from gotaskq.testing.simulation.nemesis import Nemesis
from gotaskq.testing.simulation.network import Network
from gotaskq.testing.simulation.process import Life, SimProcess
from gotaskq.testing.simulation.store import SimStore, StoreFactory, at_once
from gotaskq.testing.simulation.witness import Witness

AppFactory: TypeAlias = Callable[[SimProcess], TaskQ]
Client: TypeAlias = Callable[[TaskQ, Random], Awaitable[object]]

CLIENTS_WITHIN_S: Final = 600.0  # clients that enqueue for longer never end
LOOK_EVERY_S: Final = 0.5
LOOKS: Final = 2_400  # twenty minutes: with everything well, jobs that have not ended by then never do
SNAPSHOTS: Final = 5  # how far back a restart may go
BURIAL_ROUNDS: Final = 20

logger = logging.getLogger("gotaskq")


class Cast(NamedTuple):
    """Who plays: what every seed of a simulation has in common."""

    make_app: AppFactory
    client: Client
    workers: int
    clients: int
    make_store: StoreFactory


class World:
    """Plays one seed. Make it, `run` it, look at it."""

    def __init__(self, cast: Cast, *, seed: int, plan: Plan) -> None:
        self._cast = cast
        self._seed = seed
        self._plan = plan
        self.loop = SimLoop(self.rng("loop"), is_shuffled=plan.is_shuffled)
        self.clock = SimClock(self.loop)
        self.history = History(self.loop.now_ms)
        self.witness = Witness(self.history, now_ms=self.loop.now_ms, on_violation=self._end_early)
        self.store = SimStore(cast.make_store, loop=self.loop, seed=self.rng("store").getrandbits(64))
        self.network = Network(self.store, self.witness, loop=self.loop, rng=self.rng("network"))
        self.lease_s = 30.0
        self._all: list[SimProcess] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_peaceful = False
        self._over: asyncio.Future[None] | None = None

    def rng(self, purpose: str) -> Random:
        """Return a Random of the seed for one purpose, so that what one draws does not shift what another draws."""
        return Random(f"{self._seed}/{purpose}")

    def run(self) -> None:
        """Play the seed to its end; the verdict is with the witness."""
        complaints = _Complaints(self)
        logger.addHandler(complaints)
        before, logger.propagate = logger.propagate, False
        self.loop.set_exception_handler(self._unhandled)
        try:
            self.loop.run_until_complete(self._play())
        except SimulationStalledError as stalled:
            self.witness.violate(InvariantError(f"the simulation stalled: {stalled}"))
        finally:
            self._bury()
            logger.removeHandler(complaints)
            logger.propagate = before

    # -- the three acts ----------------------------------------------------------------------------------------------

    async def _play(self) -> None:
        self._over = self.loop.create_future()
        acts = self._spawn(self._acts())
        await asyncio.wait([acts, self._over], return_when=asyncio.FIRST_COMPLETED)
        if acts.done():
            acts.result()

    async def _acts(self) -> None:
        try:
            await self._trouble()
            await self._peace()
            await self._curtain()
        except InvariantError as violation:
            self.witness.violate(violation)

    async def _trouble(self) -> None:
        clients = [self._start_client(number) for number in range(1, self._cast.clients + 1)]
        for _ in range(self._cast.workers):
            self.start_worker()
        self.network.misbehave(self._plan)
        nemesis = self._spawn(Nemesis(self, self._plan, rng=self.rng("nemesis")).run())
        done, _ = await asyncio.wait(clients, timeout=CLIENTS_WITHIN_S)
        nemesis.cancel()
        if len(done) < len(clients):
            raise InvariantError(f"clients: they were not done after {CLIENTS_WITHIN_S:.0f} s")
        if not self.witness.calls:
            raise InvariantError("no call reached the simulated store: make the app with `process.backend`")

    async def _peace(self) -> None:
        self._is_peaceful = True
        for process in self._all:
            self._thaw(process)
            self._reconnect(process)
        self.network.heal()
        while len(self.workers()) < self._cast.workers:
            self.start_worker()
        for _ in range(LOOKS):
            if not self._is_busy():
                break
            await asyncio.sleep(LOOK_EVERY_S)
        self.witness.check_acknowledged()
        self.check_store()
        for job_id, life in self.witness.store.lives.jobs.items():
            self.witness.store.check_job(at_once(self.store.backend.get(job_id)), life)

    def _is_busy(self) -> bool:
        return bool(self.witness.store.unended()) or self.network.on_the_way > 0

    async def _curtain(self) -> None:
        workers = [process.main for process in self.workers() if process.main is not None]
        for process in self.workers():
            process.stopping.set()
        if workers:
            await asyncio.wait(workers)
        self.check_store()

    def check_store(self) -> None:
        """Raise InvariantError where the store's counts and its listing are not what they must be."""
        self.witness.store.check_counts(list(self.store.counts().values()))
        page = at_once(self.store.backend.list_jobs(JobQuery(), after=None, limit=1_000_000))
        if page.next_cursor is None and {job.id for job in page.jobs} != self.witness.store.lives.jobs.keys():
            raise InvariantError("I5 one place: the store lists other jobs than those that were stored")

    # -- processes ---------------------------------------------------------------------------------------------------

    def workers(self) -> list[SimProcess]:
        """Return the workers that run."""
        return [process for process in self.processes() if process.name.startswith("w")]

    def processes(self) -> list[SimProcess]:
        """Return all processes that run, and were not asked to stop."""
        return [process for process in self._all if process.life is Life.RUNNING and not process.stopping.is_set()]

    def start_worker(self) -> SimProcess:
        """Start one more worker."""
        return self._start(f"w{sum(process.name.startswith('w') for process in self._all) + 1}", self._work)

    def _start_client(self, number: int) -> asyncio.Task[None]:
        client = self._start(f"c{number}", self._ask)
        assert client.main is not None  # noqa: S101 - `_start` has just set it
        return client.main

    def _start(self, name: str, live: Callable[[SimProcess], Coroutine[Any, Any, None]]) -> SimProcess:
        process = SimProcess(name, clock=self.clock, rng=self.rng(name))
        process.backend = SimBackend(self.network, process)
        self._all.append(process)
        self.history.add(name, "start")
        process.main = self.loop.create_task(self._watched(process, live), context=process.context)
        return process

    async def _watched(self, process: SimProcess, live: Callable[[SimProcess], Coroutine[Any, Any, None]]) -> None:
        try:
            await live(process)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever gets out of a process is what we look for
            self.witness.violate(InvariantError(f"I12 nothing unhandled: {process.name} died of {error!r}"))
        process.life = Life.ENDED

    async def _work(self, process: SimProcess) -> None:
        app = process.app = self._cast.make_app(process)
        self.lease_s = app.settings.lease_ms / 1000
        app.observe(lambda event: self.witness.told(process, event))
        async with app, app.workers() as worker:
            stopping = asyncio.create_task(process.stopping.wait())
            ended = asyncio.create_task(worker.ended.wait())
            await asyncio.wait([stopping, ended], return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            since_ms = self.loop.now_ms()
        self.history.add(process.name, "ended")
        self.witness.drained(process, since_ms=since_ms)

    async def _ask(self, process: SimProcess) -> None:
        app = process.app = self._cast.make_app(process)
        app.observe(lambda event: self.witness.told(process, event))
        async with app:
            await self._cast.client(app, process.rng)

    # -- blows -------------------------------------------------------------------------------------------------------

    async def sleep(self, delay_s: float) -> None:
        """Let time pass; on the way, remember the store as it is, for a restart."""
        await asyncio.sleep(delay_s / 2)
        if Fault.RESTART in self._plan.blows:
            self.witness.store.keep(self.store.length)
        await asyncio.sleep(delay_s / 2)

    def strike(self, fault: Fault, process: SimProcess, *, for_s: float) -> None:
        """Let a fault hit a process."""
        if fault is Fault.STOP:  # no excuse for anything: a drain loses nothing
            self.history.add(process.name, "stop")
            process.stopping.set()
            self._spawn(self._replace())
        elif fault is Fault.KILL:
            self.kill(process)
            self._spawn(self._replace())
        elif fault is Fault.FREEZE:
            self.witness.cripple(process, fault)
            process.life = Life.FROZEN
            self.loop.call_later(for_s, self._thaw, process)
        else:
            self.witness.cripple(process, fault)
            self.network.cut_off.add(process.name)
            self.loop.call_later(for_s, self._reconnect, process)

    def kill(self, process: SimProcess) -> None:
        """End a process at this instant: nothing of it runs again."""
        process.life = Life.KILLED
        self.witness.cripple(process, Fault.KILL)

    async def _replace(self) -> None:
        await asyncio.sleep(self.rng(f"replace {len(self._all)}").uniform(0, self.lease_s))
        if not self._is_peaceful:
            self.start_worker()

    def _thaw(self, process: SimProcess) -> None:
        if process.life is Life.FROZEN:
            self.witness.recover(process)
            process.life = Life.RUNNING
            self.loop.release(process.held)

    def _reconnect(self, process: SimProcess) -> None:
        if process.name in self.network.cut_off and process.is_alive:
            self.witness.recover(process)
        self.network.cut_off.discard(process.name)

    def restart_store(self, rng: Random) -> None:
        """Bring the store back to one of its last snapshots."""
        kept = self.witness.store.kept
        if not kept or self.witness.violation is not None:
            return
        place = rng.randrange(max(0, len(kept) - SNAPSHOTS), len(kept))
        keep = self.witness.restarted(place)
        self.store.restart(keep=keep, seed=rng.getrandbits(64))
        self.witness.store.disturb_all(process.name for process in self._all)
        self.witness.check(self.check_store)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _spawn(self, act: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _end_early(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.witness.violate(InvariantError(f"I12 nothing unhandled: {context.get('message')}: {error!r}"))

    def _bury(self) -> None:
        """Let what was killed, and whatever else still waits, come to its end; nobody looks any more."""
        self.history.is_closed = True
        self.network.is_closed = True
        self.loop.set_exception_handler(lambda loop, context: None)
        for process in self._all:
            process.life = Life.ENDED
            self.loop.release(process.held)
        with contextlib.suppress(SimulationStalledError):
            for _ in range(BURIAL_ROUNDS):
                left = asyncio.all_tasks(self.loop)
                if not left:
                    break
                for task in sorted(left, key=hash):  # their numbers: the set's own order hangs on what garbage is left
                    task.cancel()
                self.loop.run_until_complete(asyncio.wait(left, timeout=30))
        self.loop.close()


class _Complaints(logging.Handler):
    """Writes what the engine logs into the history; a traceback in it is a bug, as handlers' failures leave none."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.WARNING)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line."""
        process = PROCESS.get()
        who = process.name if isinstance(process, SimProcess) else "-"
        self._world.history.add(who, "log", record.getMessage())
        if record.exc_info and record.exc_info[1] is not None:
            logged = f"{who} logged {record.getMessage()!r}: {record.exc_info[1]!r}"
            self._world.witness.violate(InvariantError(f"I12 nothing unhandled: {logged}"))
