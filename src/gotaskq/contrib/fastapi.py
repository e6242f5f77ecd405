"""Workers inside a FastAPI or Starlette application, for as long as it lives.

Needs neither framework itself: whatever runs an ASGI lifespan will do.
Invariant: jobs in memory are never spread over web processes that cannot see each other's.
"""

import contextlib
import functools
import multiprocessing
import os
import socket
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from gotaskq.app import TaskQ
from gotaskq.errors import ConfigError

if TYPE_CHECKING:
    from gotaskq.engine.worker import Worker

GUNICORN: Final = "gunicorn"  # how it names itself in SERVER_SOFTWARE, for its workers to read


@contextlib.asynccontextmanager
async def lifespan_workers(taskq: TaskQ, concurrency: int | None = None) -> "AsyncIterator[Worker]":
    """Run jobs in this web process while the body runs, at most `concurrency` at once; drain at its end.

    The TaskQ is open already: `async with taskq, lifespan_workers(taskq, concurrency=4): yield`. Raises ConfigError
    when its jobs are in memory and the server runs several processes, as far as that can be known (on Linux).
    """
    if not taskq.is_shared:
        _refuse_siblings()
    async with taskq.workers(concurrency) as worker:
        yield worker


def _refuse_siblings() -> None:
    """Raise where another process of the same server runs workers of its own."""
    server = _pid_of_server() if sys.platform == "linux" else None
    if server is not None and _claim(server) is None:
        raise ConfigError(
            "BACKEND_URL",
            "memory://",
            "this server runs several processes, and each would have jobs that the others cannot see; run one, or name "
            "a store that processes share, such as redis://localhost:6379/0",
        )


def _pid_of_server() -> int | None:
    """Return the process that keeps this one and its siblings; None where this one stands alone, or nobody can say."""
    parent = multiprocessing.parent_process()  # uvicorn and hypercorn
    if parent is not None:
        return parent.pid
    return os.getppid() if os.environ.get("SERVER_SOFTWARE", "").startswith(GUNICORN) else None


@functools.cache
def _claim(server: int) -> socket.socket | None:
    """Return what the first of a server's processes holds until it ends; None where another one holds it."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        # A name without a file, which Linux has: it is free again whatever way its holder ends.
        claim.bind(f"\0gotaskq-memory-{os.getuid()}-{server}")
    except OSError:
        claim.close()
        return None
    return claim
