"""The PUSH_FILE: job types and the URLs that run them, for those who write no Python.

    [types."email.send"]
    url = "https://example.com/hooks/email"
    secret_env = "EMAIL_SECRET"

Read when an app is opened.
Invariant: an error names the entry and the key, and shows no secret; secrets are not in the file itself.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from gotaskq.errors import ConfigError
from gotaskq.kinds import parse_duration_ms

MAX_FILE_BYTES: Final = 1_048_576
VARIABLE: Final = "PUSH_FILE"


@dataclass(frozen=True, slots=True)
class PushEntry:
    """One entry, its secrets fetched from where it says they are."""

    type: str
    url: str
    secrets: tuple[str, ...]
    headers: Mapping[str, str]
    timeout_s: float | None
    max_retries: int | None
    queue: str | None

    def __repr__(self) -> str:
        """Show the job type only."""
        return f"<push entry {self.type!r}>"


class _Entry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    url: str
    secret_env: str | list[str] = []
    secret_file: str | list[str] = []
    headers: dict[str, str] = {}
    timeout: str | None = None
    max_retries: int | None = None
    queue: str | None = None


def read_push_file(path: Path) -> list[PushEntry]:
    """Read the entries of a file; raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(VARIABLE, str(path), f"a file that can be read ({error.strerror})") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(VARIABLE, str(path), f"a file of at most {MAX_FILE_BYTES} bytes")
    try:
        document = tomllib.loads(content.decode())
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise ConfigError(VARIABLE, str(path), f"a file in TOML: {error}") from None
    types = document.pop("types", {})
    if document or not isinstance(types, dict):
        found = ", ".join(map(repr, document)) or "no table"
        raise ConfigError(VARIABLE, str(path), f'a file of tables [types."job.type"], and nothing else; it has {found}')
    return [_read_entry(path, str(job_type), entry) for job_type, entry in types.items()]


def _read_entry(path: Path, job_type: str, entry: object) -> PushEntry:
    def refuse(key: str, allowed: str) -> ConfigError:
        return ConfigError(VARIABLE, str(path), f'types."{job_type}"{key}: {allowed}')

    try:
        read = msgspec.convert(entry, _Entry)
    except msgspec.ValidationError as error:
        raise refuse("", str(error).replace("`$.", "`")) from None
    try:
        timeout_s = None if read.timeout is None else parse_duration_ms(read.timeout) / 1000
    except ValueError:
        raise refuse(".timeout", "a duration with its unit, such as 500ms 10s 5m") from None
    secrets = [_from_environment(name, refuse) for name in _as_list(read.secret_env)]
    secrets += [_from_file(path.parent / name, refuse) for name in _as_list(read.secret_file)]
    if not secrets:
        raise refuse("", "name where its secret is, with secret_env or secret_file")
    return PushEntry(job_type, read.url, tuple(secrets), read.headers, timeout_s, read.max_retries, read.queue)


def _from_environment(name: str, refuse: Callable[[str, str], ConfigError]) -> str:
    secret = os.environ.get(name, "").strip()
    if not secret:
        raise refuse(".secret_env", f"the environment has no {name}")
    return secret


def _from_file(path: Path, refuse: Callable[[str, str], ConfigError]) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise refuse(".secret_file", f"{path} cannot be read ({reason})") from None


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
