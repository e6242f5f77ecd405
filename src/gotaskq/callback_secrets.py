"""The secrets callbacks are signed with, from the settings.

In the form of Standard Webhooks: `whsec_` and the key in base64. While one is replaced, both sign.
Invariant: nothing made here, no error either, shows one.
"""

from pathlib import Path
from typing import Final

from gotaskq.config import Settings
from gotaskq.delivery.signing import LEAST_KEY_BYTES, MOST_KEY_BYTES, PREFIX, read_secret
from gotaskq.errors import ConfigError

MOST_SECRETS: Final = 4  # two while one is replaced; each makes the header longer
ALLOWED: Final = f"{PREFIX} and {LEAST_KEY_BYTES} to {MOST_KEY_BYTES} bytes in base64; several are parted by spaces"


def callback_secrets(settings: Settings) -> tuple[str, ...]:
    """Return the secrets, none where callbacks are not wanted; raises ConfigError."""
    name, text = "CALLBACK_SECRET", settings.callback_secret or ""
    if settings.callback_secret_file is not None:
        if text:
            raise ConfigError("CALLBACK_SECRET_FILE", settings.callback_secret_file, "not beside CALLBACK_SECRET")
        name, text = "CALLBACK_SECRET_FILE", _read(settings.callback_secret_file)
        if not text.split():
            raise ConfigError(name, settings.callback_secret_file, f"a file that holds {ALLOWED}")
    secrets = tuple(text.split())
    if len(secrets) > MOST_SECRETS or not all(map(_is_secret, secrets)):
        raise ConfigError(name, "***", ALLOWED)
    return secrets


def _read(file: str) -> str:
    try:
        return Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read ({type(error).__name__}); name a file"
        raise ConfigError("CALLBACK_SECRET_FILE", file, problem) from None


def _is_secret(text: str) -> bool:
    try:
        read_secret(text)
    except ValueError:
        return False
    return True
