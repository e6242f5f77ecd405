"""What `gotaskq run` and `gotaskq worker` have in common: their options, the app they name, one process or several."""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import click

from gotaskq.app import TaskQ
from gotaskq.config import VARIABLES, Settings, load_settings
from gotaskq.errors import ConfigError
from gotaskq.kinds import SWITCH
from gotaskq.logs import configure_logging, log_events
from gotaskq.processes.member import Member

if TYPE_CHECKING:
    from gotaskq.api.server import Role

Command: TypeAlias = Callable[..., None]

_OPTIONS: Final = [
    click.argument("app", required=False),
    click.option("--host", help="Listen on this address.  [HOST, 127.0.0.1]"),
    click.option("--queues", help="Run only jobs of these, by weight, such as mail:5,default.  [QUEUES, *]"),
    click.option("--processes", help="Run so many processes as one.  [PROCESSES, 1]"),
    click.option("--backend", "backend_url", help="Keep jobs there.  [BACKEND_URL, memory://]"),
    click.option(
        "--shutdown-timeout",
        "shutdown_timeout_ms",
        help="Let running jobs finish for so long.  [SHUTDOWN_TIMEOUT, 20s]",
    ),
    click.option("--max-jobs", help="End after so many jobs, to be started anew.  [MAX_JOBS, 0: never]"),
    click.option("--max-rss", "max_rss_bytes", help="End when so much memory is held.  [MAX_RSS, 0: never]"),
    click.option("--max-age", "max_age_ms", help="End at this age.  [MAX_AGE, 0: never]"),
    click.option("--log-level", help="debug, info, warning or error.  [LOG_LEVEL, info]"),
    click.option("--log-format", help="text, json, or auto: text on a terminal.  [LOG_FORMAT, auto]"),
    click.option(
        "--env-file", type=click.Path(path_type=Path), help="Read settings from a file too; the environment wins."
    ),
    click.option("--member", hidden=True, help="Be one of several; said by the supervisor."),
]


def process_options(command: Command) -> Command:
    """Add the argument and the options that every process of ours takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def run_process(
    role: "Callable[[Member | None], Role]",
    *,
    name: str,
    app: str | None,
    env_file: Path | None,
    member: str | None,
    flags: list[str],
    options: Mapping[str, str | None],
) -> None:
    """Be the process that the options describe, or the supervisor of several."""
    settings = load_settings(os.environ, env_file=env_file, overrides=options).settings
    is_one_of_several = member is not None or settings.processes > 1
    configure_logging(level=settings.log_level, style=settings.log_format, show_pid=is_one_of_several)
    if member is None and settings.processes > 1:
        given = [
            word
            for v in VARIABLES
            if (value := options.get(v.field)) and v.kind is not SWITCH
            for word in (v.option, value)
        ]
        files = [] if env_file is None else ["--env-file", str(env_file)]
        rest = [*given, *files, *flags]
        sys.exit(_supervise(name, rest, app, settings=settings, role=role(None)))
    from gotaskq.api.server import serve

    taskq = load_app(app, settings)
    log_events(taskq.observe)
    serve(taskq, role(Member.parse(member) if member else None), announce=_announce)


def _supervise(name: str, options: list[str], app: str | None, *, settings: Settings, role: "Role") -> int:
    from gotaskq.api.listening import hold_port
    from gotaskq.processes.supervisor import supervise

    port = settings.port if role.with_api else role.health_port
    with contextlib.ExitStack() as stack:
        if port is not None:
            held = stack.enter_context(hold_port(settings.host, port))
            # Behind what was given, so that it wins.
            options = [*options, "--port" if role.with_api else "--health-port", str(held.getsockname()[1])]

        def command(member: Member) -> list[str]:
            words = [name, *options, "--member", str(member)]
            return [sys.executable, "-m", "gotaskq", *words, *(["--", app] if app else [])]

        return supervise(settings.processes, command, is_finite=role.burst, announce=_announce)


def _announce(text: str) -> None:
    click.echo(text, err=True)


def load_app(name: str | None, settings: Settings) -> TaskQ:
    """Return the TaskQ that `module:attribute` names, with these settings; raises ConfigError when there is none."""
    if name is None:
        from gotaskq.demo import create_demo

        return create_demo(settings)
    module_name, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = import_module(module_name)
    except (ModuleNotFoundError, TypeError, ValueError) as error:
        if not _is_about(error, module_name):
            raise  # the module is there; what it imports or does is at fault
        raise ConfigError("APP", name, f"there is no module {module_name!r} here or on the path") from error
    taskq = getattr(module, attribute or "app", None)
    if not isinstance(taskq, TaskQ):
        raise ConfigError("APP", name, f"{module_name} has no TaskQ named {attribute or 'app'}; write module:attribute")
    taskq.configure(settings)
    return taskq


def _is_about(error: Exception, module_name: str) -> bool:
    """Say whether the module itself, or a package it is in, is what cannot be found."""
    if isinstance(error, ModuleNotFoundError):
        return error.name is not None and f"{module_name}.".startswith(f"{error.name}.")
    return module_name == "" or module_name.startswith(".")  # what import_module refuses before it looks
