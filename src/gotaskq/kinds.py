"""The kinds of values a setting can have: how each is read from text, explained, and shown.

Used by `config.py`, which gives each setting its kind.
Invariant: what a kind shows, it reads back as the same value, except that a URL is shown without its secrets.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from gotaskq.errors import InvalidRequestError
from gotaskq.names import check_queue_name

UNIT_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}  # largest first, for printing
DAY_MS = UNIT_MS["d"]
UNIT_BYTES = {"GiB": 1 << 30, "GB": 10**9, "MiB": 1 << 20, "MB": 10**6, "KiB": 1 << 10, "KB": 10**3, "B": 1}
MOST_WEIGHT = 100
ALL_QUEUES = "*"
MOST_PATH_CHARS = 4_096

ON = frozenset({"true", "1", "yes", "on"})
OFF = frozenset({"false", "0", "no", "off"})

_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(B|[KMG]i?B)")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,15}")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}")  # names, IPv4, and IPv6 with its zone
_NAME = re.compile(r"\*|[A-Za-z0-9._:%/\[\]-]{1,255}")  # with a network's length behind its address
_DESTINATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253})")
_KEY_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,32}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HIDDEN_NAME = r"(?=[^=&;?]*?(?:passw|pwd|token|secret))[^=&;?]*+="  # a lookahead and *+: linear in any text
_SECRET_PARAMETER = re.compile(rf"([?&;]{_HIDDEN_NAME})([^&]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Kind:
    """How one sort of value is read, explained and shown; `parse` raises ValueError."""

    parse: Callable[[str], object]
    allowed: str
    show: Callable[[object], object] = lambda value: value


def whole_number(least: int, most: int) -> Kind:
    """Return the kind of whole numbers in these limits."""

    def parse(text: str) -> int:
        if not _WHOLE_NUMBER.fullmatch(text):
            raise ValueError("not a whole number")
        return _within(int(text), least, most)

    return Kind(parse, f"a whole number from {least} to {most}")


def duration(least_ms: int, most_ms: int, *, or_none: bool = False) -> Kind:
    """Return the kind of durations in these limits, kept as milliseconds; `or_none` allows 0, which means none."""

    def parse(text: str) -> int:
        ms = parse_duration_ms(text)
        return 0 if or_none and ms == 0 else _within(ms, least_ms, most_ms)

    limits = f"from {format_duration(least_ms)} to {format_duration(most_ms)}"
    none = "0, or " if or_none else ""
    return Kind(parse, f"{none}a duration with its unit, such as 500ms 10s 5m 2h 90d, {limits}", _show_duration)


def delay(least_ms: int, most_ms: int) -> Kind:
    """Return the kind of durations that may be bare milliseconds."""
    # The original has bare milliseconds here; elsewhere a number without a unit would be a guess.
    plain = duration(least_ms, most_ms)

    def parse(text: str) -> object:
        return plain.parse(f"{text}ms" if _WHOLE_NUMBER.fullmatch(text) else text)

    return Kind(parse, f"milliseconds, or {plain.allowed}", _show_duration)


def size(least_bytes: int, most_bytes: int) -> Kind:
    """Return the kind of sizes in bytes in these limits, or 0, which means none."""

    def parse(text: str) -> int:
        size_bytes = parse_size_bytes(text)
        return 0 if size_bytes == 0 else _within(size_bytes, least_bytes, most_bytes)

    limits = f"from {format_size(least_bytes)} to {format_size(most_bytes)}"
    return Kind(parse, f"0, or a size with its unit, such as 512MB or 1GiB, {limits}", _show_size)


def choice(*words: str) -> Kind:
    """Return the kind that is one of these words, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError("not one of the words")
        return text.lower()

    return Kind(parse, f"one of {', '.join(words)}")


def parse_duration_ms(text: str) -> int:
    """Read `500ms`, `1.5s`, `5m`, `2h`, `90d` or `0` as milliseconds; ValueError for anything else."""
    if text == "0":
        return 0
    if not (match := _DURATION.fullmatch(text)):
        raise ValueError(f"not a duration: {text!r}; a number and ms, s, m, h or d, such as 500ms")
    milliseconds = Fraction(match[1]) * UNIT_MS[match[2]]
    if milliseconds.denominator != 1:
        raise ValueError(f"finer than a millisecond: {text!r}")
    return int(milliseconds)


def format_duration(ms: int) -> str:
    """Write milliseconds in the biggest unit that is exact: 300000 is `5m`, 1500 is `1500ms`."""
    return _in_units(ms, UNIT_MS) if ms else "0s"


def parse_size_bytes(text: str) -> int:
    """Read `512MB`, `1.5GiB` or `0` as bytes, MB being a million and MiB 2**20; ValueError for anything else."""
    if text == "0":
        return 0
    if not (match := _SIZE.fullmatch(text)):
        raise ValueError(f"not a size: {text!r}; a number and KB, MB or GB (KiB, MiB, GiB), such as 512MB")
    size_bytes = Fraction(match[1]) * UNIT_BYTES[match[2]]
    if size_bytes.denominator != 1:
        raise ValueError(f"finer than a byte: {text!r}")
    return int(size_bytes)


