"""Settings: from options, the environment and a `.env` file to one checked, frozen value.

Used by the command line and by `TaskQ.from_env()`; but for secrets that a PUSH_FILE names, nothing else in the package
reads the environment.
A new setting is one line in `Settings` and one line in `VARIABLES`.

Invariant: what `load_settings` returns is usable, and no text made here (error, row, repr) shows a
URL's password.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import msgspec

from gotaskq.env_file import read_env_file
from gotaskq.errors import ConfigError
from gotaskq.kinds import (
    DAY_MS,
    DESTINATIONS,
    HIDDEN,
    HOST,
    KEY_PREFIX,
    NAMES,
    PATH,
    QUEUES,
    SECRET,
    SWITCH,
    UNIT_BYTES,
    URL,
    Kind,
    choice,
    delay,
    duration,
    format_duration,
    mask_url,
    size,
    whole_number,
)

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "text", "json"]

PREFIX = "GOTASKQ_"  # tells our PORT from the PORT of another program in the same environment
LONGEST_MS = 3_650 * DAY_MS  # ten years: more is a typing mistake, and still exact in every backend
MOST_PROCESSES = 64  # more than any machine we know gains from
MOST_JOBS = 1_000_000_000  # more does not fit any machine's memory
LEAST_RSS_BYTES = 16 * UNIT_BYTES["MiB"]  # no Python process with a job queue in it is smaller
MOST_RSS_BYTES = 1_024 * UNIT_BYTES["GiB"]
LONGEST_SHOWN = 120  # characters of a refused value in an error, so that it stays one line


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an operator can set, checked; the names in capitals are in `VARIABLES`."""

    host: str = "127.0.0.1"  # loopback: nobody else reaches the service until someone decides so
    port: int = 8000  # as in the original; 0 takes any free port
    processes: int = 1  # one Python process uses one core; more need a store they can share
    num_workers: int = 10  # as in the original: attempts at once in each process
    queues: dict[str, int] | None = None  # queue → weight; None: every registered queue, in turn
    base_delay_ms: int = 100  # as in the original: the first step of the backoff
    max_delay_ms: int = 5_000  # as in the original: the cap of the backoff
    max_retries: int = 5  # as in the original, for a job that names none; 0 means no retry
    complete_job_ttl_ms: int = 300_000  # as in the original: long enough to fetch a result
    max_completed_jobs: int = 1_000_000  # the oldest go first, so memory is bounded whatever the rate
    use_redis: bool = False  # as in the original: memory needs no server
    redis_url: str | None = None  # no guess: jobs must not land in a Redis nobody named
    backend_url: str = "memory://"  # runs without anything installed
    key_prefix: str = "gotaskq"  # tells our keys from those of other programs in one Redis
    partitions: int = 1  # more only where one Redis core is the limit: order holds within a partition
    lease_ms: int = 30_000  # > 3 heartbeats, so one lost packet does not lose the job
    max_crashes: int = 3  # a job that ends its worker thrice is to blame, not the worker
    shutdown_timeout_ms: int = 20_000  # < the 30 s most supervisors wait before they kill
    max_queue_depth: int = 1_000_000  # waiting jobs in a queue; refusing is better than running out of memory
    max_dead_jobs: int = 10_000  # more than a person looks through; bounds the memory
    dead_job_ttl_ms: int = 90 * DAY_MS  # a quarter: long enough to notice and replay
    idempotency_ttl_ms: int = DAY_MS  # longer than clients send a request again whose answer they missed
    max_idempotency_keys: int = 1_000_000  # bounds the memory; refusing breaks no promise, forgetting would
    log_level: LogLevel = "info"  # lifecycle, without a line per job
    log_format: LogFormat = "auto"  # text for a terminal, JSON for a collector
    fast_lane: bool = True  # False sends the two hot POSTs through ASGI too: slower, one path to debug
    strict_types: bool = False  # as in the original: a type nobody here knows may be known elsewhere
    max_jobs: int = 0  # after so many a process is replaced; 0: never
    max_rss_bytes: int = 0  # when it holds so much memory, likewise; 0: never
    max_age_ms: int = 0  # when it is so old, likewise; 0: never
    tokens_file: str | None = None  # None: no tokens, and only this machine is let in
    tokens: str | None = None  # likewise, for those who have secrets in the environment
    allowed_hosts: tuple[str, ...] | None = None  # names beside our own; None: ours, or with tokens any
    insecure_no_auth: bool = False  # listening to others without tokens must be said aloud
    trusted_proxies: tuple[str, ...] | None = None  # None: X-Forwarded-* is what anybody can write
    push_file: str | None = None  # job types and the URLs that run them
    delivery_allow: tuple[str, ...] | None = None  # None: nothing is delivered into our own network
    callback_secret: str | None = None  # None: nothing is sent unsigned, so callbacks are refused
    callback_secret_file: str | None = None  # likewise, for those who have secrets in files
    handler_threads: int = 0  # 0 means as many as workers, so no `def` handler waits for a thread

    @property
    def effective_backend_url(self) -> str:
        """The URL the jobs live at: `redis_url` when Redis is on, else `backend_url`."""
        if not self.use_redis:
            return self.backend_url
        if self.redis_url is None:
            raise ConfigError("REDIS_URL", "", "needed when USE_REDIS is true, such as redis://localhost:6379/0")
        return self.redis_url

    @property
    def effective_handler_threads(self) -> int:
        """The size of the thread pool for `def` handlers."""
        return self.handler_threads or self.num_workers

    def __repr__(self) -> str:
        """Show every field; a Struct's own repr would print the passwords."""
        fields = (f"{variable.field}={variable.shown(self)!r}" for variable in VARIABLES)
        return f"Settings({', '.join(fields)})"


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, and for each field where its value came from, such as `environment PORT`."""

    settings: Settings
    sources: dict[str, str]


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting: its name in the environment, its field, its kind, and its option if not `--name`."""

    name: str
    field: str
    kind: Kind
    option_name: str = ""

    @property
    def option(self) -> str:
        """The option of the command line, such as `--max-delay`."""
        return "--" + (self.option_name or self.name.lower().replace("_", "-"))

    def shown(self, settings: Settings) -> object:
        """Return the value for people and JSON: durations with their unit, passwords masked."""
        return self.kind.show(getattr(settings, self.field))


