"""The event bus: each observer hears what it asked for, in order, whatever the others do."""

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

    assert bus.is_observed(JobEnqueued)
    assert not bus.is_observed(QueueCreated)


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
