"""The `gotaskq` command: its subcommands are imported one by one, and a bad setting is one line."""

import json

import pytest
from click.testing import CliRunner

from gotaskq.cli.main import COMMANDS, gotaskq, main
from gotaskq.cli.settings import command as config_command
from gotaskq.errors import BackendUnavailableError


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name in ("PORT", "LEASE", "NUM_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    return CliRunner()


def test_the_help_lists_every_command(runner: CliRunner) -> None:
    ran = runner.invoke(gotaskq, ["--help"])

    assert ran.exit_code == 0
    assert [line.split()[0] for line in ran.output.partition("Commands:\n")[2].splitlines()] == sorted(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(runner: CliRunner, name: str) -> None:
    ran = runner.invoke(gotaskq, [name, "-h"])

    assert ran.exit_code == 0
    assert ran.output.startswith("Usage: ")


def test_an_unknown_command_is_refused(runner: CliRunner) -> None:
    ran = runner.invoke(gotaskq, ["fly"])

    assert ran.exit_code == 2
    assert "No such command 'fly'" in ran.output


def test_config_shows_values_as_they_are_written(runner: CliRunner) -> None:
    ran = runner.invoke(config_command, ["--json"], env={"LEASE": "90000ms"})

    assert json.loads(ran.output)["LEASE"] == {"value": "90s", "source": "environment LEASE"}


def test_a_setting_that_cannot_be_used_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEASE", "soon")
    monkeypatch.setattr("sys.argv", ["gotaskq", "config"])

    with pytest.raises(SystemExit) as ended:
        main()

    written = capsys.readouterr()
    assert ended.value.code == 2
    assert written.out == ""
    assert written.err.startswith("gotaskq: LEASE='soon': ")
    assert written.err.count("\n") == 1


def test_a_store_that_is_away_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise BackendUnavailableError("redis://cache:6379/0 does not answer")

    monkeypatch.setattr("gotaskq.cli.main.gotaskq", fail)

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "gotaskq: redis://cache:6379/0 does not answer; `gotaskq config --check` says more\n"
    )
