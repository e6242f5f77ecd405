"""Every example is run as a user would, and prints what its first docstring says it does."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("[0-9]*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_prints_what_it_promises(example: Path) -> None:
    docstring = ast.get_docstring(ast.parse(example.read_text())) or ""
    promised = [line.strip() for line in docstring.partition("Prints:")[2].splitlines() if line.strip()]

    ran = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 0, ran.stderr
    assert promised
    assert ran.stdout.splitlines() == promised


def test_there_are_examples() -> None:
    assert EXAMPLES
