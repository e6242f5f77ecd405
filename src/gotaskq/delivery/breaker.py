"""Circuit breakers: one for each destination, so that one that is down, or asks to be spared, is left alone.

    closed ── `max_failures` in a row ──► open ── the pause is over ──► half-open ── one probe answers ──► closed
                                           ▲                               │
                                           └── the probe fails: twice the pause

Pure: instants are given. Nothing here waits; who is held comes again.
Invariant: while a breaker is open nothing goes out, and half-open one delivery at a time.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, TypeAlias

MAX_DESTINATIONS: Final = 1_000  # in trouble at once; beyond that the one in trouble for longest starts afresh


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When a destination is left alone, and for how long."""

    max_failures: int = 5  # in a row; fewer would let one bad second hold everything
    first_pause_s: float = 5.0
    max_pause_s: float = 300.0  # a place that is back is found within five minutes
    max_asked_s: float = 3_600.0  # what a destination may ask for with Retry-After


@dataclass(frozen=True, slots=True)
class Go:
    """The delivery may go out; however it ends, the breaker is told once."""

    is_probe: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """The delivery may come again in `wait_s` seconds."""

    wait_s: float


Admission: TypeAlias = Go | Hold


class Breaker:
    """What is known of one destination."""

    __slots__ = ("_failures", "_held_until_s", "_is_open", "_is_probing", "_openings", "_rules")

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._failures = 0
        self._openings = 0
        self._held_until_s = 0.0
        self._is_open = False
        self._is_probing = False

    def is_at_rest(self, now_s: float) -> bool:
        """Whether there is nothing to remember."""
        return not (self._failures or self._is_open) and self._held_until_s <= now_s

    def admit(self, now_s: float) -> Admission:
        """Say whether a delivery may go out now."""
        if now_s < self._held_until_s:
            return Hold(self._held_until_s - now_s)
        if not self._is_open:
            return Go(is_probe=False)
        if self._is_probing:
            return Hold(self._rules.first_pause_s)
        self._is_probing = True
        return Go(is_probe=True)

    def answered(self) -> None:
        """Hear that the destination is there: whatever it said, it was no fault of its own."""
        self._failures = self._openings = 0
        self._is_open = self._is_probing = False

    def failed(self, went: Go, *, now_s: float) -> None:
        """Hear that it failed, or did not answer; what went out before it was found to be down says nothing new."""
        if self._is_open and not went.is_probe:
            return
        self._failures += 1
        if not went.is_probe and self._failures < self._rules.max_failures:
            return
        pause_s = min(self._rules.first_pause_s * 2**self._openings, self._rules.max_pause_s)
        self._openings = min(self._openings + 1, 30)  # the pause is at its longest by then
        self._is_open, self._is_probing = True, False
        self._held_until_s = max(self._held_until_s, now_s + pause_s)

    def asked_to_wait(self, went: Go, delay_s: float, *, now_s: float) -> float:
        """Hear that it asked to be spared; return for how long it is."""
        self.let_go(went)
        self._held_until_s = max(self._held_until_s, now_s + min(delay_s, self._rules.max_asked_s))
        return self._held_until_s - now_s

    def let_go(self, went: Go) -> None:
        """Hear that a delivery ended without telling anything, as by a cancel: another may probe."""
        if went.is_probe:
            self._is_probing = False


class Breakers:
    """The breakers by destination; of those that work nothing is kept."""

    def __init__(self, rules: BreakerRules | None = None) -> None:
        self._rules = rules or BreakerRules()
        self._by_origin: OrderedDict[str, Breaker] = OrderedDict()

    def __len__(self) -> int:
        """Return how many destinations something is known of."""
        return len(self._by_origin)

    def of(self, origin: str) -> Breaker:
        """Return the breaker of a destination."""
        found = self._by_origin.get(origin)
        if found is None:
            found = self._by_origin[origin] = Breaker(self._rules)
            if len(self._by_origin) > MAX_DESTINATIONS:
                self._by_origin.popitem(last=False)
        return found

    def tidy(self, origin: str, *, now_s: float) -> None:
        """Forget a destination of which there is nothing to remember."""
        breaker = self._by_origin.get(origin)
        if breaker is not None and breaker.is_at_rest(now_s):
            del self._by_origin[origin]