def load_settings(
    environ: Mapping[str, str], *, env_file: Path | None = None, overrides: Mapping[str, object] | None = None
) -> LoadedSettings:
    """Find each setting (option, then environment, then file, then default), or raise ConfigError.

    `overrides` maps field names to values or to text as on the command line; None means not given.
    """
    options = {field: value for field, value in (overrides or {}).items() if value is not None}
    _refuse_unknown(options)
    places = {"environment": environ, ".env file": read_env_file(env_file) if env_file else {}}
    given = {v.field: found for v in VARIABLES if (found := next(_candidates(v, options, places), None))}
    values = {v.field: _parsed(v.kind, given[v.field]) for v in VARIABLES if v.field in given}
    settings = msgspec.convert(values, Settings)
    _check_delays(settings, given)
    _check_backend(settings, given)
    sources = {v.field: given[v.field].source if v.field in given else "default" for v in VARIABLES}
    return LoadedSettings(settings, sources)


def describe(loaded: LoadedSettings) -> list[tuple[str, str, str]]:
    """List (variable, value, source) for printing, secrets masked."""
    return [(v.name, _as_text(v.shown(loaded.settings)), loaded.sources[v.field]) for v in VARIABLES]


def describe_json(loaded: LoadedSettings) -> dict[str, object]:
    """Map each variable to its `value` and `source`, secrets masked, for a JSON encoder."""
    return {v.name: {"value": v.shown(loaded.settings), "source": loaded.sources[v.field]} for v in VARIABLES}


@dataclass(frozen=True, slots=True)
class _Given:
    """A value somebody set: its text, and where, under the name they used."""

    text: str
    name: str
    source: str


def _refuse_unknown(options: Mapping[str, object]) -> None:
    known = {variable.field for variable in VARIABLES}
    for field, value in options.items():
        if field not in known:
            raise _refusal(field, str(value), f"no such setting; there are {', '.join(sorted(known))}")


def _candidates(
    variable: Variable, options: Mapping[str, object], places: Mapping[str, Mapping[str, str]]
) -> Iterator[_Given]:
    """Yield what was set for one variable, the strongest first; empty text in the environment is unset."""
    if (value := options.get(variable.field)) is not None:
        # A typed value goes the way of the text, so it meets the same checks.
        text = value if isinstance(value, str) else _as_text(variable.kind.show(value))
        yield _Given(text, variable.option, f"option {variable.option}")
    for place, values in places.items():
        for name in (PREFIX + variable.name, variable.name):
            if text := values.get(name, "").strip():
                yield _Given(text, name, f"{place} {name}")


def _parsed(kind: Kind, given: _Given) -> object:
    try:
        return kind.parse(given.text)
    except ValueError:
        # Without the cause: it holds the raw text, which may hold a password.
        raise _refusal(given.name, given.text, kind.allowed) from None


