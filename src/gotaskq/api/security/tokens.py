"""Tokens: random secrets that their holders send with each request, of which we keep a digest.

A token is `gtq_<id>_<secret>`; a line of the file that lists them holds its id, the SHA-256 of the whole token, and its
scopes. Invariant: what is kept cannot be sent, and nothing made here but `new_token` shows a secret.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from gotaskq.errors import ConfigError

SECRET_BYTES: Final = 32
MAX_TOKENS: Final = 1_000
MAX_TOKEN_CHARS: Final = 128

_TOKEN = re.compile(r"gtq_([a-z0-9-]{1,32})_([A-Za-z0-9_-]{43})")
_ID = re.compile(r"[a-z0-9-]{1,32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")

NOBODY: Final = "0" * 64  # compared with where no token has the id, so that it takes as long


class Scope(Enum):
    """What a token allows; the values are the words of the file."""

    SUBMIT = "submit"  # store jobs
    READ = "read"  # look at jobs, queues and types
    DLQ = "dlq"  # replay and delete dead jobs
    WORK = "work"  # take jobs out to run them elsewhere, and settle them
    METRICS = "metrics"
    ADMIN = "admin"  # all of these, and all that steers jobs and queues

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token."""

    id: str
    sha256: str
    scopes: frozenset[Scope]

    def allows(self, scope: Scope) -> bool:
        """Whether its holder may do this."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def line(self) -> str:
        """Return the line of the file."""
        return f"{self.id} {self.sha256} {','.join(sorted(scope.value for scope in self.scopes))}"


def new_token(token_id: str, scopes: Iterable[Scope]) -> tuple[str, Token]:
    """Make a token: what its holder sends, and what is kept of it; raises ConfigError for an id that cannot be one."""
    if not _ID.fullmatch(token_id):
        raise ConfigError("--name", token_id, "1 to 32 of a-z 0-9 -")
    sent = f"gtq_{token_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return sent, Token(token_id, _digest(sent), frozenset(scopes))


class TokenSet:
    """The tokens in force."""

    def __init__(self, tokens: Iterable[Token] = ()) -> None:
        self._by_id = {token.id: token for token in tokens}

    def __bool__(self) -> bool:
        return bool(self._by_id)

    def find(self, sent: str) -> Token | None:
        """Return the token somebody sent, or None; a wrong secret takes as long as an unknown id."""
        if len(sent) > MAX_TOKEN_CHARS:
            return None
        match = _TOKEN.fullmatch(sent)
        known = self._by_id.get(match[1]) if match else None
        is_right = hmac.compare_digest(_digest(sent), known.sha256 if known else NOBODY)
        return known if is_right else None


def read_tokens(file: str | None, text: str | None) -> TokenSet:
    """Return the tokens of a file and of a text whose lines may be parted by `;`; raises ConfigError, without them."""
    tokens: list[Token] = []
    if file is not None:
        try:
            content = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError("TOKENS_FILE", file, f"cannot be read ({type(error).__name__}); name a file") from None
        tokens += _parse(content.splitlines(), "TOKENS_FILE")
    if text is not None:
        tokens += _parse(text.split(";"), "TOKENS")
    if len({token.id for token in tokens}) < len(tokens):
        raise ConfigError("TOKENS_FILE" if file else "TOKENS", "…", "each id once")
    if len(tokens) > MAX_TOKENS:
        raise ConfigError("TOKENS_FILE" if file else "TOKENS", f"{len(tokens)} tokens", f"at most {MAX_TOKENS}")
    return TokenSet(tokens)


def _parse(lines: Iterable[str], name: str) -> Iterator[Token]:
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            token_id, sha256, names = words
            scopes = frozenset(Scope(word) for word in names.split(","))
        except ValueError:
            scopes = frozenset()
        if not scopes or not _ID.fullmatch(token_id) or not _DIGEST.fullmatch(sha256):
            scope_names = ", ".join(scope.value for scope in Scope)
            raise ConfigError(  # the line itself may hold a token somebody put in the wrong place
                name, f"line {number}", f"an id, a SHA-256 and scopes ({scope_names}); `gotaskq token new` makes one"
            )
        yield Token(token_id, sha256, scopes)


def _digest(sent: str) -> str:
    return hashlib.sha256(sent.encode("utf-8", "surrogateescape")).hexdigest()
