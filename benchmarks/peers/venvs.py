"""An environment of its own for each library, made on first use from the versions in `requirements/`.

Invariant: an environment is used only if it was made from the file as it stands now.
"""

import shutil
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path

from benchmarks.peers.peers import Peer
from benchmarks.tools import ToolError

HERE = Path(__file__).parent
INSTALL_WAIT_S = 300.0
WORDS_SHOWN = 500  # characters of what pip says when it fails


@cache
def python_of(peer: Peer) -> str:
    """Return the interpreter that has the library; raises ToolError when it cannot be installed."""
    if peer.requirements is None:
        return sys.executable
    wanted = HERE / "requirements" / f"{peer.requirements}.txt"
    folder = HERE / ".venvs" / peer.requirements
    python, made_from = folder / "bin" / "python", folder / "made-from.txt"
    if not (made_from.exists() and made_from.read_bytes() == wanted.read_bytes()):
        print(f"  making an environment for {peer.requirements}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        _run(peer, [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(wanted)])
        shutil.copyfile(wanted, made_from)
    return str(python)


@cache
def version_of(peer: Peer) -> str:
    """Return the library's version as installed."""
    program = f"from importlib.metadata import version; print(version({peer.package!r}))"
    return _run(peer, [python_of(peer), "-c", program]).strip()


def _run(peer: Peer, argv: list[str]) -> str:
    try:
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_WAIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{peer.name}: {argv[0]} took more than {INSTALL_WAIT_S:g} s") from error
    if ended.returncode:
        raise ToolError(f"{peer.name} could not be installed: {ended.stderr.strip()[-WORDS_SHOWN:]}")
    return ended.stdout
