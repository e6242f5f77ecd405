"""The id of a request, by which its answer, its lines in the log and its line in the audit log find each other."""

import re
import secrets
from contextvars import ContextVar

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

request_id: ContextVar[str] = ContextVar("gotaskq_request_id", default="")


def chosen_id(sent: str) -> str:
    """Return the id a client sent, if it can be one, else a new one."""
    return sent if _REQUEST_ID.fullmatch(sent) else new_request_id()


def new_request_id() -> str:
    """Return an id for a request that came without one."""
    return secrets.token_hex(8)
