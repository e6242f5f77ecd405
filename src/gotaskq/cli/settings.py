"""`gotaskq config`: the settings in force, where each came from, secrets masked; `--check` looks at the store too."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from gotaskq.app import TaskQ
from gotaskq.backend import Finding
from gotaskq.cli.options import load_app
from gotaskq.config import LoadedSettings, describe, describe_json, load_settings
from gotaskq.errors import BackendUnavailableError


@click.command(name="config")
@click.argument("app", required=False)
@click.option(
    "--env-file", type=click.Path(path_type=Path), help="Read settings from this file too; the environment wins."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--check", is_flag=True, help="Look at the store too; exit code 1 if jobs cannot be kept there.")
def command(app: str | None, env_file: Path | None, *, as_json: bool, check: bool) -> None:
    """Print the settings in force and where each one came from; secrets are masked.

    With --check, APP names the TaskQ whose store is looked at, as module:attribute; without it, the settings name it.
    """
    loaded = load_settings(os.environ, env_file=env_file)
    store = asyncio.run(_look_at(load_app(app, loaded.settings))) if check else None
    if as_json:
        click.echo(json.dumps(_as_json(loaded, store), indent=2))
    else:
        _print_settings(loaded)
        if store is not None:
            _print_store(store)
    sys.exit(store is not None and any(finding.severity == "error" for finding in store.findings))


class Store(NamedTuple):
    """What there is to say of a store, and of the URLs that run jobs."""

    backend: str
    findings: list[Finding]
    pushes: list[Finding]


async def _look_at(taskq: TaskQ) -> Store:
    try:
        async with taskq:
            findings = await taskq.check_store() or [Finding("ok", "it has nothing to set up")]
    except BackendUnavailableError as error:
        findings = [Finding("error", f"it cannot be reached: {error}", "start it, or name another BACKEND_URL")]
    return Store(taskq.backend_name, findings, await _look_at_pushes(taskq))


async def _look_at_pushes(taskq: TaskQ) -> list[Finding]:
    """Say of each URL whether it could be delivered to from here; nothing is sent."""
    found: list[Finding] = []
    for push in taskq.push.bound:
        refusal = await taskq.deliveries.check(push.url)
        about = f"{push.job_type} to {push.origin}"
        found.append(Finding("ok", about) if refusal is None else Finding("warning", about, refusal))
    return found


def _as_json(loaded: LoadedSettings, store: Store | None) -> dict[str, object]:
    settings = describe_json(loaded)
    if store is None:
        return settings
    shown = {"backend": store.backend, "findings": msgspec.to_builtins(store.findings)}
    pushes = {"pushes": msgspec.to_builtins(store.pushes)} if store.pushes else {}
    return {"settings": settings, "store": shown, **pushes}


def _print_settings(loaded: LoadedSettings) -> None:
    rows = describe(loaded)
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for variable, value, source in rows:
        click.echo(f"{variable:{widths[0]}}  {value:{widths[1]}}  {source}")


def _print_store(store: Store) -> None:
    click.echo(f"\nThe store {store.backend}")
    for finding in store.findings:
        _print_finding(finding)
    if store.pushes:
        click.echo("\nJobs run by URLs")
    for finding in store.pushes:
        _print_finding(finding)


def _print_finding(finding: Finding) -> None:
    click.echo(f"  {finding.severity:8} {finding.what}")
    if finding.advice:
        click.echo(f"  {'':8} {finding.advice}")
