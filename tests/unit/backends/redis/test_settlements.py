"""Settlements and notes on their way to the scripts."""

from gotaskq.backend import Note
from gotaskq.backends.redis.settlements import note_arguments, settlement_bytes
from gotaskq.job import DeathReason, JobId, Lease
from gotaskq.outcome import Complete, DeadLetter, Release, Reschedule, Settlement

LEASE = Lease(JobId(7), "n")


class ForeignFloat(float):
    """A number of a library that writes its numbers in its own way."""

    def __repr__(self) -> str:
        return f"foreign({float(self)})"


def test_a_foreign_number_is_written_as_any() -> None:
    note = Note(LEASE, progress=ForeignFloat(0.5), text="half")

    assert note_arguments(note) == (f"{7:020d}", "n", "0.5\thalf", b"")


def test_what_may_be_large_is_weighed() -> None:
    heavy: list[Settlement] = [
        Complete(LEASE, b"1234"),
        Reschedule(LEASE, 0, "E: x", "trace"),
        DeadLetter(LEASE, DeathReason.NO_RETRY, "E", "tb"),
    ]
    light: list[Settlement] = [Complete(LEASE), Release(LEASE)]

    assert [settlement_bytes(settlement) for settlement in heavy] == [4, 5, 2]
    assert [settlement_bytes(settlement) for settlement in light] == [0, 0]
