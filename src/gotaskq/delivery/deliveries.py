"""Deliveries: the way out for signed POSTs, one for each app.

Handlers of push types and of callbacks call `post`. What the destination says becomes a result or an exception that an
attempt knows what to do with.
Invariant: no exception and no line of the log made here holds a secret, a path or a query of a URL.
"""

import logging
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, assert_never

from gotaskq.clock import Clock
from gotaskq.control import Discard, Snooze
from gotaskq.delivery.breaker import Breaker, BreakerRules, Breakers, Go, Hold
from gotaskq.delivery.destination import Guard, Resolve, read_url, resolve_name
from gotaskq.delivery.errors import DeliveryError, DestinationError, MissingClientError
from gotaskq.delivery.signing import signed_headers
from gotaskq.delivery.verdict import (
    Again,
    Answer,
    Dead,
    Done,
    Ending,
    Forbidden,
    Verdict,
    Wait,
    hide,
    is_at_fault,
    judge,
)

if TYPE_CHECKING:
    from gotaskq.delivery.sender import Sender

TIMEOUT_S: Final = 30.0  # the most that Standard Webhooks recommends
SPREAD: Final = 0.1  # of a wait: those who are held together should not come back together
OWN_HEADERS: Final = {
    "content-type": "application/json",
    "accept": "application/json",
    "accept-encoding": "identity",  # nothing is unpacked, so nothing can grow while it is
    "user-agent": "gotaskq",
}

OutcomeName: TypeAlias = Literal["done", "snoozed", "failed", "dead", "held"]

logger = logging.getLogger(__name__)


class Deliveries:
    """Posts to URLs, with a breaker for each destination; what it opens at the first `post`, `close` lets go of."""

    def __init__(
        self,
        clock: Clock,
        rng: Random,
        *,
        allow: Callable[[], Sequence[str]] = tuple,
        rules: BreakerRules | None = None,
        resolve: Resolve = resolve_name,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._allow = allow
        self._resolve = resolve
        self._tls = tls
        self._breakers = Breakers(rules)
        self._sender: Sender | None = None
        self.counts: Counter[tuple[str, OutcomeName]] = Counter()  # by what `count_as` said

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        message_id: str,
        secrets: Sequence[str],
        headers: Mapping[str, str] = {},
        timeout_s: float | None = None,
        count_as: str = "other",
    ) -> object | None:
        """Send a body and return what a 2xx answered, as JSON has it; None where that is none, or longer than 64 KiB.

        Raises Snooze where the destination asks to be spared or is left alone, Discard where no further attempt would
        help, DeliveryError where one may, MissingClientError without httpx2, and ValueError for a secret or a message
        id that is none. `message_id` is the same for all attempts at a message.
        """
        signed = signed_headers(message_id, body, secrets, now_s=self._clock.now_ms() / 1000)
        try:
            destination = read_url(url)
        except DestinationError as error:
            return self._act(Dead(str(error)), "an unusable URL", count_as)
        sender = self.open()
        breaker = self._breakers.of(destination.origin)
        went = breaker.admit(self._clock.monotonic_s())
        if isinstance(went, Hold):
            self.counts[count_as, "held"] += 1
            raise Snooze(self._spread(went.wait_s))
        sent = {**OWN_HEADERS, **headers, **signed}
        try:
            ending = await sender.send(destination, body, headers=sent, timeout_s=timeout_s or TIMEOUT_S)
        except BaseException:
            breaker.let_go(went)  # cancelled: that tells nothing of the destination
            raise
        # Looked up again: where another was answered meanwhile, nothing was kept.
        verdict = self._learn(self._breakers.of(destination.origin), went, ending)
        self._breakers.tidy(destination.origin, now_s=self._clock.monotonic_s())
        if isinstance(ending, Answer) and not ending.is_whole and isinstance(verdict, Done):
            logger.warning("answer_not_kept", extra={"message_id": message_id, "destination": destination.origin})
        return self._act(verdict, destination.origin, count_as, headers)

    def open(self) -> "Sender":
        """Get ready to send; raises MissingClientError."""
        if self._sender is None:
            try:
                from gotaskq.delivery.sender import Sender
            except ImportError as error:
                raise MissingClientError from error
            self._sender = Sender(Guard(self._allow(), resolve=self._resolve), self._clock, tls=self._tls)
        return self._sender

    async def check(self, url: str) -> str | None:
        """Say why nothing could be delivered to a URL now, without sending anything; None: something could."""
        try:
            await Guard(self._allow(), resolve=self._resolve).addresses(read_url(url))
        except DestinationError as error:
            return str(error)
        except OSError as error:
            return f"its host cannot be found: {error}"
        return None

    async def close(self) -> None:
        """Let go of the connections."""
        sender, self._sender = self._sender, None
        if sender is not None:
            await sender.close()

    def _learn(self, breaker: Breaker, went: Go, ending: Ending) -> Verdict:
        """Tell the breaker how a delivery ended, and return what that means for the job."""
        now_s = self._clock.monotonic_s()
        verdict = judge(ending, now_ms=self._clock.now_ms())
        if isinstance(verdict, Wait):
            return Wait(breaker.asked_to_wait(went, verdict.delay_s, now_s=now_s))
        if isinstance(ending, Forbidden):
            breaker.let_go(went)
        elif is_at_fault(ending):
            breaker.failed(went, now_s=now_s)
        else:
            breaker.answered()
        return verdict

    def _act(self, verdict: Verdict, origin: str, count_as: str, headers: Mapping[str, str] = {}) -> object | None:
        match verdict:
            case Done(result):
                self.counts[count_as, "done"] += 1
                return result
            case Wait(delay_s):
                self.counts[count_as, "snoozed"] += 1
                raise Snooze(self._spread(delay_s))
            case Again(error):
                self.counts[count_as, "failed"] += 1
                raise DeliveryError(hide(f"{origin}: {error}", headers))
            case Dead(error):
                self.counts[count_as, "dead"] += 1
                raise Discard(hide(f"{origin}: {error}", headers))
            case never:
                assert_never(never)

    def _spread(self, delay_s: float) -> float:
        return delay_s + self._rng.uniform(0, SPREAD * delay_s)
