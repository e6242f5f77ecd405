"""`gotaskq enqueue`: store a job."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gotaskq.cli.remote import remote_options, show
from gotaskq.errors import ConfigError
from gotaskq.kinds import parse_duration_ms

if TYPE_CHECKING:
    from gotaskq.client import Client


@click.command(name="enqueue")
@click.argument("job_type", metavar="TYPE")
@click.option("--payload", default="null", help="JSON; @FILE reads a file, - the standard input.  [null]")
@click.option("--queue")
@click.option("--priority", type=int, help="0 to 10; 10 goes first.")
@click.option("--delay", help="Wait so long, such as 10m.")
@click.option("--max-retries", type=int)
@click.option("--unique-key", help="While a job with it waits or runs, that one is the answer.")
@click.option("--callback", metavar="URL", help="Where a signed POST tells of the job's end.")
@click.option("--callback-on", help="Of which ends: done, dead, cancelled, parted by commas.  [done,dead]")
@click.option("--wait", type=float, default=0.0, help="Wait so many seconds for its end, 60 at most.")
@remote_options
def command(
    client: "Client",
    job_type: str,
    payload: str,
    *,
    delay: str | None,
    callback: str | None,
    callback_on: str | None,
    wait: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Store a job of TYPE and print it."""
    if callback is not None:
        options["callback"] = {"url": callback} | ({"on": callback_on.split(",")} if callback_on else {})
    elif callback_on is not None:
        raise ConfigError("--callback-on", callback_on, "of use with --callback URL only")
    if delay is not None:
        try:
            options["delay"] = parse_duration_ms(delay) / 1000
        except ValueError as error:
            raise ConfigError("--delay", delay, "a duration such as 30s, 10m or 2h") from error
    show(client.enqueue(job_type, _read(payload), wait=wait, **options), as_json=as_json)


def _read(payload: str) -> object:
    try:
        if payload == "-":
            text = sys.stdin.buffer.read()
        elif payload.startswith("@"):
            text = Path(payload[1:]).read_bytes()
        else:
            text = payload.encode()
        msgspec.json.decode(text)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError("--payload", payload[:60], f"JSON, @FILE or - ({error})") from error
    return msgspec.Raw(text)
