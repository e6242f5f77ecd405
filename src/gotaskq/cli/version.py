"""`gotaskq version`."""

import platform
from importlib.metadata import version

import click


@click.command()
def command() -> None:
    """Print the versions of GoTaskQ and Python."""
    click.echo(f"gotaskq {version('gotaskq')} (Python {platform.python_version()})")
