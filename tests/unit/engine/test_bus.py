"""The event bus: each observer hears what it asked for, in order, whatever the others do."""

from collections.abc import Sequence

import pytest
from tests.unit.engine.jobs import pending

from gotaskq.engine.bus import EventBus
from gotaskq.events import JobEnqueued, QueueCreated


def test_observers_hear_an_event_in_the_order_they_subscribed() -> None:
    bus = EventBus()
    heard: list[str] = []
    bus.subscribe(QueueCreated, lambda event: heard.append(f"first {event.queue}"))
    bus.subscribe(QueueCreated, lambda event: heard.append(f"second {event.queue}"))

    bus.publish(QueueCreated("mail"))

    assert heard == ["first mail", "second mail"]


def test_an_observer_hears_only_the_type_it_asked_for() -> None:
    bus = EventBus()
    heard: list[JobEnqueued] = []
    bus.subscribe(JobEnqueued, heard.append)

    bus.publish(QueueCreated("mail"))
    bus.publish(JobEnqueued(pending()))

    assert heard == [JobEnqueued(pending())]


def test_an_event_nobody_asked_for_is_not_observed() -> None:
    bus = EventBus()
    bus.subscribe(JobEnqueued, lambda event: None)

    bus.publish(QueueCreated("mail"))

    assert JobEnqueued in bus.observed
    assert QueueCreated not in bus.observed


def test_an_observer_that_raises_does_not_keep_the_next_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    heard: list[QueueCreated] = []

    def broken(event: QueueCreated) -> None:
        raise RuntimeError("the observer is broken")

    bus.subscribe(QueueCreated, broken)
    bus.subscribe(QueueCreated, heard.append)

    bus.publish(QueueCreated("mail"))

    assert heard == [QueueCreated("mail")]
    [record] = caplog.records
    assert record.getMessage() == "observer failed"
    assert record.exc_info is not None
    assert vars(record)["about"] == "QueueCreated"


def test_an_observer_may_subscribe_another_while_it_hears() -> None:
    bus = EventBus()
    heard: list[QueueCreated] = []
    bus.subscribe(QueueCreated, lambda event: bus.subscribe(QueueCreated, heard.append))

    bus.publish(QueueCreated("first"))
    bus.publish(QueueCreated("second"))

    assert heard == [QueueCreated("second")]


def test_events_that_happened_at_once_are_told_at_once_to_who_wants_that() -> None:
    bus = EventBus()
    heard: list[object] = []
    bus.subscribe(QueueCreated, heard.append)
    bus.subscribe_to_batches(QueueCreated, heard.append)
    events = [QueueCreated("first"), QueueCreated("second")]

    bus.publish_batch(events)

    assert heard == [*events, events]


def test_who_wants_batches_hears_a_single_event_as_a_batch_of_one() -> None:
    bus = EventBus()
    heard: list[Sequence[QueueCreated]] = []
    bus.subscribe_to_batches(QueueCreated, heard.append)

    bus.publish(QueueCreated("mail"))

    assert [list(batch) for batch in heard] == [[QueueCreated("mail")]]


def test_of_no_events_nobody_hears() -> None:
    bus = EventBus()
    heard: list[Sequence[QueueCreated]] = []
    bus.subscribe_to_batches(QueueCreated, heard.append)

    bus.publish_batch([])

    assert heard == []


def test_a_batch_observer_that_raises_does_not_keep_the_others_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    heard: list[QueueCreated] = []

    def broken(events: Sequence[QueueCreated]) -> None:
        raise RuntimeError("the observer is broken")

    bus.subscribe_to_batches(QueueCreated, broken)
    bus.subscribe(QueueCreated, heard.append)

    bus.publish_batch([QueueCreated("mail")])

    assert heard == [QueueCreated("mail")]
    assert caplog.messages == ["observer failed"]
