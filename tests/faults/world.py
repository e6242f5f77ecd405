"""The world of one fault test: a real store, a proxy before it, processes, callers, and the records of what happened.

Everything in it is started by the test and ends with it. `check` holds what is left to the invariants; `report` is what
a failing test shows.
"""

import contextlib
import gc
import itertools
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, Self, TypeVar

import redis
from tests.faults.checker import Allow, check, unhandled
from tests.faults.footprint import Fleet, returning_what_it_took
from tests.faults.handlers import LOG_VARIABLE, TYPES, HandlerLog, add_handlers
from tests.faults.history import History
from tests.faults.proxy import FaultProxy, Loss
from tests.faults.recovery import Fault, late, recovery_s, repeated_late
from tests.faults.store import Store, StoreReader
from tests.integration.http_client import Answer, request
from tests.integration.server_process import ServerProcess
from tests.redis_servers import Flavour, RedisServer

from gotaskq import Job, Settings, TaskQ
from gotaskq.backends.redis.scripts import load_scripts
from gotaskq.errors import BackendUnavailableError, GotaskqError

ROOT: Final = Path(__file__).parents[2]
APP: Final = "tests.faults.handlers:app"
WITHIN_S: Final = 60.0  # generous: a recovery that takes longer is a failure on any machine
POLL_S: Final = 0.02
SHORT_LEASE_MS: Final = 400  # of apps inside a test; a process takes no less than a second
LEASE_S: Final = 1.0  # of processes, unless a test says otherwise
SLOTS: Final = 4  # of a process, unless a test says otherwise
SETTINGS: Final = {"LOG_FORMAT": "text", "NUM_WORKERS": str(SLOTS), "BASE_DELAY": "20"}
WARM_UP_JOBS: Final = 50
NO_WORKERS: Final = "--no-workers"
PLAIN: Final[Mapping[str, Any]] = {}  # of a worker that is like most

T = TypeVar("T")


def script_names() -> dict[str, str]:
    """Return the name of each of our scripts by its SHA, as servers of either kind get it."""
    return {
        text.digest: script.value
        for has_flags in (True, False)
        for script, text in load_scripts(has_flags=has_flags).items()
    }


