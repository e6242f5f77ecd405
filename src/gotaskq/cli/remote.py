"""What the commands that talk to a service share: where it is, the token, how answers are printed, exit codes."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from gotaskq.errors import ConfigError

if TYPE_CHECKING:
    from gotaskq.client import Client

DEFAULT_URL: Final = "http://127.0.0.1:8000"


def remote_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `--url` and `--json`, and the service as its first argument."""

    @click.option("--url", envvar="GOTASKQ_URL", default=DEFAULT_URL, show_default=True, help="Where the service is.")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @wraps(command)
    def run(*args: Any, url: str, as_json: bool, **options: Any) -> None:
        with _connected(url) as client:
            command(client, *args, as_json=as_json, **options)

    return run


@contextlib.contextmanager
def _connected(url: str) -> Iterator["Client"]:
    """Give the client; what the service refuses, or that it is not there, is one line and exit code 1.

    The token is read from GOTASKQ_TOKEN: on the command line, others could see it.
    """
    try:
        from gotaskq.client import ApiError, Client, NoAnswerError
    except ImportError:
        raise ConfigError("gotaskq", "this command", "the extra `client`: pip install gotaskq[client]") from None
    try:
        with Client(url, token=os.environ.get("GOTASKQ_TOKEN") or None, retries=1) as client:
            yield client
    except (ApiError, NoAnswerError, TimeoutError) as error:
        click.echo(f"gotaskq: {error}", err=True)
        sys.exit(1)


def show(value: object, *, as_json: bool, columns: tuple[str, ...] = ()) -> None:
    """Print what came back: as JSON, or a list as a table of these columns, or an object a member a line."""
    plain = msgspec.to_builtins(value)
    if as_json:
        click.echo(json.dumps(plain))
    elif isinstance(plain, list):
        _print_table([[_cell(row.get(name)) for name in columns] for row in plain], columns)
    elif isinstance(plain, dict):
        for name, member in plain.items():
            if member not in (None, [], {}):
                click.echo(f"{name:20} {_cell(member)}")
    else:
        click.echo(str(plain))


def _print_table(rows: list[list[str]], columns: tuple[str, ...]) -> None:
    widths = [max(len(row[place]) for row in [list(columns), *rows]) for place in range(len(columns))]
    for row in [[name.upper() for name in columns], *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    # What strangers wrote must not steer a terminal.
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
