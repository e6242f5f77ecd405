"""`gotaskq token`: make a token for those who may use the service."""

import json
from pathlib import Path

import click

from gotaskq.api.security.tokens import Scope, new_token, read_tokens
from gotaskq.errors import ConfigError


@click.group(name="token")
def command() -> None:
    """Make tokens. A service that has tokens lets nobody in without one."""


@command.command(name="new")
@click.option("--name", required=True, help="Who will hold it: 1 to 32 of a-z 0-9 -; it is named in the audit log.")
@click.option("--scopes", default="submit,read", show_default=True, help="What it allows, parted by commas.")
@click.option("--append", "file", type=click.Path(path_type=Path), help="Write its line to this TOKENS_FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def new(name: str, scopes: str, file: Path | None, *, as_json: bool) -> None:
    """Print a new token, once: only its digest is kept, in the line for TOKENS_FILE.

    Scopes: submit (store jobs), read (look), dlq (replay and delete dead jobs), work (run jobs elsewhere), metrics,
    admin (all of these, and steering). A service that runs reads the file anew at SIGHUP.
    """
    sent, token = new_token(name, _scopes(scopes))
    if file is not None:
        _append(file, token.line())
    if as_json:
        click.echo(json.dumps({"token": sent, "line": token.line()}))
    else:
        click.echo(sent)
        written = f"its line is in {file}" if file is not None else f"its line for TOKENS_FILE:\n{token.line()}"
        click.echo(f"This is the only time it is shown; {written}", err=True)


def _scopes(text: str) -> list[Scope]:
    try:
        return [Scope(word.strip()) for word in text.split(",")]
    except ValueError:
        raise ConfigError("--scopes", text, f"some of {', '.join(scope.value for scope in Scope)}") from None


def _append(file: Path, line: str) -> None:
    """Add a line to a file nobody else may read; raises ConfigError where it cannot be, or where the id is there."""
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    separator = "" if not before or before.endswith("\n") else "\n"
    after = f"{before}{separator}{line}\n"
    read_tokens(None, after.replace("\n", ";"))
    try:
        file.touch(mode=0o600)
        file.write_text(after, encoding="utf-8")
    except OSError as error:
        raise ConfigError("--append", str(file), f"cannot be written ({error.strerror})") from error
