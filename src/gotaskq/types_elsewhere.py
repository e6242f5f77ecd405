"""Job types of other programs: what their workers say of them, and what the door makes of it.

Held while an app is open; filled by `type_sharing` from the store's type board.
Invariant: a payload is refused only where every process that runs the type now, as far as is known here, would refuse
it (docs/decisions/0030-types-from-the-store.md).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import msgspec

from gotaskq.board import Notice
from gotaskq.engine.registry import JOB_TYPE
from gotaskq.engine.requests import JobType
from gotaskq.errors import GotaskqError, InvalidPayloadError
from gotaskq.payload_schema import PayloadSchema

Check: TypeAlias = Callable[[bytes], None]

# Workers say what they run once a minute: one that has not for so long, where others of its type have, is gone. Where
# all are gone, those that were there last count.
SIDE_BY_SIDE_MS: Final = 300_000


class _Entry(msgspec.Struct):
    """What is needed of a notice; the rest of it is shown as it is."""

    type: str
    version: int = 1
    queue: str | None = None
    priority: int | None = None
    max_retries: int | None = None
    schema: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """A job type as one version of some program's code has it."""

    body: bytes  # what was said of it: two that are alike are one
    shown: Mapping[str, Any] = field(compare=False)
    version: int = field(compare=False)
    at_the_door: JobType = field(compare=False)


class TypesElsewhere:
    """The types that were heard of; `own` are those of this app's tasks, `own_types` all that have a handler here."""

    def __init__(self, own: Mapping[str, JobType], own_types: Callable[[], Sequence[str]]) -> None:
        self._own = own
        self._own_types = own_types
        self._read: dict[bytes, Variant | None] = {}  # what was made of each notice, None where it is none
        self._variants: dict[str, list[Variant]] = {}  # the newest first
        self.generation = 0  # counts the changes

    def hear(self, notices: Sequence[Notice], *, own: Iterable[bytes] = ()) -> bool:
        """Take what is on the board now, but for what we say ourselves; say whether anything is new."""
        self._read = {notice.body: self._variant(notice.body) for notice in notices}
        heard: dict[str, list[tuple[int, Variant]]] = {}
        for notice in notices:
            variant = self._read[notice.body]
            if variant is not None:
                heard.setdefault(variant.shown["type"], []).append((notice.age_ms, variant))
        skipped = {*own}
        variants = {
            job_type: left
            for job_type, said in heard.items()
            if (left := [variant for variant in _side_by_side(said) if variant.body not in skipped])
        }
        is_new = variants != self._variants
        self._variants = variants
        self.generation += is_new
        return is_new

    def names(self) -> list[str]:
        """Return every type that is known, here or elsewhere, sorted."""
        return sorted({*self._own_types(), *self._variants})

    def shown(self) -> list[Mapping[str, Any]]:
        """Return what is said of the types nobody has here, of each by its newest version."""
        here = {*self._own_types()}
        return [self._variants[job_type][0].shown for job_type in sorted(self._variants) if job_type not in here]

    def at_the_door(self) -> dict[str, JobType]:
        """Return what the door must know of each type, here or elsewhere."""
        known = {**self._own}
        untyped = {*self._own_types()} - self._own.keys()  # a plain handler takes any payload
        for job_type, variants in self._variants.items():
            if job_type not in untyped:
                first = self._own.get(job_type) or variants[0].at_the_door
                known[job_type] = JobType(
                    check=_any_of([first.check, *(variant.at_the_door.check for variant in variants)]),
                    queue=first.queue,
                    priority=first.priority,
                    max_retries=first.max_retries,
                )
        return known

    def _variant(self, body: bytes) -> Variant | None:
        return self._read[body] if body in self._read else _read_notice(body)


def _side_by_side(said: Sequence[tuple[int, Variant]]) -> list[Variant]:
    """Return the variants that run at the same time as the one heard of last, the newest first."""
    youngest_ms = min(age_ms for age_ms, _ in said)
    variants = [variant for age_ms, variant in said if age_ms - youngest_ms < SIDE_BY_SIDE_MS]
    return sorted(variants, key=lambda variant: (-variant.version, variant.body))


def _read_notice(body: bytes) -> Variant | None:
    """Return what a notice says; None for one of a program whose notices say something else."""
    try:
        entry = msgspec.json.decode(body, type=_Entry)
        shown = msgspec.json.decode(body, type=dict[str, Any])
        if JOB_TYPE.fullmatch(entry.type) is None or entry.version < 1:
            return None
        schema = entry.schema
        check = _take if schema is None else PayloadSchema(entry.type, version=entry.version, schema=schema).check
        door = JobType(check=check, queue=entry.queue, priority=entry.priority, max_retries=entry.max_retries)
    except (msgspec.MsgspecError, GotaskqError, ValueError, AttributeError):
        return None
    return Variant(body, shown, entry.version, door)


def _take(_: bytes) -> None:
    """Take any payload."""


def _any_of(checks: Sequence[Check]) -> Check:
    """Return a check that takes what one of these takes, and refuses the rest in the words of the first."""
    first, *others = checks
    if not others:
        return first

    def check(payload_json: bytes) -> None:
        try:
            first(payload_json)
        except InvalidPayloadError:
            if not any(_takes(other, payload_json) for other in others):
                raise

    return check


def _takes(check: Check, payload_json: bytes) -> bool:
    try:
        check(payload_json)
    except InvalidPayloadError:
        return False
    return True
