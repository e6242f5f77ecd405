"""`gotaskq config --check`: what it says of a store, and when it says that something is wrong."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gotaskq.cli.settings import command
from gotaskq.config import VARIABLES

MODULE = """
from random import Random
from gotaskq import TaskQ
from gotaskq.backend import Finding
from gotaskq.backends.memory import MemoryBackend
from gotaskq.clock import SystemClock
from gotaskq.errors import BackendUnavailableError


class Checked(MemoryBackend):
    findings: list[Finding] = []

    def __init__(self) -> None:
        super().__init__(clock=SystemClock(), rng=Random())

    async def check(self) -> list[Finding]:
        return self.findings


class Warned(Checked):
    findings = [Finding("ok", "version 9"), Finding("warning", "it forgets", "write it down")]


class Broken(Checked):
    findings = [Finding("error", "it is too old", "get a new one")]


class Away(Checked):
    async def open(self) -> None:
        raise BackendUnavailableError("connection refused")


warned, broken, away = TaskQ(Warned()), TaskQ(Broken()), TaskQ(Away())
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "checked_stores.py").write_text(MODULE)
    yield tmp_path
    sys.modules.pop("checked_stores", None)


def check(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["--check", *arguments])


def test_memory_has_nothing_to_set_up() -> None:
    ran = check()

    assert ran.exit_code == 0
    assert ran.output.endswith("\n\nThe store memory://\n  ok       it has nothing to set up\n")
    assert ran.output.startswith(VARIABLES[0].name)


def test_warnings_are_shown_and_are_no_failure() -> None:
    ran = check("checked_stores:warned")

    assert ran.exit_code == 0
    assert ran.output.endswith(
        "The store Warned\n  ok       version 9\n  warning  it forgets\n           write it down\n"
    )


@pytest.mark.parametrize(
    ("app", "what"),
    [("checked_stores:broken", "it is too old"), ("checked_stores:away", "it cannot be reached: connection refused")],
)
def test_an_error_is_a_failure(app: str, what: str) -> None:
    ran = check(app)

    assert ran.exit_code == 1
    assert f"  error    {what}\n" in ran.output


def test_findings_come_as_json_too() -> None:
    ran = check("--json", "checked_stores:broken")

    shown = json.loads(ran.output)
    assert ran.exit_code == 1
    assert list(shown["settings"]) == [variable.name for variable in VARIABLES]
    assert shown["store"] == {
        "backend": "Broken",
        "findings": [{"severity": "error", "what": "it is too old", "advice": "get a new one"}],
    }


def test_without_check_no_store_is_opened() -> None:
    ran = CliRunner().invoke(command, ["checked_stores:away"])

    assert ran.exit_code == 0
    assert "The store" not in ran.output
