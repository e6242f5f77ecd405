"""The storage backends, and the table from URL scheme to class (each imported only when asked for).

A scheme that is not in the table may come from an installed package, by an entry point of the group `gotaskq.backends`
with the scheme as its name and an Opener as its object. Those are looked for only then, as it takes milliseconds.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final, TypeAlias

from gotaskq.backend import Backend
from gotaskq.clock import Clock
from gotaskq.errors import ConfigError
from gotaskq.store_limits import StoreLayout, StoreLimits

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Opener: TypeAlias = Callable[[str, StoreLimits, StoreLayout, Clock, Random], Backend]


def _memory(url: str, limits: StoreLimits, layout: StoreLayout, clock: Clock, rng: Random) -> Backend:
    from gotaskq.backends.memory import MemoryBackend

    if url != "memory://":
        raise ConfigError("BACKEND_URL", url, "memory:// takes nothing behind it")
    return MemoryBackend(limits, clock=clock, rng=rng)


def _redis(url: str, limits: StoreLimits, layout: StoreLayout, clock: Clock, rng: Random) -> Backend:
    from gotaskq.backends.redis import RedisBackend

    return RedisBackend(url, limits, layout=layout, clock=clock, rng=rng)


ENTRY_POINTS: Final = "gotaskq.backends"
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
    from gotaskq.backends.journalled import JournalledBackend
    from gotaskq.backends.memory import MemoryBackend

    return isinstance(backend, MemoryBackend | JournalledBackend)


def open_backend(url: str, *, limits: StoreLimits, layout: StoreLayout, clock: Clock, rng: Random) -> Backend:
    """Make the backend a URL names; raises ConfigError for a scheme that no backend serves."""
    scheme = url.partition("://")[0]
    opener = SCHEMES.get(scheme) or _installed(scheme)
    return opener(url, limits, layout, clock, rng)


def _installed(scheme: str) -> Opener:
    """Return what an installed package opens this scheme with; raises ConfigError."""
    from importlib.metadata import entry_points  # a tenth of what importing TaskQ takes, and rarely needed

    found = entry_points(group=ENTRY_POINTS)
    named = [point for point in found if point.name == scheme]
    if not named:
        served = ", ".join(f"{scheme}://" for scheme in sorted({*SCHEMES, *found.names}))
        raise _refusal(scheme, f"no backend serves this; must be one of: {served}")
    if len(named) > 1:
        packages = " and ".join(sorted(_package(point) for point in named))
        raise _refusal(scheme, f"{packages} both serve this; uninstall one of them")
    try:
        opener: Opener = named[0].load()
    except (ImportError, AttributeError) as error:
        raise _refusal(scheme, f"{_package(named[0])} serves this, and cannot be loaded: {error}") from error
    return opener


def _package(point: "EntryPoint") -> str:
    return point.dist.name if point.dist is not None else point.value


def _refusal(scheme: str, why: str) -> ConfigError:
    return ConfigError("BACKEND_URL", f"{scheme}://…", why)  # what follows may hold a password
