"""The command line as a process: `gotaskq config`, `version`, help, and mistakes."""

import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.integration.server_process import run_command

from gotaskq.config import VARIABLES


def test_config_prints_each_setting_with_its_source(tmp_path: Path) -> None:
    (tmp_path / "some.env").write_text("LEASE=45s\nPORT=1\n")

    ran = run_command("config", "--env-file", "some.env", env={"PORT": "9000"}, folder=tmp_path)

    rows = [line.split(None, 2) for line in ran.stdout.splitlines()]
    assert ran.returncode == 0, ran.stderr
    assert [row[0] for row in rows] == [variable.name for variable in VARIABLES]
    assert ["PORT", "9000", "environment PORT"] in rows
    assert ["LEASE", "45s", ".env file LEASE"] in rows
    assert ["NUM_WORKERS", "10", "default"] in rows


def test_config_prints_one_json_object_when_asked() -> None:
    ran = run_command("config", "--json", env={"GOTASKQ_MAX_RETRIES": "0"})

    settings = json.loads(ran.stdout)
    assert ran.returncode == 0, ran.stderr
    assert list(settings) == [variable.name for variable in VARIABLES]
    assert settings["MAX_RETRIES"] == {"value": 0, "source": "environment GOTASKQ_MAX_RETRIES"}
    assert settings["COMPLETE_JOB_TTL"] == {"value": "5m", "source": "default"}


def test_config_refuses_a_bad_setting_with_one_line_and_exit_code_2() -> None:
    ran = run_command("config", env={"LEASE": "soon"})

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("gotaskq: LEASE='soon': a duration with its unit")
    assert ran.stderr.count("\n") == 1


def test_version_prints_ours_and_pythons() -> None:
    ran = run_command("version")

    assert ran.returncode == 0
    assert ran.stdout == f"gotaskq {version('gotaskq')} (Python {platform.python_version()})\n"


def test_the_installed_command_is_the_module() -> None:
    command = Path(sys.executable).with_name("gotaskq")

    ran = subprocess.run([command, "version"], capture_output=True, text=True, timeout=20, check=False)

    assert ran.stdout == run_command("version").stdout


def test_the_help_of_run_names_each_option_with_its_variable_and_default() -> None:
    ran = run_command("run", "--help")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("Usage: ")
    for option, source in [
        ("--host", "[HOST, 127.0.0.1]"),
        ("--port", "[PORT, 8000]"),
        ("--workers", "[NUM_WORKERS, 10]"),
        ("--backend", "[BACKEND_URL, memory://]"),
        ("--shutdown-timeout", "[SHUTDOWN_TIMEOUT, 20s]"),
        ("--log-level", "[LOG_LEVEL, info]"),
        ("--log-format", "[LOG_FORMAT, auto]"),
    ]:
        assert option in ran.stdout
        assert source in " ".join(ran.stdout.split())


@pytest.mark.parametrize("arguments", [["fly"], ["run", "--fly"]], ids=" ".join)
def test_a_mistake_is_exit_code_2_without_a_traceback(arguments: list[str]) -> None:
    ran = run_command(*arguments)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Error: " in ran.stderr
    assert "Traceback" not in ran.stderr


def test_what_cannot_be_opened_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from gotaskq import TaskQ\n"
        "app = TaskQ()\n"
        "@app.lifespan\n"
        "async def connect():\n"
        "    raise OSError('no route to the mail server')\n"
        "    yield\n"
    )

    ran = run_command("run", "broken:app", "--port", "0", folder=tmp_path)

    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == (
        "gotaskq: lifespan connect could not be opened: OSError: no route to the mail server"
    )
    assert ", in connect" in ran.stderr  # the log has the stack
