"""`gotaskq queue`: the queues of a service."""

from typing import TYPE_CHECKING

import click

from gotaskq.cli.remote import remote_options, show

if TYPE_CHECKING:
    from gotaskq.client import Client


@click.group(name="queue")
def command() -> None:
    """Look at queues, and steer them."""


@command.command(name="list")
@remote_options
def list_queues(client: "Client", *, as_json: bool) -> None:
    """List the names of all queues."""
    names = client.queues.names()
    show(names if as_json else [{"name": name} for name in names], as_json=as_json, columns=("name",))


@command.command()
@click.argument("name")
@remote_options
def stats(client: "Client", *, name: str, as_json: bool) -> None:
    """Show the figures of a queue."""
    show(client.queues.stats(name), as_json=as_json)


@command.command()
@click.argument("name")
@remote_options
def create(client: "Client", *, name: str, as_json: bool) -> None:
    """Make a queue."""
    client.queues.create(name)
    show({"created": name.lower()}, as_json=as_json)


@command.command()
@click.argument("name")
@remote_options
def pause(client: "Client", *, name: str, as_json: bool) -> None:
    """Give out none of its jobs until it is resumed."""
    show(client.queues.pause(name), as_json=as_json)


@command.command()
@click.argument("name")
@remote_options
def resume(client: "Client", *, name: str, as_json: bool) -> None:
    """Give its jobs out again, and take new ones."""
    show(client.queues.resume(name), as_json=as_json)


@command.command()
@click.argument("name")
@remote_options
def drain(client: "Client", *, name: str, as_json: bool) -> None:
    """Take no new jobs, and finish those that are there."""
    show(client.queues.drain(name), as_json=as_json)


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@remote_options
def purge(client: "Client", *, name: str, yes: bool, as_json: bool) -> None:
    """Delete the jobs that wait in it, of which it first tells the number."""
    if not yes:
        click.confirm(f"delete {client.queues.stats(name)['depth']} waiting jobs of {name}?", abort=True, err=True)
    show(client.queues.purge(name), as_json=as_json)
