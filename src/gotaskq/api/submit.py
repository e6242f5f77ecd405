"""Submitting a job: the one function behind `POST /jobs` and `POST /{queue}/jobs`, called by both lanes."""

from gotaskq.api.answers import Answer, refuse
from gotaskq.api.schemas import decode_submission, encode_job
from gotaskq.app import TaskQ
from gotaskq.errors import GotaskqError


async def submit(taskq: TaskQ, body: bytes, queue: str) -> Answer:
    """Decode, admit, store, and answer 201 with the job, or with what is wrong."""
    try:
        job = await taskq.submit(decode_submission(body, queue))
    except GotaskqError as error:
        return refuse(error)
    return Answer(201, encode_job(job))
