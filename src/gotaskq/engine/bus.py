"""The event bus: tells observers what happened.

Used by admission, settler and maintenance, after the backend confirmed.
Invariant: an observer that raises harms neither the job nor the other observers.
"""

import logging
from collections.abc import Iterable
from typing import get_args

from gotaskq.events import Event, Observer

logger = logging.getLogger(__name__)


class EventBus:
    """Calls each observer of an event's type, in the order they subscribed, at once and on the caller's loop."""

    def __init__(self) -> None:
        self._observers: dict[type[Event], tuple[Observer, ...]] = {}

    def subscribe(self, observer: Observer, events: Iterable[type[Event]] = get_args(Event)) -> None:
        """Call `observer` for each event of these types (default: all) from now on."""
        for event_type in events:
            self._observers[event_type] = (*self._observers.get(event_type, ()), observer)

    def has_observers(self, event_type: type[Event]) -> bool:
        """Say whether anybody listens: an event nobody listens to need not be made."""
        return event_type in self._observers

    def publish(self, event: Event) -> None:
        """Tell every observer of this event's type."""
        for observer in self._observers.get(type(event), ()):
            try:
                observer(event)
            except Exception:
                logger.exception("observer failed", extra={"observer": repr(observer), "about": type(event).__name__})
