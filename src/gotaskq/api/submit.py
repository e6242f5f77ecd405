"""Submitting a job: the functions behind `POST /jobs` and `POST /{queue}/jobs`, the same for both lanes."""

from gotaskq.api.answers import Answer, refuse
from gotaskq.api.schemas import decode_submission, encode_job
from gotaskq.engine.admission import Admission
from gotaskq.errors import GotaskqError


async def submit(door: Admission, body: bytes, queue: str) -> Answer:
    """Decode, admit, store, and answer 201 with the job, or with what is wrong."""
    try:
        return Answer(201, encode_job(await door.submit(decode_submission(body, queue))))
    except GotaskqError as error:
        return refuse(error)


def submit_now(door: Admission, body: bytes, queue: str) -> Answer:
    """Do as `submit`, with a store that takes jobs at once."""
    try:
        return Answer(201, encode_job(door.submit_now(decode_submission(body, queue))))
    except GotaskqError as error:
        return refuse(error)
