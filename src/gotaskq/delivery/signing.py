"""Signatures of deliveries, as Standard Webhooks 1.0.0 has them (github.com/standard-webhooks/standard-webhooks).

Signed is `id.timestamp.body` by HMAC-SHA256; a header carries one signature for each secret, so that secrets can be
changed while deliveries go on. `verify` is for receivers.
Invariant: no error made here holds a secret.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final

from gotaskq.clock import SystemClock
from gotaskq.delivery.errors import SignatureError, StaleSignatureError

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
PREFIX: Final = "whsec_"
LEAST_KEY_BYTES: Final = 24  # the specification's limits
MOST_KEY_BYTES: Final = 64
TOLERANCE_S: Final = 300.0  # clocks differ, and an answer may take a while; a replay after that is refused
MAX_SIGNATURES: Final = 16  # of one header; more is no rotation

_MESSAGE_ID = re.compile(r"[!-\-/-~]{1,255}")  # visible ASCII but the dot, which parts what is signed
_SECONDS = re.compile(r"[0-9]{1,15}")


def read_secret(secret: str) -> bytes:
    """Return the key a secret stands for; raises ValueError, which does not show it."""
    allowed = f"a signing secret is {PREFIX} and {LEAST_KEY_BYTES} to {MOST_KEY_BYTES} bytes in base64"
    if not secret.startswith(PREFIX):
        raise ValueError(f"{allowed}; this one does not begin with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{allowed}; this one is no base64") from None  # the cause may show a part of it
    if not LEAST_KEY_BYTES <= len(key) <= MOST_KEY_BYTES:
        raise ValueError(f"{allowed}; this one has {len(key)}")
    return key


def signed_headers(message_id: str, body: bytes, secrets: Sequence[str], *, now_s: float) -> dict[str, str]:
    """Return the headers of a message: its id, its time, and a signature for each secret, in their order.

    Raises ValueError for an id that could be mistaken for a part of what is signed, or a secret that is none.
    """
    if _MESSAGE_ID.fullmatch(message_id) is None:
        raise ValueError(f"message id {message_id!r} must be 1 to 255 visible ASCII characters other than a dot")
    timestamp = str(int(now_s))
    headers = {ID: message_id, TIMESTAMP: timestamp}
    if secrets:
        signed = _signed(message_id, timestamp, body)
        headers[SIGNATURE] = " ".join(_signature(read_secret(secret), signed) for secret in secrets)
    return headers


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secrets: str | Sequence[str],
    *,
    tolerance_s: float = TOLERANCE_S,
    now_s: float | None = None,
) -> str:
    """Return the id of a message that came with these headers and was signed with one of the secrets.

    `body` are the bytes that came, not what was decoded from them. The id is the same each time the message is sent,
    so one that was dealt with can be known again. Raises SignatureError, StaleSignatureError for a message signed more
    than `tolerance_s` ago or ahead, and ValueError for a secret that is none.
    """
    given = {name.lower(): value for name, value in headers.items()}
    keys = [read_secret(secret) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    message_id, timestamp, signatures = (_header(given, name) for name in (ID, TIMESTAMP, SIGNATURE))
    if _MESSAGE_ID.fullmatch(message_id) is None or _SECONDS.fullmatch(timestamp) is None:
        raise SignatureError(f"{ID} or {TIMESTAMP} is not what a sender of Standard Webhooks writes")
    if not _is_signed(_signed(message_id, timestamp, body), signatures, keys):
        raise SignatureError("no signature of the message is by a secret we have; refuse it")
    age_s = (SystemClock.now_ms() / 1000 if now_s is None else now_s) - int(timestamp)
    if abs(age_s) > tolerance_s:
        raise StaleSignatureError(age_s, tolerance_s)
    return message_id


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise SignatureError(f"the message has no {name}; refuse it")
    return value


def _is_signed(signed: bytes, signatures: str, keys: Sequence[bytes]) -> bool:
    expected = [_signature(key, signed).encode() for key in keys]
    found = [one.encode("utf-8", "replace") for one in signatures.split(" ")[:MAX_SIGNATURES]]
    return any(hmac.compare_digest(mine, theirs) for mine in expected for theirs in found)


def _signed(message_id: str, timestamp: str, body: bytes) -> bytes:
    return b"%s.%s.%s" % (message_id.encode(), timestamp.encode(), body)


def _signature(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
