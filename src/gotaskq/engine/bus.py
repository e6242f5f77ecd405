"""The event bus: tells observers what happened.

Used by admission, settler and maintenance, after the backend confirmed.
Invariant: an observer that raises harms neither the job nor the other observers.
"""

import logging
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeVar

from gotaskq.events import Event

E = TypeVar("E", bound=Event)

NOBODY: Final = ()

logger = logging.getLogger(__name__)


class EventBus:
    """Calls each observer of an event's type, in the order they subscribed, at once and on the caller's loop."""

    def __init__(self) -> None:
        self._observers: dict[type[Any], tuple[Callable[[Any], None], ...]] = {}
        self._batch_observers: dict[type[Any], tuple[Callable[[Sequence[Any]], None], ...]] = {}
        self._observed: set[type[Any]] = set()

    def subscribe(self, event_type: type[E], observer: Callable[[E], None]) -> None:
        """Call `observer` for each event of this type from now on."""
        self._observers[event_type] = (*self._observers.get(event_type, ()), observer)
        self._observed.add(event_type)

    def subscribe_to_batches(self, event_type: type[E], observer: Callable[[Sequence[E]], None]) -> None:
        """Call `observer` with the events of this type from now on, as many at once as happened at once."""
        self._batch_observers[event_type] = (*self._batch_observers.get(event_type, ()), observer)
        self._observed.add(event_type)

    @property
    def observed(self) -> AbstractSet[type[Any]]:
        """The types somebody listens to, kept up to date: an event nobody listens to need not be made."""
        return self._observed

    def publish(self, event: Event) -> None:
        """Tell every observer of this event's type."""
        event_type = type(event)
        for observer in self._batch_observers.get(event_type, NOBODY):
            _tell(observer, (event,), event_type)
        for observer in self._observers.get(event_type, NOBODY):
            _tell(observer, event, event_type)

    def publish_batch(self, events: Sequence[E]) -> None:
        """Tell of events of one type that happened at once; who did not ask for batches hears one after the other."""
        if not events:
            return
        event_type = type(events[0])
        for observer in self._batch_observers.get(event_type, NOBODY):
            _tell(observer, events, event_type)
        if event_type in self._observers:
            for event in events:
                for observer in self._observers[event_type]:
                    _tell(observer, event, event_type)


def _tell(observer: Callable[[Any], None], what: object, event_type: type[object]) -> None:
    try:
        observer(what)
    except Exception:
        logger.exception("observer failed", extra={"observer": repr(observer), "about": event_type.__name__})
