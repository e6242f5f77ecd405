"""The event bus: tells observers what happened.

Used by admission, settler and maintenance, after the backend confirmed.
Invariant: an observer that raises harms neither the job nor the other observers.
"""

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

from gotaskq.events import Event

E = TypeVar("E", bound=Event)

NOBODY: Final = ()

logger = logging.getLogger(__name__)


class EventBus:
    """Calls each observer of an event's type, in the order they subscribed, at once and on the caller's loop."""

    def __init__(self) -> None:
        self._observers: dict[type[Any], tuple[Callable[[Any], None], ...]] = {}

    def subscribe(self, event_type: type[E], observer: Callable[[E], None]) -> None:
        """Call `observer` for each event of this type from now on."""
        self._observers[event_type] = (*self._observers.get(event_type, ()), observer)

    def is_observed(self, event_type: type[Event]) -> bool:
        """Say whether anybody listens: an event nobody listens to need not be made."""
        return event_type in self._observers

    def publish(self, event: Event) -> None:
        """Tell every observer of this event's type."""
        for observer in self._observers.get(type(event), NOBODY):
            try:
                observer(event)
            except Exception:
                logger.exception("observer failed", extra={"observer": repr(observer), "about": type(event).__name__})
