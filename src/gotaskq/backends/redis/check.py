"""What is wrong with a Redis for keeping jobs in: pure functions over what the server says of itself.

Used by the backend's `check`, for `gotaskq config --check`.
Invariant: no finding holds a secret; whoever calls passes whether there is a password, never the password.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from gotaskq.backend import Finding


class Product(NamedTuple):
    """A server we know: the least version that works, and for each of its lines the least patch known to be safe."""

    name: str
    least: tuple[int, int]
    patched: Mapping[tuple[int, int], int]


# Who may run scripts, as we must, has met ways out of the Lua sandbox again and again: CVE-2024-31449, CVE-2024-46981,
# CVE-2025-46817, CVE-2025-46818, CVE-2025-49844, CVE-2026-23631; and CVE-2026-23479 in the handling of blocked clients.
# These releases, of July 2026, have all of the fixes.
# Redis: see https://github.com/redis/docs/pull/3292 and https://github.com/OT-CONTAINER-KIT/redis/issues/115
# Valkey: see https://github.com/valkey-io/valkey/pull/3633 and https://github.com/tazama-lf/tazama-stack/issues/267
REDIS: Final = Product(
    "Redis", (6, 2), {(6, 2): 23, (7, 2): 15, (7, 4): 10, (8, 2): 8, (8, 4): 5, (8, 6): 5, (8, 8): 1}
)
VALKEY: Final = Product("Valkey", (7, 2), {(7, 2): 14, (8, 0): 10, (8, 1): 9, (9, 0): 5, (9, 1): 1})

CHECKED_SETTINGS: Final = ("maxmemory-policy", "appendfsync", "save")

FSYNC_COSTS: Final = {
    "everysec": "a crash of the machine loses about the last second of jobs",
    "no": "a crash of the machine loses what the system had not written yet, often half a minute of jobs",
}


def check_server(
    info: Mapping[str, object], config: Mapping[str, str], *, host: str | None, has_password: bool
) -> list[Finding]:
    """Judge a server by its INFO and CONFIG GET; what is missing from `config` was not ours to read.

    `host` is None for a socket in the file system.
    """
    return [
        *_check_version(info),
        *_check_role(info),
        _check_eviction(info, config),
        *_check_durability(info, config),
        *_check_access(host, has_password=has_password),
    ]


def _check_version(info: Mapping[str, object]) -> Iterator[Finding]:
    product = VALKEY if "valkey_version" in info else REDIS
    text = str(info.get(f"{product.name.lower()}_version", ""))
    numbers = text.split(".")
    if len(numbers) < 3 or not all(number.isascii() and number.isdigit() for number in numbers[:3]):
        yield Finding("warning", f"the server's version is unknown: {text!r}", _supported())
        return
    line, patch = (int(numbers[0]), int(numbers[1])), int(numbers[2])
    if line < product.least:
        yield Finding("error", f"{product.name} {text} is too old", _supported())
        return
    yield Finding("ok", f"{product.name} {text}")
    yield from _check_patches(product, line, patch)


def _check_patches(product: Product, line: tuple[int, int], patch: int) -> Iterator[Finding]:
    if line > max(product.patched):
        return  # newer than what we know of
    name = f"{product.name} {line[0]}.{line[1]}"
    least = product.patched.get(line)
    if least is None:
        what = f"{name} gets no more security fixes that we know of"
        yield Finding("warning", what, "use a line that does: " + _lines(product))
    elif patch < least:
        what = f"{name}.{patch} lets a client that may run scripts run code on the server"
        yield Finding("warning", what, f"update to {line[0]}.{line[1]}.{least} or later")


def _check_role(info: Mapping[str, object]) -> Iterator[Finding]:
    if info.get("role") == "slave":
        yield Finding("error", "this server is a replica: it takes no jobs", "name the primary, or use Sentinel")


def _check_eviction(info: Mapping[str, object], config: Mapping[str, str]) -> Finding:
    policy = str(config.get("maxmemory-policy") or info.get("maxmemory_policy") or "unknown")
    if policy == "noeviction":
        return Finding("ok", "maxmemory-policy is noeviction")
    return Finding(
        "warning",
        f"maxmemory-policy is {policy}: a server that runs out of memory forgets jobs",
        "set maxmemory-policy noeviction; then it refuses new jobs instead",
    )


def _check_durability(info: Mapping[str, object], config: Mapping[str, str]) -> Iterator[Finding]:
    if str(info.get("aof_enabled", "0")) != "1":
        saves = config.get("save")
        lost = "every job" if saves == "" else "every change since the last snapshot"
        what = f"the append-only file is off: when the server ends or crashes it can lose {lost}"
        yield Finding("warning", what, "set appendonly yes")
        return
    fsync = config.get("appendfsync")
    if fsync == "always":
        yield Finding("ok", "appendonly is on and appendfsync is always")
    elif fsync is None:
        yield Finding("warning", "appendonly is on, but appendfsync cannot be read", "let this user run CONFIG GET")
    else:
        cost = FSYNC_COSTS.get(fsync, "unknown")
        advice = "set appendfsync always if no job may be lost; it makes every write wait for the disk"
        yield Finding("warning", f"appendfsync is {fsync}: {cost}", advice)


def _check_access(host: str | None, *, has_password: bool) -> Iterator[Finding]:
    if not has_password and not _is_loopback(host):
        what = f"there is no password, and {host} is not this machine: whoever reaches it owns the jobs"
        yield Finding("warning", what, "make an ACL user for GoTaskQ and use rediss:// or a private network")


def _is_loopback(host: str | None) -> bool:
    if host is None or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _supported() -> str:
    return " or ".join(f"{product.name} {product.least[0]}.{product.least[1]}" for product in (REDIS, VALKEY)) + (
        " or later is needed"
    )


def _lines(product: Product) -> str:
    return ", ".join(f"{major}.{minor}" for major, minor in sorted(product.patched))