def format_size(size_bytes: int) -> str:
    """Write bytes in the biggest unit that is exact: 512000000 is `512MB`, 1073741824 is `1GiB`."""
    return _in_units(size_bytes, UNIT_BYTES) if size_bytes else "0"


def mask_url(url: str) -> str:
    """Replace a URL's password and secret parameters by `***`; never raises, whatever the text.

    A raw `@`, `/` or `?` in a password makes a URL ambiguous; then more is hidden rather than less.
    """
    scheme = match[0] if (match := _SCHEME.match(url)) else ""
    rest = _SECRET_PARAMETER.sub(_hide_parameter, url[len(scheme) :])
    userinfo, at, host = rest.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    return f"{scheme}{user}{colon and ':***'}{at}{host}"


def _in_units(number: int, units: Mapping[str, int]) -> str:
    unit = next(unit for unit, worth in units.items() if number % worth == 0)
    return f"{number // units[unit]}{unit}"


def _hide_parameter(parameter: re.Match[str]) -> str:
    # The @ stays: if this "parameter" is really the middle of a password, what stands before it must go too.
    return f"{parameter[1]}***{'@' if '@' in parameter[2] else ''}"


def _within(number: int, least: int, most: int) -> int:
    if not least <= number <= most:
        raise ValueError("out of range")
    return number


def _show_duration(value: object) -> object:
    return format_duration(value) if isinstance(value, int) else value


def _show_size(value: object) -> object:
    return format_size(value) if isinstance(value, int) else value


def _switch(text: str) -> bool:
    if text.lower() not in ON | OFF:
        raise ValueError("neither true nor false")
    return text.lower() in ON


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("not a host")
    return text


def _url(text: str) -> str:
    if not _SCHEME.match(text) or not text.isprintable():
        raise ValueError("not a URL")
    return text


def _key_prefix(text: str) -> str:
    if not _KEY_PREFIX.fullmatch(text):
        raise ValueError("not a prefix")
    return text


def _queues(text: str) -> dict[str, int] | None:
    if text == ALL_QUEUES:
        return None
    pairs = [_queue(item.strip()) for item in text.split(",")]
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a queue is there twice")
    return dict(pairs)


def _queue(item: str) -> tuple[str, int]:
    name, colon, weight = item.partition(":")
    try:
        queue = check_queue_name(name)
    except InvalidRequestError as error:
        raise ValueError(str(error)) from None
    if not _WHOLE_NUMBER.fullmatch(weight or "1") or (colon and not weight):
        raise ValueError("a weight that is no whole number")
    return queue, _within(int(weight or "1"), 1, MOST_WEIGHT)


def _show_queues(value: object) -> object:
    return ",".join(f"{queue}:{weight}" for queue, weight in value.items()) if isinstance(value, dict) else ALL_QUEUES


def _show_url(value: object) -> object:
    return mask_url(value) if isinstance(value, str) else value


def _path(text: str) -> str:
    if not text.isprintable() or len(text) > MOST_PATH_CHARS:
        raise ValueError("not a path")
    return text


def _names(text: str) -> tuple[str, ...]:
    names = tuple(item.strip() for item in text.split(","))
    if not all(_NAME.fullmatch(name) for name in names):
        raise ValueError("not a name")
    return names


def _destinations(text: str) -> tuple[str, ...]:
    items = tuple(item.strip() for item in text.split(","))
    for item in items:
        if "/" in item or ":" in item:
            ipaddress.ip_network(item.strip("[]"), strict=False)
        elif not _DESTINATION.fullmatch(item):
            raise ValueError("neither a name nor a network")
    return items


def _show_names(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


SWITCH = Kind(_switch, "true or false (also 1 0 yes no on off)")
HIDDEN = Kind(lambda text: text, "what `gotaskq token new` prints, lines parted by ;", lambda value: value and "***")
DESTINATIONS = Kind(
    _destinations,
    "host names, addresses or networks, parted by commas, such as billing.internal,10.0.0.0/8",
    _show_names,
)
HOST = Kind(_host, "a host name or an IP address, without scheme, port or brackets")
KEY_PREFIX = Kind(_key_prefix, "1 to 32 of A-Z a-z 0-9 . _ -")
NAMES = Kind(_names, "names or addresses, parted by commas, or *", _show_names)
PATH = Kind(_path, "a path of a file")
QUEUES = Kind(_queues, "* or names of queues with weights from 1 to 100, such as mail:5,default", _show_queues)
SECRET = Kind(lambda text: text, "a secret", lambda value: value and "***")
URL = Kind(_url, "a URL with its scheme, such as redis://localhost:6379/0 or sqlite:///jobs.db", _show_url)