def _refusal(name: str, text: str, allowed: str) -> ConfigError:
    # Every value is masked, not only URLs: a password pasted into the wrong variable is one too.
    shown = mask_url(text)
    return ConfigError(name, shown if len(shown) <= LONGEST_SHOWN else shown[:LONGEST_SHOWN] + "…", allowed)


def _check_delays(settings: Settings, given: Mapping[str, _Given]) -> None:
    if settings.max_delay_ms < settings.base_delay_ms:
        name = given["max_delay_ms"].name if "max_delay_ms" in given else "MAX_DELAY"
        least = format_duration(settings.base_delay_ms)
        raise _refusal(name, format_duration(settings.max_delay_ms), f"at least BASE_DELAY, which is {least}")


def _check_backend(settings: Settings, given: Mapping[str, _Given]) -> None:
    url = settings.effective_backend_url  # refuses Redis without its URL
    backend = given.get("backend_url")
    if backend and url != settings.backend_url:
        raise _refusal(backend.name, backend.text, "the same as REDIS_URL, or unset, while USE_REDIS is true")


def _as_text(value: object) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


COUNT = whole_number(1, MOST_JOBS)

VARIABLES = (
    Variable("HOST", "host", HOST),
    Variable("PORT", "port", whole_number(0, 65_535)),
    Variable("PROCESSES", "processes", whole_number(1, MOST_PROCESSES)),
    Variable("NUM_WORKERS", "num_workers", whole_number(1, 10_000), "workers"),
    Variable("QUEUES", "queues", QUEUES),
    Variable("BASE_DELAY", "base_delay_ms", delay(1, DAY_MS)),
    Variable("MAX_DELAY", "max_delay_ms", delay(1, 365 * DAY_MS)),
    Variable("MAX_RETRIES", "max_retries", whole_number(0, 100)),
    Variable("COMPLETE_JOB_TTL", "complete_job_ttl_ms", duration(1, LONGEST_MS)),
    Variable("MAX_COMPLETED_JOBS", "max_completed_jobs", whole_number(0, MOST_JOBS)),
    Variable("USE_REDIS", "use_redis", SWITCH),
    Variable("REDIS_URL", "redis_url", URL),
    Variable("BACKEND_URL", "backend_url", URL, "backend"),
    Variable("KEY_PREFIX", "key_prefix", KEY_PREFIX),
    Variable("PARTITIONS", "partitions", whole_number(1, 64)),
    Variable("LEASE", "lease_ms", duration(1_000, DAY_MS)),
    Variable("MAX_CRASHES", "max_crashes", whole_number(1, 100)),
    Variable("SHUTDOWN_TIMEOUT", "shutdown_timeout_ms", duration(0, DAY_MS)),
    Variable("MAX_QUEUE_DEPTH", "max_queue_depth", COUNT),
    Variable("MAX_DEAD_JOBS", "max_dead_jobs", COUNT),
    Variable("DEAD_JOB_TTL", "dead_job_ttl_ms", duration(1_000, LONGEST_MS)),
    Variable("IDEMPOTENCY_TTL", "idempotency_ttl_ms", duration(1_000, LONGEST_MS)),
    Variable("MAX_IDEMPOTENCY_KEYS", "max_idempotency_keys", COUNT),
    Variable("LOG_LEVEL", "log_level", choice(*get_args(LogLevel))),
    Variable("LOG_FORMAT", "log_format", choice(*get_args(LogFormat))),
    Variable("FAST_LANE", "fast_lane", SWITCH),
    Variable("STRICT_TYPES", "strict_types", SWITCH),
    Variable("MAX_JOBS", "max_jobs", whole_number(0, MOST_JOBS)),
    Variable("MAX_RSS", "max_rss_bytes", size(LEAST_RSS_BYTES, MOST_RSS_BYTES)),
    Variable("MAX_AGE", "max_age_ms", duration(1_000, LONGEST_MS, or_none=True)),
    Variable("TOKENS_FILE", "tokens_file", PATH),
    Variable("TOKENS", "tokens", HIDDEN),
    Variable("ALLOWED_HOSTS", "allowed_hosts", NAMES),
    Variable("INSECURE_NO_AUTH", "insecure_no_auth", SWITCH),
    Variable("TRUSTED_PROXIES", "trusted_proxies", NAMES),
    Variable("PUSH_FILE", "push_file", PATH),
    Variable("DELIVERY_ALLOW", "delivery_allow", DESTINATIONS),
    Variable("CALLBACK_SECRET", "callback_secret", SECRET),
    Variable("CALLBACK_SECRET_FILE", "callback_secret_file", PATH),
    Variable("HANDLER_THREADS", "handler_threads", whole_number(0, 10_000)),
)
