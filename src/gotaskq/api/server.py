"""A process of ours: HTTP, workers, or both on one event loop, until a signal, then a clean end.

First SIGTERM or SIGINT: `/readyz` says 503, no job is fetched or accepted any more, running attempts have the shutdown
timeout to finish. Second: what still runs is given back at once. SIGUSR1: no job is fetched, all else goes on.
SIGHUP: tokens are read anew.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

import uvicorn

from gotaskq.api.asgi import create_app, create_health_app
from gotaskq.api.closing import Server
from gotaskq.api.fastlane import FastLane, FastLaneProtocol
from gotaskq.api.greeting import greeting_of_api, greeting_of_workers
from gotaskq.api.listening import BACKLOG, bind
from gotaskq.api.protocol import HardenedProtocol
from gotaskq.api.security.access import Access, open_access, refuse_open_door
from gotaskq.app import TaskQ
from gotaskq.clock import SystemClock
from gotaskq.engine.worker import Worker
from gotaskq.errors import ConfigError
from gotaskq.processes.counts import SharedCounts
from gotaskq.processes.member import Lifeline, Member
from gotaskq.processes.recycling import Limits, Recycling, refuse_small_rss, resident_bytes

TRIED_UVICORN: Final = "0.54."
SWEEP_EVERY_S: Final = 1.0
GC_THRESHOLDS: Final = (50_000, 20, 50)
HTTP_GRACE_S: Final = 4  # requests under way have this long once connections have lingered

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a process is for."""

    with_api: bool = True  # False: health and metrics, where there is a `health_port`
    with_workers: bool = True
    health_port: int | None = None
    burst: bool = False
    member: Member | None = None  # one of several processes


def serve(taskq: TaskQ, role: Role | None = None, *, announce: Callable[[str], None] = print) -> None:
    """Be what the role says until SIGTERM or SIGINT; raises ConfigError, such as for a port that is taken."""
    role = role or Role()
    _refuse_lone_store(taskq, role)
    access = open_access(taskq.settings, clock_s=time.monotonic)
    if role.with_api:
        refuse_open_door(taskq.settings, access)
    port = taskq.settings.port if role.with_api else role.health_port
    listener = None if port is None else bind(taskq.settings.host, port, is_shared=role.member is not None)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        worker = runner.run(_serve(taskq, listener, role, access, announce))
        exit_code = int(worker is not None and worker.is_worn_out)
        if worker is not None and worker.abandoned_on_loop:
            # A handler that will not end must not keep the process from ending; its job has been given back.
            logging.shutdown()
            sys.stdout.flush()
            os._exit(exit_code)
    if exit_code:
        sys.exit(exit_code)  # so that whoever keeps this process starts it anew


async def _serve(
    taskq: TaskQ, listener: socket.socket | None, role: Role, access: Access, announce: Callable[[str], None]
) -> Worker | None:
    async with taskq, contextlib.AsyncExitStack() as stack:
        taskq.is_draining = False  # it may have been served before
        member = role.member
        if member is not None:
            counts = SharedCounts(member.folder, number=member.number, counted=taskq.observation.counted)
            taskq.observation.gather_with((await stack.enter_async_context(counts)).gather)
        server = None if listener is None else Server(_config(taskq, role, access))
        worker = None
        if role.with_workers:
            limits = Limits.of(taskq.settings)
            refuse_small_rss(limits, rss_bytes=resident_bytes())
            limits = limits.drawn(Random())
            worker = await stack.enter_async_context(taskq.workers(burst=role.burst, max_jobs=limits.max_jobs))
            await stack.enter_async_context(_recycling(worker, limits))
        end = _End(taskq, role, server, worker)
        _on_signals(
            drain=end.drain if member is not None else end.drain_or_hurry,
            quiet=end.quiet,
            reload=lambda: access.reload(taskq.settings),
        )
        _tune_garbage_collection()
        if listener is not None:
            listener.listen(BACKLOG)
        if member is None:
            announce(_greeting(taskq, listener, role))
        else:
            line = stack.enter_context(contextlib.closing(Lifeline(member.line)))
            line.tell_ready(_greeting(taskq, listener, role))
            line.heed(drain=end.drain, hurry=end.hurry, quiet=end.quiet)
        await _run(worker, server, listener)
    return worker


async def _run(worker: Worker | None, server: uvicorn.Server | None, listener: socket.socket | None) -> None:
    if server is not None and listener is not None:
        async with _stopping_with(worker, server), _sweeping(server):
            await server.serve(sockets=[listener])
    elif worker is not None:
        await worker.ended.wait()


@contextlib.asynccontextmanager
async def _recycling(worker: Worker, limits: Limits) -> AsyncIterator[None]:
    """Drain the worker when a limit is reached; HTTP goes on as it is until the worker has ended.

    Jobs are accepted to the last: others run them, and a client should not notice that a process is replaced.
    """
    recycling = Recycling(limits, clock=SystemClock(), read_rss=resident_bytes, is_kept=lambda: worker.is_quiet)

    async def watch() -> None:
        reached = await recycling.due()
        logger.info("recycling", extra={"reached": reached, "rss_bytes": resident_bytes()})
        worker.stop()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


