"""The event bus: tells observers what happened.

Used by admission, settler and maintenance, after the backend confirmed.
Invariant: an observer that raises harms neither the job nor the other observers.
"""

import logging
from collections.abc import Callable, Container, Sequence
from typing import Any, Final, TypeVar

from gotaskq.events import Event

E = TypeVar("E", bound=Event)

NOBODY: Final = ()

logger = logging.getLogger(__name__)


class EventBus:
    """Calls each observer of an event's type, in the order they subscribed, at once and on the caller's loop."""

    def __init__(self) -> None:
        self._observers: dict[type[Any], tuple[Callable[[Sequence[Any]], None], ...]] = {}

    def subscribe(self, event_type: type[E], observer: Callable[[E], None]) -> None:
        """Call `observer` for each event of this type from now on."""

        def tell_each(events: Sequence[E]) -> None:
            for event in events:
                try:
                    observer(event)
                except Exception:
                    logger.exception("observer failed", extra=_about(observer, event))

        self.subscribe_to_batches(event_type, tell_each)

    def subscribe_to_batches(self, event_type: type[E], observer: Callable[[Sequence[E]], None]) -> None:
        """Call `observer` with the events of this type from now on, as many at once as happened at once."""
        self._observers[event_type] = (*self._observers.get(event_type, ()), observer)

    @property
    def observed(self) -> Container[type[Event]]:
        """The types somebody listens to, kept up to date: an event nobody listens to need not be made."""
        return self._observers

    def publish(self, event: Event) -> None:
        """Tell every observer of this event's type."""
        for observer in self._observers.get(type(event), NOBODY):
            try:
                observer((event,))
            except Exception:
                logger.exception("observer failed", extra=_about(observer, event))

    def publish_batch(self, events: Sequence[Event]) -> None:
        """Tell of events of one type that happened at once."""
        if not events:
            return
        for observer in self._observers.get(type(events[0]), NOBODY):
            try:
                observer(events)
            except Exception:
                logger.exception("observer failed", extra=_about(observer, events[0]))


def _about(observer: object, event: Event) -> dict[str, str]:
    return {"observer": repr(observer), "about": type(event).__name__}
