"""The codec: what is read back equals what was written."""

from hypothesis import given
from hypothesis import strategies as st

from gotaskq.backends.redis.codec import decode_job, decode_leased, encode_record
from gotaskq.backends.redis.keys import member
from gotaskq.job import Job, JobId, Lease, Status, start

names = st.text(alphabet="abcXYZ019._-:/", min_size=1, max_size=20)
instants_ms = st.integers(1, 2**44)

new_jobs = st.builds(
    Job,
    id=st.integers(1, 2**63 - 1).map(JobId),
    type=names,
    queue=names,
    payload_json=st.binary(max_size=60),
    priority=st.integers(0, 10),
    delay_ms=st.just(0),
    max_retries=st.integers(0, 100),
    rank=st.integers(0, 2**53 - 1),
    created_at_ms=st.shared(instants_ms, key="at"),
    updated_at_ms=st.shared(instants_ms, key="at"),
    run_after_ms=st.shared(instants_ms, key="at"),
    enqueue_nonce=st.text(alphabet="0123456789abcdef", min_size=1, max_size=24),
)


@given(new_jobs)
def test_a_new_job_is_its_record(job: Job) -> None:
    assert decode_job([member(job.id).encode(), encode_record(job), []]) == job


@given(new_jobs, instants_ms)
def test_a_job_that_was_leased_is_one_that_was_started(job: Job, now_ms: int) -> None:
    leased = decode_leased([member(job.id).encode(), encode_record(job), []], nonce="n", worker="w", now_ms=now_ms)

    assert leased == start(job, lease=Lease(job.id, "n"), worker="w", now_ms=now_ms)


def test_a_missing_record_is_no_job() -> None:
    assert decode_job([b"7", None, []]) is None


def test_a_state_lies_over_the_record() -> None:
    record = b"5\t1000\tn\temail\tmail\t3\t2000\t9\0{}"
    state = [b"s", b"X", b"rt", b"2", b"at", b"3", b"fi", b"4000", b"dr", b"no_retry", b"er", b"E: x", b"tk", b""]

    job = decode_job([b"00000000000000000007", record, state])

    assert job is not None
    assert (job.id, job.status, job.retry_count, job.attempt, job.finished_at_ms) == (7, Status.DEAD, 2, 3, 4000)
    assert (job.rank, job.priority, job.delay_ms, job.max_retries, job.queue) == (5, 3, 2000, 9, "mail")
    assert (job.error, job.lease, job.payload_json) == ("E: x", None, b"{}")
