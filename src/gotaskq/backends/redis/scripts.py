"""The scripts: one file an operation in lua/, with the shared prelude before it.

Constant text, so a server compiles each once and knows it by its digest afterwards.
"""

import hashlib
from enum import Enum
from importlib.resources import files
from typing import Final

# From 7.0 on a script says itself that it may run when memory is full. These free memory, or end what runs.
ALLOW_OOM: Final = "#!lua flags=allow-oom\n"
# Before, only the first write of a script is judged: one that needs no memory opens the way for the rest.
FIRST_WRITE: Final = "redis.call('HDEL', KEYS[1], '')\n"


class Script(Enum):
    """An operation; the value is its file."""

    AGE = "age"
    AMEND = "amend"
    BOARD_POST = "board_post"
    BOARD_READ = "board_read"
    BOARD_REMOVE = "board_remove"
    CANCEL = "cancel"
    COUNTS = "counts"
    DELETE = "delete"
    ENQUEUE = "enqueue"
    ENQUEUE_ONE = "enqueue_one"
    EXPIRE = "expire"
    EXTEND = "extend"
    GET = "get"
    HAPPENINGS_TELL = "happenings_tell"
    HAPPENINGS_WATCH = "happenings_watch"
    LISTING = "listing"
    NOTE = "note"
    PEEK = "peek"
    PROMOTE = "promote"
    PRUNE = "prune"
    PURGE = "purge"
    REAP = "reap"
    REPLAY = "replay"
    RESERVE = "reserve"
    SETTLE = "settle"
    STANDING = "standing"

    __hash__ = object.__hash__


# What must be refused when memory is full: it brings more, or may. All else must go on, so that the store empties;
# notes and results too, whose jobs are bounded, for a checkpoint that is refused is work to be done again; and
# notices, whose boards are bounded, for who empties a full store wants to see how far that is.
NEEDS_MEMORY: Final = frozenset(
    {
        *(Script.AMEND, Script.ENQUEUE, Script.ENQUEUE_ONE, Script.REPLAY),
        *(Script.HAPPENINGS_TELL, Script.HAPPENINGS_WATCH),
    }
)
READS: Final = frozenset({Script.GET, Script.BOARD_READ})


# What goes without the prelude, because its cost is what that script is there to save.
ALONE: Final = frozenset({Script.ENQUEUE_ONE})
# Between the prelude and a script: what would make its file too long to read at once, or what a few of them share;
# not in the prelude, since each function there costs each call of each script.
PARTS: Final = {
    Script.AMEND: ("_revive",),
    Script.BOARD_POST: ("_board",),
    Script.BOARD_READ: ("_board",),
    Script.BOARD_REMOVE: ("_board",),
    Script.CANCEL: ("_ends",),
    Script.DELETE: ("_ends",),
    Script.ENQUEUE: ("_keys", "_rates"),
    Script.EXPIRE: ("_ends",),
    Script.HAPPENINGS_TELL: ("_happenings",),
    Script.HAPPENINGS_WATCH: ("_happenings",),
    Script.PRUNE: ("_ends",),
    Script.PURGE: ("_ends",),
    Script.REAP: ("_ends",),
    Script.REPLAY: ("_revive",),
    Script.SETTLE: ("_ends",),
}


class ScriptText:
    """A script as one kind of server wants it."""

    __slots__ = ("digest", "text")

    def __init__(self, script: Script, *, has_flags: bool) -> None:
        before, after = "", ""
        if script not in NEEDS_MEMORY | READS:
            before, after = (ALLOW_OOM, "") if has_flags else ("", FIRST_WRITE)
        files_before = () if script in ALONE else ("_prelude", *PARTS.get(script, ()))
        self.text = before + after + "".join(map(_read, (*files_before, script.value)))
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def load_scripts(*, has_flags: bool) -> dict[Script, ScriptText]:
    """Return every script for a server that knows script flags (7.0 and later) or does not."""
    return {script: ScriptText(script, has_flags=has_flags) for script in Script}


def _read(name: str) -> str:
    return files("gotaskq.backends.redis").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
