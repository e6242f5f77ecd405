"""What must not pass a type checker does not, and for the reason that is written beside it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WRONG_CALLS = Path(__file__).with_name("wrong_calls.py")

_EXPECTED = re.compile(r"  # E: ([a-z, -]+)$")
_REPORTED = re.compile(r"wrong_calls\.py:(\d+): error: .* \[([a-z-]+)\]$")


@pytest.mark.slow
def test_mypy_refuses_wrong_calls_and_takes_right_ones() -> None:
    lines = WRONG_CALLS.read_text().splitlines()
    expected = {
        (number, code)
        for number, line in enumerate(lines, start=1)
        if (found := _EXPECTED.search(line))
        for code in found[1].split(", ")
    }

    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", str(WRONG_CALLS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    reported = {
        (int(found[1]), found[2]) for line in ran.stdout.splitlines() if (found := _REPORTED.search(line)) is not None
    }

    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert reported == expected, ran.stdout


@pytest.mark.slow
def test_pyright_refuses_the_same_lines() -> None:
    """By basedpyright, whose wheel brings all it needs; its errors are pyright's, and its own rules are warnings."""
    lines = WRONG_CALLS.read_text().splitlines()
    expected = {number for number, line in enumerate(lines, start=1) if _EXPECTED.search(line)}

    ran = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, str(WRONG_CALLS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    reported = {
        found["range"]["start"]["line"] + 1
        for found in json.loads(ran.stdout)["generalDiagnostics"]
        if found["severity"] == "error"
    }

    assert reported == expected, ran.stdout
