"""The storage backends, and the table from URL scheme to class (each imported only when asked for)."""

from collections.abc import Callable
from random import Random
from typing import Final, TypeAlias

from gotaskq.backend import Backend, StoreLayout, StoreLimits
from gotaskq.clock import Clock
from gotaskq.errors import ConfigError

Opener: TypeAlias = Callable[[str, StoreLimits, StoreLayout, Clock, Random], Backend]


def _memory(url: str, limits: StoreLimits, layout: StoreLayout, clock: Clock, rng: Random) -> Backend:
    from gotaskq.backends.memory import MemoryBackend

    if url != "memory://":
        raise ConfigError("BACKEND_URL", url, "memory:// takes nothing behind it")
    return MemoryBackend(limits, clock=clock, rng=rng)


def _redis(url: str, limits: StoreLimits, layout: StoreLayout, clock: Clock, rng: Random) -> Backend:
    from gotaskq.backends.redis import RedisBackend

    return RedisBackend(url, limits, layout=layout, clock=clock, rng=rng)


SCHEMES: Final[dict[str, Opener]] = {
    "memory": _memory,
    "redis": _redis,
    "redis+cluster": _redis,
    "redis+sentinel": _redis,
    "rediss": _redis,
    "rediss+cluster": _redis,
    "rediss+sentinel": _redis,
    "valkey": _redis,
    "valkeys": _redis,
}


def is_local(backend: str | Backend) -> bool:
    """Say whether a backend, or one that a URL names, keeps its jobs where only this process sees them."""
    if isinstance(backend, str):
        return backend.startswith("memory://")
    from gotaskq.backends.memory import MemoryBackend

    return isinstance(backend, MemoryBackend)


def open_backend(url: str, *, limits: StoreLimits, layout: StoreLayout, clock: Clock, rng: Random) -> Backend:
    """Make the backend a URL names; raises ConfigError for a scheme that no backend serves."""
    scheme = url.partition("://")[0]
    opener = SCHEMES.get(scheme)
    if opener is None:
        served = ", ".join(f"{scheme}://" for scheme in sorted(SCHEMES))
        raise ConfigError("BACKEND_URL", f"{scheme}://…", f"no backend serves this; must be one of: {served}")
    return opener(url, limits, layout, clock, rng)