def _refuse_lone_store(taskq: TaskQ, role: Role) -> None:
    """Refuse to run a process whose jobs another process cannot see, where that is the point of it."""
    is_recycled = role.with_workers and bool(Limits.of(taskq.settings))
    if taskq.is_shared or (role.with_api and role.member is None and not is_recycled):
        return
    if not role.with_api:
        instead = "use `gotaskq run`"
    elif role.member is not None:
        instead = "set PROCESSES to 1"
    else:
        instead = "set no MAX_JOBS, MAX_RSS and MAX_AGE: the jobs would go with the process"
    raise ConfigError(
        "BACKEND_URL",
        "memory://",
        f"no other process sees jobs in memory; name a shared store, such as redis://localhost:6379/0, or {instead}",
    )


@contextlib.asynccontextmanager
async def _stopping_with(worker: Worker | None, server: uvicorn.Server) -> AsyncIterator[None]:
    """Stop serving when the worker ends, also when it ends by a fault: accepting what nobody runs helps nobody."""

    async def watch() -> None:
        if worker is not None:
            await worker.ended.wait()
            server.should_exit = True

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


def _config(taskq: TaskQ, role: Role, access: Access) -> uvicorn.Config:
    proxies = taskq.settings.trusted_proxies
    return uvicorn.Config(
        create_app(taskq, access) if role.with_api else create_health_app(taskq, access),
        http=_protocol(taskq, role, access),
        proxy_headers=proxies is not None,  # else anybody says who they are
        forwarded_allow_ips=list(proxies or ()),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=HTTP_GRACE_S,
        timeout_keep_alive=30,
    )


def _protocol(taskq: TaskQ, role: Role, access: Access) -> Any:
    """Return what makes a connection's protocol; with a uvicorn we have not tried, its own."""
    if not uvicorn.__version__.startswith(TRIED_UVICORN):
        logger.warning(
            "untried uvicorn: serving without the fast lane and its limits", extra={"uvicorn": uvicorn.__version__}
        )
        return "httptools"
    if not (taskq.settings.fast_lane and role.with_api):
        return HardenedProtocol
    return partial(FastLaneProtocol, lane=FastLane(taskq, access))


@contextlib.asynccontextmanager
async def _sweeping(server: uvicorn.Server) -> AsyncIterator[None]:
    """Close connections whose deadlines have passed, once a second."""

    async def sweep() -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            now_s = asyncio.get_running_loop().time()
            for connection in list(server.server_state.connections):
                if isinstance(connection, HardenedProtocol):
                    connection.sweep(now_s)

    sweeping = asyncio.create_task(sweep())
    try:
        yield
    finally:
        sweeping.cancel()


def _on_signals(*, drain: Callable[[], None], quiet: Callable[[], None], reload: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain)
    loop.add_signal_handler(signal.SIGUSR1, quiet)
    loop.add_signal_handler(signal.SIGHUP, reload)


class _End:
    """How this process is ended."""

    def __init__(self, taskq: TaskQ, role: Role, server: uvicorn.Server | None, worker: Worker | None) -> None:
        self._taskq = taskq
        self._role = role
        self._server = server
        self._worker = worker

    def quiet(self) -> None:
        """Fetch no more jobs; HTTP goes on as before, jobs are accepted, and the process does not end."""
        if self._worker is not None:
            self._worker.quiet()

    def drain(self) -> None:
        """Take no more and finish what runs; however often it is called."""
        if self._taskq.is_draining:
            return
        logger.info("draining")
        self._taskq.is_draining = True
        if self._role.with_api:  # else there is nobody to refuse but handlers, whose follow-up jobs others can run
            self._taskq.stop_accepting()
        if self._worker is not None:
            self._worker.stop()  # HTTP goes on answering look-ups until the worker has ended
        elif self._server is not None:
            self._server.should_exit = True

    def hurry(self) -> None:
        """Give back what still runs, at once."""
        self.drain()
        logger.warning("second signal: giving back what still runs")
        if self._server is not None:
            self._server.should_exit = self._server.force_exit = True
        if self._worker is not None:
            self._worker.hurry()

    def drain_or_hurry(self) -> None:
        """Drain at the first signal, hurry at any other."""
        if self._taskq.is_draining:
            self.hurry()
        else:
            self.drain()


def _tune_garbage_collection() -> None:
    """Leave what lives as long as the process out of every collection, and collect less often.

    Jobs hold no cycles and are not tracked at all, so a collection finds next to nothing here; with the default
    thresholds it takes a tenth to a fifth of the time of a job (benchmarks/questions/end_to_end.py).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _greeting(taskq: TaskQ, listener: socket.socket | None, role: Role) -> str:
    settings = taskq.settings
    processes = f"{settings.processes} processes of " if role.member is not None else ""
    workers = f"{processes}{settings.num_workers if role.with_workers else 'no'} workers"
    greeting = greeting_of_api if role.with_api else greeting_of_workers
    return greeting(taskq, listener, workers)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
