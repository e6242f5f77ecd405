"""What the answers to a call with many jobs say of the call: its status over HTTP, what it raises in the library.

Invariant: a call of which some job may be stored is never said to be refused.
"""

from gotaskq.engine.ways import Answers
from gotaskq.errors import BackendUnavailableError, GotaskqError, WithheldError


def refusal_of(answers: Answers) -> GotaskqError | None:
    """Return the error that speaks for a call of which no job is known to be stored; None where one is.

    It is the first, but for two: one says more than that another was refused, and where the fate of jobs is not known,
    nothing else may be said of the call than that, and of which.
    """
    errors = [answer for answer in answers if isinstance(answer, GotaskqError)]
    if not errors or len(errors) < len(answers):
        return None
    unknown = [error for error in errors if isinstance(error, BackendUnavailableError) and error.job_id is not None]
    if unknown:
        ids = [error.job_id for error in unknown if error.job_id is not None]
        return BackendUnavailableError(str(unknown[0]), job_ids=ids)
    return min(errors, key=lambda error: isinstance(error, WithheldError))
