"""Access: whether a request may come in, and what for.

Used by the guard of the routes and by the fast lane, which both ask here, so they cannot disagree.
Invariant: without tokens everybody may do everything; with tokens nobody may do anything without one, but ask whether
the service is up.
"""

import ipaddress
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from gotaskq.api.security.hosts import Hosts
from gotaskq.api.security.tokens import Scope, Token, TokenSet, read_tokens
from gotaskq.config import Settings
from gotaskq.errors import ConfigError

FAILURES_A_MINUTE: Final = 10  # of one address; then it has to wait
WINDOW_S: Final = 60.0
MAX_ADDRESSES: Final = 4_096  # whose failures are remembered

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
SUBMIT_PATHS: Final = frozenset({"/jobs", "/jobs/batch", "/{queue}/jobs"})

logger = logging.getLogger(__name__)


class TooManyFailuresError(Exception):
    """This address sent wrong tokens too often; it may try again in `retry_after_s`."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


def scope_of(method: str, path: str) -> Scope | None:
    """Return what a route needs, by its template such as `/jobs/{id}`; None: nothing. What steers is for admins."""
    if path in OPEN_PATHS:
        return None
    if path == "/metrics":
        return Scope.METRICS
    if path == "/leases" or path.startswith("/leases/"):
        return Scope.WORK
    if method in ("GET", "HEAD"):
        return Scope.READ
    if method == "POST" and path in SUBMIT_PATHS:
        return Scope.SUBMIT
    if path == "/dlq/import":  # stores jobs of any type on any queue
        return Scope.ADMIN
    if path == "/dlq" or path.startswith("/dlq/"):
        return Scope.DLQ
    return Scope.ADMIN


class Access:
    """The tokens and the host names of a service."""

    def __init__(self, tokens: TokenSet, hosts: Hosts, *, clock_s: Callable[[], float]) -> None:
        self.hosts = hosts
        self._tokens = tokens
        self._clock_s = clock_s
        self._failures: dict[str, deque[float]] = {}
        self._on_change: list[Callable[[], None]] = []

    @property
    def has_tokens(self) -> bool:
        """Whether a token is needed."""
        return bool(self._tokens)

    def on_change(self, forget: Callable[[], None]) -> None:
        """Call `forget` when the tokens change: what was judged before holds no more."""
        self._on_change.append(forget)

    def reload(self, settings: Settings) -> None:
        """Read the tokens anew; those in force stay where the file cannot be used, or lists none any more."""
        try:
            tokens = read_tokens(settings.tokens_file, settings.tokens)
        except ConfigError as error:
            logger.error("tokens not reloaded", extra={"error": str(error)})  # noqa: TRY400 - a setting, no fault of ours
            return
        if self._tokens and not tokens:  # an empty file must not open the door to everybody
            logger.error("tokens not reloaded", extra={"error": "there is none left; end the service instead"})
            return
        self._tokens = tokens
        self.hosts.is_open = bool(tokens) and not settings.allowed_hosts
        for forget in self._on_change:
            forget()
        logger.info("tokens reloaded")

    def find(self, authorization: str) -> Token | None:
        """Return the token of an Authorization header, or None for one that is not right."""
        scheme, _, sent = authorization.partition(" ")
        return self._tokens.find(sent.strip(" ")) if scheme.lower() == "bearer" else None

    def identify(self, authorization: str | None, address: str) -> Token | None:
        """Return whose request this is; raises TooManyFailuresError for an address that guessed too often."""
        self._refuse_guesser(address)
        if authorization is None:
            return None
        token = self.find(authorization)
        if token is None:
            self._note_failure(address)
        return token

    def _refuse_guesser(self, address: str) -> None:
        failures = self._failures.get(address)
        if failures is None:
            return
        now_s = self._clock_s()
        while failures and failures[0] <= now_s - WINDOW_S:
            failures.popleft()
        if not failures:
            del self._failures[address]
        elif len(failures) >= FAILURES_A_MINUTE:
            raise TooManyFailuresError(max(1, round(failures[0] + WINDOW_S - now_s)))

    def _note_failure(self, address: str) -> None:
        if address not in self._failures and len(self._failures) >= MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]
        self._failures.setdefault(address, deque(maxlen=FAILURES_A_MINUTE)).append(self._clock_s())


def open_access(settings: Settings, *, clock_s: Callable[[], float], is_mounted: bool = False) -> Access:
    """Return the access these settings give; where it is mounted, the application around it judges names.

    Raises ConfigError for tokens that cannot be read.
    """
    tokens = read_tokens(settings.tokens_file, settings.tokens)
    names = settings.allowed_hosts or ()
    # A page that makes its own name point here has no token to send.
    is_open = "*" in names or ((is_mounted or bool(tokens)) and not names)
    return Access(tokens, Hosts((settings.host, *names), is_open=is_open), clock_s=clock_s)


def refuse_open_door(settings: Settings, access: Access) -> None:
    """Raise ConfigError where everybody who reaches this machine could steer its jobs, unless that is wanted."""
    if access.has_tokens or settings.insecure_no_auth or is_loopback(settings.host):
        return
    raise ConfigError(
        "HOST",
        settings.host,
        "a loopback address, since there are no tokens; set TOKENS_FILE (`gotaskq token new` makes a token), "
        "or INSECURE_NO_AUTH=true where only friends can reach this port",
    )


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach a listener there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def client_of(scope: Mapping[str, object]) -> str:
    """Return the address a request came from; empty where nobody knows."""
    client = scope.get("client")
    return str(client[0]) if isinstance(client, tuple | list) and client else ""
