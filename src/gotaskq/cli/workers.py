"""`gotaskq workers`: who runs jobs."""

from typing import TYPE_CHECKING, Final

import click

from gotaskq.cli.remote import remote_options, show

if TYPE_CHECKING:
    from gotaskq.client import Client

COLUMNS: Final = ("id", "version", "busy", "slots", "quiet", "queues", "started_at", "last_seen_at")


@click.command()
@remote_options
def command(client: "Client", *, as_json: bool) -> None:
    """List the workers of every process on the service's store; with --json, their job types too."""
    show(client.workers(), as_json=as_json, columns=COLUMNS)
