"""Notes: how far a running attempt is, and the state from which the next one may go on."""

import pytest

from gotaskq.backend import Backend, Extended, Note
from gotaskq.job import DeathReason, Job, Lease
from gotaskq.outcome import Complete, DeadLetter, Release
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    ALL,
    Jobs,
    counted,
    counts,
    die,
    enqueue,
    fail,
    given_running,
    lease_of,
    look,
    reserve,
    start_again,
)
from gotaskq.testing.conformance.suite import ConformanceSuite
from gotaskq.trail import MAX_STATE_BYTES, NO_TRAIL, Trail

STATE = b'{"page":7}'
LARGEST = b'"' + b"x" * (MAX_STATE_BYTES - 2) + b'"'


async def given_half_done(backend: Backend, job: Job, *, lease_s: float = 30) -> Job:
    """Let an attempt say that it is half done, and where to go on."""
    running = await given_running(backend, job, lease_s=lease_s)
    note = Note(lease_of(running), progress=0.5, text="page 7", checkpoint_json=STATE)
    assert await backend.note([note]) == [Extended.HELD]
    return await look(backend, running)


class NoteConformance(ConformanceSuite):
    async def test_progress_and_checkpoint_are_kept(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job())
        await clock.advance(2)

        replies = await backend.note([Note(lease_of(running), progress=0.5, text="page 7", checkpoint_json=STATE)])

        noted = await look(backend, running)
        assert replies == [Extended.HELD]
        assert noted.trail == Trail(progress=0.5, note="page 7", checkpoint_json=STATE)
        assert (noted.checkpoint, noted.updated_at_ms) == ({"page": 7}, clock.now_ms())
        assert (noted.status, noted.lease) == (running.status, running.lease)
        assert await counts(backend) == counted(running=1)

    @pytest.mark.parametrize("progress", [0.0, 1.0, 1 / 3, 5e-324])
    @pytest.mark.parametrize("text", ["", "žluťoučký\tkůň\nor two", "0.5\t"])
    async def test_they_are_read_as_they_were_said(
        self, backend: Backend, job: Jobs, progress: float, text: str
    ) -> None:
        running = await given_running(backend, job())

        await backend.note([Note(lease_of(running), progress=progress, text=text)])

        assert (await look(backend, running)).trail == Trail(progress=progress, note=text)

    async def test_what_is_not_said_stays(self, backend: Backend, job: Jobs) -> None:
        running = await given_half_done(backend, job())
        lease = lease_of(running)

        await backend.note([Note(lease, progress=0.75)])
        further = await look(backend, running)
        await backend.note([Note(lease, checkpoint_json=b"8")])
        saved = await look(backend, running)
        await backend.note([Note(lease)])

        assert further.trail == Trail(progress=0.75, note="", checkpoint_json=STATE)
        assert saved.trail == Trail(progress=0.75, note="", checkpoint_json=b"8")
        assert (await look(backend, running)).trail == saved.trail

    async def test_of_two_of_one_job_the_later_counts(self, backend: Backend, job: Jobs) -> None:
        lease = lease_of(await given_running(backend, job()))

        replies = await backend.note(
            [Note(lease, progress=0.9, checkpoint_json=b"1"), Note(lease, progress=0.1, checkpoint_json=b"2")]
        )

        noted = await backend.get(lease.job_id)
        assert replies == [Extended.HELD] * 2
        assert noted is not None
        assert noted.trail == Trail(progress=0.1, checkpoint_json=b"2")

    async def test_only_the_holder_is_heard(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        late = await given_running(backend, job(), lease_s=30)
        await clock.advance(31)
        await backend.reap(limit=ALL, max_crashes=3)
        unheld = await backend.note([Note(lease_of(late), checkpoint_json=b"1")])
        successor = await start_again(backend, late)

        replies = await backend.note(
            [
                Note(lease_of(late), progress=0.9, checkpoint_json=b"2"),
                Note(Lease(late.id, "no such nonce"), checkpoint_json=b"3"),
                Note(Lease(job().id, lease_of(successor).nonce), checkpoint_json=b"4"),
                Note(lease_of(successor), checkpoint_json=b"5"),
            ]
        )

        assert (unheld, replies) == ([Extended.LOST], [Extended.LOST] * 3 + [Extended.HELD])
        trail = (await look(backend, successor)).trail
        assert (trail.progress, trail.checkpoint_json) == (None, b"5")
        assert await backend.note([]) == []

    async def test_what_has_ended_says_nothing_more(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        await backend.settle([Complete(lease_of(running))])
        done = await look(backend, running)

        assert await backend.note([Note(lease_of(running), progress=1.0, checkpoint_json=STATE)]) == [Extended.LOST]
        assert await look(backend, running) == done

    async def test_the_reply_says_that_somebody_wants_its_end(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        await backend.cancel(running.id)

        replies = await backend.note([Note(lease_of(running), progress=0.5, checkpoint_json=STATE)])

        assert replies == [Extended.CANCEL_REQUESTED]
        assert (await look(backend, running)).checkpoint == {"page": 7}

    async def test_a_note_extends_no_lease(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(), lease_s=30)
        await clock.advance(29)
        await backend.note([Note(lease_of(running), progress=0.5)])
        await clock.advance(2)

        assert len(await backend.reap(limit=ALL, max_crashes=3)) == 1

    async def test_many_large_checkpoints_at_once(self, backend: Backend, job: Jobs) -> None:
        given = [job() for _ in range(40)]
        await enqueue(backend, *given)
        running = await reserve(backend)

        replies = await backend.note([Note(lease_of(one), checkpoint_json=LARGEST) for one in running])
        await backend.settle([Release(lease_of(one)) for one in running])
        again: list[Job] = []
        while len(taken := await reserve(backend)) > 0:  # a call brings as many as are not too much at once
            again += taken

        assert replies == [Extended.HELD] * 40
        assert {one.trail.checkpoint_json for one in again} == {LARGEST}
        assert len(again) == 40


class AfterNotesConformance(ConformanceSuite):
    async def test_a_retry_goes_on_from_the_checkpoint(self, backend: Backend, job: Jobs) -> None:
        waiting = await fail(backend, await given_half_done(backend, job()))

        again = await start_again(backend, waiting)

        assert (waiting.trail.progress, waiting.trail.note, waiting.trail.checkpoint_json) == (None, "", STATE)
        assert again.trail == waiting.trail
        assert again.checkpoint == {"page": 7}

    async def test_a_release_keeps_the_checkpoint_alone(self, backend: Backend, job: Jobs) -> None:
        running = await given_half_done(backend, job())

        await backend.settle([Release(lease_of(running), delay_ms=1_000)])

        assert (await look(backend, running)).trail == Trail(checkpoint_json=STATE)

    async def test_a_lapse_keeps_the_checkpoint(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await given_half_done(backend, job(), lease_s=30)
        await clock.advance(31)

        [lapsed] = await backend.reap(limit=ALL, max_crashes=3)

        assert (lapsed.trail.progress, lapsed.trail.note, lapsed.trail.checkpoint_json) == (None, "", STATE)
        assert (await start_again(backend, lapsed)).checkpoint == {"page": 7}

    async def test_a_job_that_is_done_shows_how_far_it_was(self, backend: Backend, job: Jobs) -> None:
        running = await given_half_done(backend, job())

        await backend.settle([Complete(lease_of(running), b"1")])

        assert (await look(backend, running)).trail == running.trail

    async def test_a_dead_job_shows_how_far_it_was(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        settled = await given_half_done(backend, job())
        await backend.settle([DeadLetter(lease_of(settled), DeathReason.NO_RETRY, "ValueError: no")])
        lost = await given_half_done(backend, job(), lease_s=30)
        await clock.advance(31)
        await backend.reap(limit=ALL, max_crashes=1)

        for dead in (await look(backend, settled), await look(backend, lost)):
            assert (dead.trail.progress, dead.trail.note, dead.trail.checkpoint_json) == (0.5, "page 7", STATE)

    async def test_a_cancelled_job_shows_how_far_it_was(self, backend: Backend, job: Jobs) -> None:
        running = await given_half_done(backend, job())
        await backend.cancel(running.id)

        await backend.settle([Release(lease_of(running))])

        assert (await look(backend, running)).trail == running.trail

    async def test_a_replay_keeps_the_checkpoint_alone(self, backend: Backend, job: Jobs) -> None:
        running = await given_half_done(backend, job())
        await die(backend, running)

        [replayed] = await backend.replay([running.id])

        assert (replayed.trail.progress, replayed.trail.note, replayed.trail.checkpoint_json) == (None, "", STATE)
        assert (await start_again(backend, running)).trail == replayed.trail

    async def test_a_new_job_begins_without(self, backend: Backend, job: Jobs) -> None:
        running = await given_half_done(backend, job())
        await backend.settle([Complete(lease_of(running))])
        await backend.delete([running.id])

        await enqueue(backend, job(job_id=running.id))

        assert (await look(backend, running)).trail == NO_TRAIL