class World:
    """Use it with `with`."""

    def __init__(
        self, folder: Path, rng: Random, *, flavour: Flavour | None = None, config: Mapping[str, str] | None = None
    ) -> None:
        self.rng = rng
        self.redis = RedisServer(flavour, config=config)
        self.history = History(folder / "history.jsonl")
        self.log = HandlerLog(folder / "handlers.log")
        self.processes: list[ServerProcess] = []
        self._slots: dict[ServerProcess, int] = {}
        self.fleet = Fleet(self.log.path)
        self.faults: list[Fault] = []  # those that are over
        self.servers: dict[str, RedisServer] = {}  # others, whose logs help to understand a failure
        self.masters = [self.redis]  # where the keys are
        self.url: str | None = None  # where processes go; None: to the one server
        self._own_log = _OwnLog()
        self._stack = contextlib.ExitStack()
        self._proxy: FaultProxy | None = None

    def __enter__(self) -> Self:
        self._stack.enter_context(self.redis)
        logging.getLogger().addHandler(self._own_log)
        self._stack.callback(logging.getLogger().removeHandler, self._own_log)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        self._stack.close()
        self.history.close()
        self.log.close()

    @property
    def proxy(self) -> FaultProxy:
        """The proxy before the store; it is there once it is asked for."""
        if self._proxy is None:
            proxy = FaultProxy(self.redis.port, scripts=script_names(), rng=self.rng)
            self._proxy = self._stack.enter_context(proxy)
        return self._proxy

    # -- who takes part ------------------------------------------------------------------------------------------------

    def worker(self, *options: str, by_proxy: bool = False, app: str = APP, **env: str) -> ServerProcess:
        """Start a process that serves HTTP and runs jobs; `env` are settings, or variables of its app."""
        url = self.url or (self.proxy.url if by_proxy else self.redis.url)
        settings = {"BACKEND_URL": url, "LEASE": f"{LEASE_S:g}s", **SETTINGS, LOG_VARIABLE: str(self.log.path), **env}
        process = ServerProcess(*options, app=app, env=settings, folder=ROOT)
        self.processes.append(process)
        self._slots[process] = 0 if NO_WORKERS in options else int(settings["NUM_WORKERS"])
        self.fleet.add(process, kind=" ".join([app, *options, *(f"{name}={env[name]}" for name in sorted(env))]))
        return process

    def api(self, *, by_proxy: bool = False, **env: str) -> ServerProcess:
        """Start a process that serves HTTP and runs nothing."""
        return self.worker(NO_WORKERS, by_proxy=by_proxy, **env)

    @contextlib.asynccontextmanager
    async def app(self, *, by_proxy: bool = True, **settings: Any) -> AsyncIterator[TaskQ]:
        """Open an app inside the test, with all handlers; `settings` are fields of Settings."""
        url = self.proxy.url if by_proxy else self.redis.url
        chosen: dict[str, Any] = {"lease_ms": SHORT_LEASE_MS, "base_delay_ms": 20, "shutdown_timeout_ms": 2_000}
        taskq = TaskQ(url, settings=Settings(**(chosen | settings)), rng=Random(self.rng.getrandbits(64)))
        add_handlers(taskq, self.log, TYPES)
        async with returning_what_it_took(self.masters, within_s=WITHIN_S), taskq:
            yield taskq

    # -- callers -------------------------------------------------------------------------------------------------------

    def post(self, server: ServerProcess, job_type: str = "noop", *, pad: int = 0, **members: Any) -> int | None:
        """Submit a job by HTTP and record what was answered; return its id if it was accepted."""
        key = self.history.invoke("post")
        payload = {"key": key, **members.pop("payload", {}), **({"pad": "x" * pad} if pad else {})}
        body = json.dumps({"type": job_type, "payload": payload, **members}).encode()
        try:
            answer = server.post("/jobs", body)
        except OSError as error:
            self.history.lose(key, repr(error))
            return None
        if answer.status == 201:
            job_id = int(answer.json["id"])
            self.history.ok(key, job_id)
            return job_id
        is_unknown = answer.status == 500 or answer.json.get("accepted") == "unknown"
        (self.history.lose if is_unknown else self.history.fail)(key, answer.body.decode())
        return None

    def post_many(self, server: ServerProcess, count: int, job_type: str = "noop", **members: Any) -> list[int]:
        """Submit jobs that must all be accepted, and return their ids."""
        ids = [self.post(server, job_type, **members) for _ in range(count)]
        assert None not in ids, self.history.text()
        return [job_id for job_id in ids if job_id is not None]

    def insist(self, *servers: ServerProcess, job_type: str = "noop", times: int = 1, **members: Any) -> int:
        """Submit a job with an Idempotency-Key, first to one of these and then to the next, and again while the answer
        does not say what became of it; so until it was accepted `times` times. Return its id.
        """
        key = self.history.invoke("insist")
        data = keyed_request(key, job_type, **members)
        accepted: list[int] = []
        deadline_s = time.monotonic() + WITHIN_S
        for server in itertools.cycle(servers):
            with contextlib.suppress(OSError):
                answer = server.ask_raw(data)
                if answer.status == 201:
                    accepted.append(int(answer.json["id"]))
                    self.history.ok(key, accepted[-1])
                else:
                    assert answer.status in (500, 503), answer
            if len(accepted) == times:
                return accepted[0]
            assert time.monotonic() < deadline_s, self.history.text()
        raise AssertionError("there is no server to insist at")

    def post_batch(self, server: ServerProcess, count: int, *, lines: bool = False, pad: int = 0) -> Answer:
        """Submit a batch, record what became of each of its jobs, and return the answer."""
        keys = [self.history.invoke("batch") for _ in range(count)]
        jobs = [{"type": "noop", "payload": {"key": key, "pad": "x" * pad}} for key in keys]
        body = "\n".join(map(json.dumps, jobs)) if lines else json.dumps({"jobs": jobs})
        content_type = "application/x-ndjson" if lines else "application/json"
        answer = server.ask("POST", "/jobs/batch", body.encode(), headers={"content-type": content_type})
        for job in answer.json["jobs"]:
            self.history.ok(job["payload"]["key"], int(job["id"]))
        for error in answer.json["errors"]:
            (self.history.lose if "accepted" in error else self.history.fail)(keys[error["index"]], error["error"])
        return answer

    async def enqueue(self, app: TaskQ, job_type: str = "noop", **members: Any) -> Job | None:
        """Enqueue by the library and record what came of it; return the job if it was accepted."""
        key = self.history.invoke("enqueue")
        payload = {"key": key, **members.pop("payload", {})}
        try:
            job = await app.enqueue(job_type, payload, **members)
        except GotaskqError as error:
            is_unknown = isinstance(error, BackendUnavailableError) and error.job_id is not None
            (self.history.lose if is_unknown else self.history.fail)(key, error)
        else:
            self.history.ok(key, job.id)
            return job
        return None

    async def enqueue_many(self, app: TaskQ, count: int, job_type: str = "noop", **members: Any) -> list[Job]:
        """Enqueue jobs one by one that must all be accepted."""
        jobs = [await self.enqueue(app, job_type, **dict(members)) for _ in range(count)]
        assert None not in jobs, self.history.text()
        return [job for job in jobs if job is not None]

    @contextlib.contextmanager
    def posting(self, server: Callable[[], ServerProcess], *, clients: int, **members: Any) -> Iterator[None]:
        """Keep so many clients submitting jobs, one after the other, while the body runs."""
        over = threading.Event()

        def submit() -> None:
            while not over.is_set():
                self.post(server(), **dict(members))
                over.wait(POLL_S / 4)

        threads = [threading.Thread(target=submit, daemon=True) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join(WITHIN_S)

    # -- faults --------------------------------------------------------------------------------------------------------

    def warm_up(self, *, lease_s: float = LEASE_S, spares: Sequence[Mapping[str, Any]] = ()) -> None:
        """Let every process work, and note what each holds at rest: `check` wants it back after the faults (I10).

        Workers with the settings of `spares` work too, and end then: those that are started later are held to them.
        """
        ending = [self.worker(**spare) for spare in spares]
        for process in self.processes:
            self.post_many(process, WARM_UP_JOBS)
        self.renew_leases(lease_s=lease_s)
        self.fleet.rest(self.masters)
        assert [spare.stop() for spare in ending] == [0] * len(ending)

    def renew_leases(self, *, lease_s: float = LEASE_S) -> None:
        """Let every slot hold a job until its lease was renewed: for that, each worker has a connection of its own."""
        slots = {process: self._slots[process] for process in self.processes if process.is_running}
        idle = {process.pid for process, count in slots.items() if count}

        def has_each_held_one() -> bool:
            ids = self.post_many(next(iter(slots)), sum(slots.values()), "slow", payload={"ms": 700 * lease_s})
            self.drain()
            idle.difference_update(run.pid for run in self.log.runs() if run.job_id in ids)
            return not idle

        eventually(has_each_held_one)  # a worker that was slow to fetch may find that others have taken everything

    def kill(self, holder: ServerProcess) -> None:
        """Kill a worker of several: `check` wants its jobs to run elsewhere soon (I11)."""
        holder.kill()
        self.note_loss(holder)

    def note_loss(self, holder: ServerProcess, *, lease_s: float = LEASE_S) -> None:
        """Note that a worker cannot keep its leases, and that another is up: its jobs must run there soon (I11)."""
        within_s = recovery_s(lease_s, was_store_away=False)
        self.faults.append(Fault(time.monotonic(), within_s, holder=holder.pid))

    def note_end(self, *, lease_s: float = LEASE_S, at_s: float | None = None) -> None:
        """Note that a fault is over that lost no worker, or was at `at_s`: what it held up must go on soon (I11)."""
        over_s = time.monotonic() if at_s is None else at_s
        self.faults.append(Fault(over_s, recovery_s(lease_s, was_store_away=True)))

    # -- what is there -------------------------------------------------------------------------------------------------

    def store(self) -> Store:
        """Read the whole store, not by way of the proxy."""
        with contextlib.ExitStack() as clients:
            return StoreReader([clients.enter_context(master.client()) for master in self.masters]).read()

    def waiting(self) -> int:
        """Return how many jobs wait or run; one transaction a partition, so that a job on its way is counted."""
        return sum(self._waiting_at(master) for master in self.masters)

    @staticmethod
    def _waiting_at(master: RedisServer) -> int:
        with master.client() as client:
            bases = [key.decode().removesuffix("meta") for key in client.scan_iter("gotaskq:2:{*}:meta")]
            names = {key.decode() for key in client.scan_iter("gotaskq:2:{*}:[rd][dl]y:*")}
            waiting = 0
            for base in bases:  # a partition's keys share a slot, and so a transaction
                queues = {"default"} | {name.rpartition(":")[2] for name in names}
                transaction = client.pipeline()
                for place in ("run", *(f"{place}:{queue}" for queue in queues for place in ("rdy", "dly"))):
                    transaction.zcard(f"{base}{place}")
                waiting += sum(transaction.execute())
            return waiting

    def is_drained(self) -> bool:
        """Whether nothing waits or runs; False while the store is away."""
        try:
            return self.waiting() == 0
        except redis.RedisError:
            return False

    def drain(self, *, within_s: float = WITHIN_S) -> None:
        """Return when nothing waits or runs any more."""
        eventually(self.is_drained, within_s=within_s)

    # -- the end -------------------------------------------------------------------------------------------------------

    def check(self, allow: Allow | None = None) -> Store:
        """Hold the store, the history, the handlers' log and the processes to the invariants."""
        store, runs = self.store(), self.log.runs()
        check(self.history, store, runs, allow=allow)
        losses = self._losses()
        # One that its own repeat does not make good is as long as an outage.
        as_outages = [Fault(loss.at_s, recovery_s(LEASE_S, was_store_away=True)) for loss in losses]
        held_up = [*late(self.history, runs, [*self.faults, *as_outages]), *repeated_late(losses)]
        assert held_up == [], "\n".join(held_up)
        self.fleet.check(self.masters, within_s=WITHIN_S)
        gc.collect()  # a task whose error nobody asked for says so when it goes
        for text in (self._own_log.text, *(process.stderr for process in self.processes)):
            assert unhandled(text) == [], text
        return store

    def _losses(self) -> list[Loss]:
        """Return the calls that were lost."""
        return [loss for loss in self._proxy.losses if loss.happened.is_set()] if self._proxy is not None else []

    def report(self) -> Mapping[str, str]:
        """Return what helps to understand a failure, by title."""
        sections = {"history": self.history.text(), "redis": self.redis.log()}
        sections["log of the apps inside the test"] = self._own_log.text[-4_000:]
        sections |= {name: server.log() for name, server in self.servers.items()}
        if self.log.path.exists():
            sections["handlers"] = self.log.path.read_text()[-4_000:]
        for number, process in enumerate(self.processes, start=1):
            sections[f"stderr of process {number}"] = process.stderr[-4_000:]
        return sections


class _OwnLog(logging.Handler):
    """What apps inside the test log: to them what stderr is to a process."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += f"{self.format(record)}\n"


def keyed_request(key: str, job_type: str = "noop", **members: Any) -> bytes:
    """Return a request whose key is the job's in its payload too."""
    payload = {"key": key, **members.pop("payload", {})}
    body = json.dumps({"type": job_type, "payload": payload, **members}).encode()
    return request("POST", "/jobs", body, headers={"Idempotency-Key": key})


def let_pass(seconds: float) -> None:
    """Let a fault last: for faults that are a stretch of time, never to wait for something to happen."""
    threading.Event().wait(seconds)


def eventually(probe: Callable[[], T | None], *, within_s: float = WITHIN_S) -> T:
    """Return what `probe` finds, as soon as it finds something; for tests without a loop."""
    deadline_s = time.monotonic() + within_s
    pause = threading.Event()
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline_s, f"this did not become true within {within_s:g} s"
        pause.wait(POLL_S)
