"""`gotaskq job`: look at jobs of a service, and steer them."""

from typing import TYPE_CHECKING, Any, Final

import click

from gotaskq.cli.remote import remote_options, show

if TYPE_CHECKING:
    from gotaskq.client import Client

COLUMNS: Final = ("id", "type", "queue", "status", "attempt", "created_at", "error")


@click.group(name="job")
def command() -> None:
    """Look at jobs, and steer them."""


@command.command(name="list")
@click.option("--status")
@click.option("--type")
@click.option("--queue")
@click.option("--since", help="Made then or later, or so long ago, such as 1h.")
@click.option("--text", "q", help="In the type, the id or the error.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@remote_options
def list_jobs(client: "Client", *, as_json: bool, **filters: Any) -> None:
    """List jobs, the newest first."""
    show(client.page(**filters).jobs, as_json=as_json, columns=COLUMNS)


@command.command()
@click.argument("job_id", metavar="ID")
@remote_options
def get(client: "Client", job_id: str, *, as_json: bool) -> None:
    """Show a job."""
    show(client.get(job_id), as_json=as_json)


@command.command()
@click.argument("job_id", metavar="ID")
@remote_options
def explain(client: "Client", job_id: str, *, as_json: bool) -> None:
    """Say why a job has not run."""
    show(client.explain(job_id), as_json=as_json)


@command.command()
@click.argument("job_id", metavar="ID")
@remote_options
def watch(client: "Client", job_id: str, *, as_json: bool) -> None:
    """Show a job each time it changes, until it has ended."""
    for event in client.events(job_id):
        show(event if as_json else f"{event.name}  attempt {event.data.get('attempt', 0)}", as_json=as_json)


@command.command()
@click.argument("job_id", metavar="ID")
@remote_options
def cancel(client: "Client", job_id: str, *, as_json: bool) -> None:
    """Cancel a job that waits, ask one that runs to end."""
    show(client.cancel(job_id), as_json=as_json)


@command.command()
@click.argument("job_id", metavar="ID")
@remote_options
def retry(client: "Client", job_id: str, *, as_json: bool) -> None:
    """Run a dead job again, or one that waits for its next attempt now."""
    show(client.retry(job_id), as_json=as_json)


@command.command()
@click.argument("job_id", metavar="ID")
@remote_options
def delete(client: "Client", job_id: str, *, as_json: bool) -> None:
    """Delete a job; one that runs is asked to end first."""
    client.delete(job_id)
    show({"deleted": job_id}, as_json=as_json)
