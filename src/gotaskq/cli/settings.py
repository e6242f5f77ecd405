"""`gotaskq config`: the settings in force, where each came from, secrets masked."""

import json
import os
from pathlib import Path

import click

from gotaskq.config import describe, describe_json, load_settings


@click.command(name="config")
@click.option(
    "--env-file", type=click.Path(path_type=Path), help="Read settings from this file too; the environment wins."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(env_file: Path | None, *, as_json: bool) -> None:
    """Print the settings in force and where each one came from; secrets are masked."""
    loaded = load_settings(os.environ, env_file=env_file)
    if as_json:
        click.echo(json.dumps(describe_json(loaded), indent=2))
        return
    rows = describe(loaded)
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for variable, value, source in rows:
        click.echo(f"{variable:{widths[0]}}  {value:{widths[1]}}  {source}")
