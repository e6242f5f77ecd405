"""The trail: the last attempts of a job, bounded."""

from tests.unit.engine.jobs import NOW_MS

from gotaskq.trail import KEPT_ATTEMPTS, NO_TRAIL, Attempt, Trail, with_attempt, without_progress


def attempt(number: int) -> Attempt:
    return Attempt(number, NOW_MS, NOW_MS + 5, "here:1", "ValueError: no luck")


def test_the_last_attempts_are_kept_the_oldest_first() -> None:
    trail = NO_TRAIL
    for number in range(1, KEPT_ATTEMPTS + 3):
        trail = with_attempt(trail, attempt(number))

    assert [kept.number for kept in trail.attempts] == [3, 4, 5, 6, 7]


def test_an_attempt_changes_nothing_else() -> None:
    before = Trail(progress=0.5, note="half", checkpoint_json=b"1")

    after = with_attempt(before, attempt(1))

    assert after == Trail((attempt(1),), progress=0.5, note="half", checkpoint_json=b"1")
    assert before.attempts == ()


def test_the_next_attempt_begins_without_progress_but_with_the_checkpoint() -> None:
    before = Trail((attempt(1),), progress=0.5, note="half", checkpoint_json=b"1")

    assert without_progress(before) == Trail((attempt(1),), checkpoint_json=b"1")


def test_a_trail_without_progress_stays_the_same_object() -> None:
    trail = Trail(checkpoint_json=b"1")

    assert without_progress(trail) is trail
    assert without_progress(Trail(note="begun")) == NO_TRAIL
