"""What goes wrong with deliveries, on either side.

GotaskqError
├── DeliveryError            a job's HTTP request was not answered as it should be, so it is tried again
├── DestinationError         a URL nothing may be delivered to
├── MissingClientError       httpx2 is not installed
└── SignatureError           a message is not what its sender signed
    └── StaleSignatureError  it was signed too long ago, or ahead of our clock
"""

from gotaskq.errors import GotaskqError


class DeliveryError(GotaskqError):
    """A job's HTTP request was not answered as it should be; the job is tried again, as its retry policy says."""


class DestinationError(GotaskqError):
    """Nothing may be delivered to this URL, for how it is written or for where it leads."""


class MissingClientError(GotaskqError):
    """Deliveries need an HTTP client, which `pip install gotaskq` alone does not bring."""

    def __init__(self) -> None:
        super().__init__("deliveries need httpx2, which is not installed: pip install 'gotaskq[client]'")


class SignatureError(GotaskqError):
    """A message has no signature by a secret we have: it is not from whom it says, or was changed on its way."""


class StaleSignatureError(SignatureError):
    """A message was signed too long ago, or ahead of our clock: somebody may have recorded and repeated it."""

    def __init__(self, age_s: float, tolerance_s: float) -> None:
        when = f"{age_s:g} s ago" if age_s >= 0 else f"{-age_s:g} s ahead of our clock"
        super().__init__(f"the message was signed {when}; at most {tolerance_s:g} s are tolerated")
