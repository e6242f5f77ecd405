"""The command `python -m tests.contrib.environments`: the tests of `gotaskq.contrib`, against the real frameworks.

They are no dependencies of ours, so each set is in an environment of its own, made on first use.
Invariant: an environment is used only if it was made from what is wanted now; one that cannot be made is said to be.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
OLDEST: Final = (3, 11)


@dataclass(frozen=True, slots=True)
class Environment:
    """What is installed, and which tests run there."""

    name: str
    wanted: tuple[str, ...]
    tests: tuple[str, ...]
    python: tuple[int, int] = OLDEST


ENVIRONMENTS: Final = (
    Environment(
        "fastapi, flask, and django 5 with django-tasks",
        (".[test,fastapi,django-tasks]", "django~=5.2.0", "flask>=3", "httpx2>=2"),
        ("tests/contrib",),
    ),
    Environment(
        "django 6",
        (".[test,django]", "django~=6.0.0"),
        ("tests/contrib/test_django.py", "tests/contrib/test_django_demo.py"),
        (3, 12),
    ),
)


def main(arguments: Sequence[str]) -> int:
    """Run the tests in every environment; 0 if all passed. One whose Python is not on this machine is left out."""
    failed = []
    for number, environment in enumerate(ENVIRONMENTS, start=1):
        base = next(pythons(environment.python), None)
        if base is None:
            wanted = ".".join(map(str, environment.python))
            print(f"\n== {environment.name}: NOT TESTED, there is no Python {wanted} or later here", flush=True)
            continue
        print(f"\n== {environment.name}", flush=True)
        python = prepare(environment, base, HERE / ".venvs" / str(number))
        command = [str(python), "-m", "pytest", *environment.tests, *arguments]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(environment.name)
    if failed:
        print(f"\nfailed: {'; '.join(failed)}", file=sys.stderr)
    return bool(failed)


def pythons(least: tuple[int, int]) -> Iterator[str]:
    """Find interpreters of at least this version, beginning with the one that runs us."""
    found = [sys.executable, *(f"python3.{minor}" for minor in range(14, 11, -1))]
    found += sorted(map(str, Path("~/.pyenv/versions").expanduser().glob("3.1*/bin/python")), reverse=True)
    program = f"import sys, venv; sys.exit(sys.version_info < {least})"
    for python in found:
        path = shutil.which(python)
        if path and subprocess.run([path, "-c", program], capture_output=True, check=False).returncode == 0:
            yield path


def prepare(environment: Environment, base: str, folder: Path) -> Path:
    """Return the environment's interpreter, with what it wants installed."""
    python, made_from = folder / "bin" / "python", folder / "made-from.txt"
    wanted = "\n".join((base, *environment.wanted, (ROOT / "pyproject.toml").read_text()))
    if not (made_from.exists() and made_from.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([base, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable"]
        subprocess.run([*pip, *environment.wanted], cwd=ROOT, check=True, env={**os.environ, "PIP_NO_INPUT": "1"})
        made_from.write_text(wanted)
    return python


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
