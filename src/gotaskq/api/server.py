"""The server process: HTTP and workers on one event loop, until a signal, then a clean end.

First SIGTERM or SIGINT: `/readyz` says 503, no job is fetched or accepted any more, running attempts have the shutdown
timeout to finish. Second: what still runs is given back at once.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, Final

import uvicorn

from gotaskq.api.fastlane import FastLane, FastLaneProtocol
from gotaskq.api.protocol import HardenedProtocol
from gotaskq.app import TaskQ
from gotaskq.config import mask_url
from gotaskq.engine.worker import Worker
from gotaskq.errors import ConfigError

TRIED_UVICORN: Final = "0.54."
SWEEP_EVERY_S: Final = 1.0
GC_THRESHOLDS: Final = (50_000, 20, 50)
HTTP_GRACE_S: Final = 5  # requests under way have this long once the listener is closed

logger = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Uvicorn's server without its signal handlers: the process's end is ours to order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def serve(taskq: TaskQ, *, with_workers: bool = True, announce: Callable[[str], None] = print) -> None:
    """Serve HTTP, and run workers unless told otherwise, until SIGTERM or SIGINT; ConfigError: the port is taken."""
    listener = _listen(taskq)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        abandoned = runner.run(_serve(taskq, listener, with_workers=with_workers, announce=announce))
        if abandoned:
            # A handler that will not end must not keep the process from ending; its job has been given back.
            logging.shutdown()
            sys.stdout.flush()
            os._exit(0)


async def _serve(taskq: TaskQ, listener: socket.socket, *, with_workers: bool, announce: Callable[[str], None]) -> int:
    async with taskq, contextlib.AsyncExitStack() as stack:
        server = _Server(_config(taskq))
        worker = await stack.enter_async_context(taskq.workers()) if with_workers else None
        _on_signals(taskq, server, worker)
        _tune_garbage_collection()
        announce(_greeting(taskq, listener, with_workers=with_workers))
        async with _stopping_with(worker, server), _sweeping(server):
            await server.serve(sockets=[listener])
    return worker.busy if worker is not None else 0


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


def _config(taskq: TaskQ) -> uvicorn.Config:
    return uvicorn.Config(
        taskq.asgi(),
        http=_protocol(taskq),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=HTTP_GRACE_S,
        timeout_keep_alive=30,
    )


def _protocol(taskq: TaskQ) -> Any:
    """Return what makes a connection's protocol; with a uvicorn we have not tried, its own."""
    if not uvicorn.__version__.startswith(TRIED_UVICORN):
        logger.warning(
            "untried uvicorn: serving without the fast lane and its limits", extra={"uvicorn": uvicorn.__version__}
        )
        return "httptools"
    if not taskq.settings.fast_lane:
        return HardenedProtocol
    return partial(FastLaneProtocol, lane=FastLane(taskq))


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


def _on_signals(taskq: TaskQ, server: uvicorn.Server, worker: Worker | None) -> None:
    def drain() -> None:
        if not taskq.is_accepting:
            logger.warning("second signal: giving back what still runs")
            server.should_exit = server.force_exit = True
            if worker is not None:
                worker.hurry()
            return
        logger.info("draining")
        taskq.stop_accepting()
        if worker is None:
            server.should_exit = True
        else:
            worker.stop()  # HTTP goes on answering look-ups until the worker has ended

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain)


def _tune_garbage_collection() -> None:
    """Leave what lives as long as the process out of every collection, and collect less often.

    Jobs hold no cycles and are not tracked at all, so a collection finds next to nothing here; with the default
    thresholds it takes a tenth to a fifth of the time of a job (benchmarks/questions/end_to_end.py).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _listen(taskq: TaskQ) -> socket.socket:
    """Bind before anything else starts, so that a taken port is one clear line."""
    host, port = taskq.settings.host, taskq.settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        raise ConfigError(
            "PORT", f"{host}:{port}", f"cannot listen there ({error.strerror}); name another PORT"
        ) from error
    listener.setblocking(False)
    return listener


def _greeting(taskq: TaskQ, listener: socket.socket, *, with_workers: bool) -> str:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    workers = f"{taskq.settings.num_workers} workers" if with_workers else "no workers"
    job_type = taskq.job_types[0] if taskq.job_types else "some-type"
    return (
        f"GoTaskQ listens on {url} · backend {mask_url(taskq.settings.effective_backend_url)} · {workers}\n"
        f"Try: curl -X POST {url}/jobs -H 'content-type: application/json' "
        f"""-d '{{"type":"{job_type}","payload":{{"msg":"hello"}}}}'"""
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
