"""What a queue may be called: one rule for paths, bodies, settings and the library.

The alphabet keeps spaces, braces and control characters out of keys, paths, logs and labels.
"""

import re
from typing import Final

from gotaskq.errors import InvalidRequestError

QUEUE_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
RESERVED_QUEUE_NAMES: Final = frozenset({"queue", "queues", "v1", ".", ".."})  # their HTTP path means another


def check_queue_name(name: str) -> str:
    """Return the lower-cased name; raises InvalidRequestError for one that cannot name a queue."""
    if QUEUE_NAME.fullmatch(name) is None:
        raise InvalidRequestError("queue name must be 1 to 64 of A-Z a-z 0-9 . _ -", field="queue")
    if name.lower() in RESERVED_QUEUE_NAMES:
        raise InvalidRequestError(f"queue name {name.lower()!r} is reserved", field="queue")
    return name.lower()
