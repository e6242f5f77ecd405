"""What a store raises that answered for some jobs of one `enqueue`, and not for all.

Raised by backends that send the jobs of a call in parts; told to each job by admission.
Invariant: no job is said to be refused that may have been stored.
"""

from collections.abc import Sequence
from typing import TypeAlias

from gotaskq.backend import EnqueueReply
from gotaskq.errors import UnavailableError

# What the store said of one job, or why it said nothing: after BackendUnavailableError nobody knows whether the job was
# stored, after another UnavailableError it was not.
Told: TypeAlias = EnqueueReply | UnavailableError


class PartlyStoredError(UnavailableError):
    """The store answered for some of the jobs only; `replies` has what is known of each, in their order."""

    def __init__(self, replies: Sequence[Told]) -> None:
        super().__init__("the job store answered for some of the jobs only")
        self.replies = replies
