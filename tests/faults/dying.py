"""The app of a worker that kills itself before or after its first call of one method of the store (CRASH_AT).

`after` is after the store has carried the call out, before the worker knows. Of a settlement that fails and one that
completes both count: whichever comes first.
"""

import os
import signal
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from tests.faults.handlers import app

from gotaskq.backends.redis import RedisBackend
from gotaskq.backends.redis.lease_line import RedisLeaseLine

__all__ = ["app"]


def dying_in_thread(method: Callable[..., Any], moment: str) -> Callable[..., Any]:
    """Return a method of a lease line, fatal at this moment; a call without leases does no harm."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if moment == "before" and args[1]:
            os.kill(os.getpid(), signal.SIGKILL)
        reply = method(*args, **kwargs)
        if reply:
            os.kill(os.getpid(), signal.SIGKILL)
        return reply

    return call


def dying(method: Callable[..., Awaitable[Any]], moment: str) -> Callable[..., Awaitable[Any]]:
    """Return the method, fatal at this moment; a call that moves no job does no harm."""

    @wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        moves_jobs = method.__name__ == "reserve" or bool(args[1])
        if moment == "before" and moves_jobs:
            os.kill(os.getpid(), signal.SIGKILL)
        reply = await method(*args, **kwargs)
        if reply and moves_jobs:
            os.kill(os.getpid(), signal.SIGKILL)
        return reply

    return call


name, _, when = os.environ["CRASH_AT"].partition(":")
if name == "extend":
    setattr(RedisLeaseLine, name, dying_in_thread(RedisLeaseLine.extend, when))
else:
    setattr(RedisBackend, name, dying(getattr(RedisBackend, name), when))
