"""Keywords: what calls take as `**options: Unpack[...]` is held to its TypedDict where no type checker looks.

Invariant: a name nobody knows is refused. One that is passed over would do something else than was meant: a filter less
is an act on more jobs.
"""

from collections.abc import Mapping


def refuse_unknown(given: Mapping[str, object], kind: type) -> None:
    """Raise TypeError, as a call of a function would, for an option that `kind`, a TypedDict, does not name."""
    known = kind.__annotations__
    for name in given:
        if name not in known:
            raise TypeError(f"unexpected keyword argument {name!r}; known are {', '.join(sorted(known))}")
