"""`gotaskq dlq`: the dead letters of a service."""

import json
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from gotaskq.cli.remote import remote_options, show

if TYPE_CHECKING:
    from gotaskq.client import Client

COLUMNS: Final = ("id", "type", "queue", "reason", "finished_at", "error")
GROUP_COLUMNS: Final = ("fingerprint", "count", "type", "error", "place", "last_died_at", "example")


@click.group(name="dlq")
def command() -> None:
    """Look at dead letters, and bring them back."""


def _read_patch(_: click.Context, __: click.Parameter, text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        patch = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"no JSON: {error}") from None
    if isinstance(patch, dict):
        return patch
    raise click.BadParameter("must be an object of the members that change")


@command.command(name="list")
@click.option("--type")
@click.option("--queue")
@click.option("--text", "q", help="In the type, the id or the error.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True)
@remote_options
def list_dead(client: "Client", *, as_json: bool, **filters: Any) -> None:
    """List dead jobs, the latest death first."""
    show(client.dlq.list(**filters), as_json=as_json, columns=COLUMNS)


@command.command()
@remote_options
def summary(client: "Client", *, as_json: bool) -> None:
    """Group dead jobs by what they died of."""
    found = client.dlq.summary()
    show(found if as_json else found["groups"], as_json=as_json, columns=GROUP_COLUMNS)


@command.command()
@click.argument("job_id", metavar="[ID]", required=False)
@click.option("--fingerprint", help="All of this group.")
@click.option("--type", "job_type", help="All of this type.")
@click.option("--all", "everything", is_flag=True, help="All of them; 1,000 a call.")
@click.option("--patch", callback=_read_patch, help="A JSON merge patch of the payloads; null takes a member away.")
@click.option("--rate", type=click.FloatRange(0.01, 1_000), help="So many a second, in the background of the service.")
@click.option("--dry-run", is_flag=True, help="Only count them, and show what the patch makes of one.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@remote_options
def replay(
    client: "Client",
    *,
    job_id: str | None,
    fingerprint: str | None,
    job_type: str | None,
    everything: bool,
    patch: dict[str, Any] | None,
    rate: float | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Run dead jobs again: the one with this ID, or all that are meant, of which it first tells the number."""
    if job_id is not None:
        show(client.dlq.replay(job_id, patch=patch), as_json=as_json)
        return
    if not (fingerprint or job_type or everything):
        raise click.UsageError("name an ID, --fingerprint, --type, or --all")
    meant = {"fingerprint": fingerprint, "type": job_type, "patch": patch, "rate": rate}
    counted = client.dlq.replay_many(**meant, dry_run=True)
    if dry_run:
        show(counted, as_json=as_json)
        return
    if not yes:
        click.confirm(f"run {counted['matched']} dead jobs again?", abort=True, err=True)
    show(client.dlq.replay_many(**meant), as_json=as_json)


@command.command()
@click.argument("job_id", metavar="ID")
@remote_options
def delete(client: "Client", *, job_id: str, as_json: bool) -> None:
    """Delete a dead job."""
    client.dlq.delete(job_id)
    show({"deleted": job_id}, as_json=as_json)


@command.command()
@click.option("--type")
@click.option("--queue")
@click.option("--text", "q", help="In the type, the id or the error.")
@click.option("--fingerprint", help="Those of this group.")
@remote_options
def export(client: "Client", *, as_json: bool, **filters: Any) -> None:
    """Write dead jobs to standard output, a line of JSON each."""
    for line in client.dlq.export(**filters):
        click.echo(line)


@command.command(name="import")
@click.argument("file", type=click.File("rb"))
@remote_options
def import_lines(client: "Client", *, file: BinaryIO, as_json: bool) -> None:
    """Run the dead jobs again that a FILE of `dlq export` has (- is standard input), each once however often.

    The exit code is 1 where a line was refused; the others are taken in.
    """
    result = client.dlq.import_(file)
    show(result, as_json=as_json)
    for error in result.errors if not as_json else ():
        click.echo(
            f"gotaskq: line {error.line}: {error.error}" + (f" ({error.field})" if error.field else ""), err=True
        )
    if result.errors:
        sys.exit(1)
