"""Instants as Python has them, turned into ours: milliseconds since 1970."""

from datetime import UTC, datetime, timedelta
from typing import Final

from gotaskq.errors import InvalidRequestError

MILLISECOND: Final = timedelta(milliseconds=1)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant_ms_of(instant: datetime, *, field: str) -> int:
    """Return an instant in milliseconds since 1970; raises InvalidRequestError for one without a time zone."""
    if instant.tzinfo is None:
        raise InvalidRequestError(f"{field} must name its time zone, as {instant.isoformat()}Z does", field=field)
    return (instant - EPOCH) // MILLISECOND
