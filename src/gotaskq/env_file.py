"""`.env` files: lines of KEY=VALUE for the settings that `--env-file` names.

Used by the settings. Comments, `export` and quotes are read; nothing is replaced inside values.
Invariant: no error made here holds a line of the file, for the line may hold a password.
"""

import re
from pathlib import Path

from gotaskq.errors import ConfigError

_KEY = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=")
_QUOTED = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)')(?:\s+\#.*|\s*)""", re.DOTALL)
_COMMENT = re.compile(r"\s#.*", re.DOTALL)
_ESCAPE = re.compile(r'\\([nt\\"])')


def read_env_file(path: Path) -> dict[str, str]:
    """Read a `.env` file; ConfigError if it is missing or has a line that is not `KEY=VALUE`."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError("--env-file", str(path), f"a file that can be read ({reason})") from error
    return parse_env(content, file_name=str(path))


def parse_env(content: bytes, *, file_name: str) -> dict[str, str]:
    """Read the lines of a `.env` file: comments, `export`, quotes; no interpolation. The last line wins."""
    values = {}
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            values.update(_pair(line.decode("utf-8").strip()))
        except ValueError:
            allowed = "this line must be KEY=VALUE, a # comment or empty, in UTF-8"
            # Without the cause: it holds the line, and the line may hold a password.
            raise ConfigError("--env-file", f"{file_name}:{number}", allowed) from None
    return values


def _pair(line: str) -> dict[str, str]:
    if not line or line.startswith("#"):
        return {}
    if not (key := _KEY.match(line)):
        raise ValueError("no KEY=")
    return {key[1]: _value(line[key.end() :])}


def _value(text: str) -> str:
    if not text.lstrip().startswith(('"', "'")):
        return _COMMENT.sub("", text).strip()
    if not (quoted := _QUOTED.fullmatch(text)):
        raise ValueError("no closing quote, or text after it")
    if quoted[1] is None:
        return quoted[2]
    return _ESCAPE.sub(lambda escape: {"n": "\n", "t": "\t"}.get(escape[1], escape[1]), quoted[1])
