"""Signatures: what a function's parameters and its return annotation say about its jobs.

Used by `task`, when a task is defined. Pure: a function goes in, a description comes out.
Invariant: what is described can be written as JSON and read back; the rest is refused, by the parameter's name.
"""

import copy
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from functools import partial
from types import SimpleNamespace, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta

from gotaskq.context import INJECTED, Context
from gotaskq.custom_types import from_json, is_model, to_json
from gotaskq.errors import RegistrationError

VERSION_MEMBER: Final = "$v"  # no parameter can have this name
VERSION_FIELD: Final = "gotaskq_payload_version"
WHAT_IS_TAKEN: Final = (
    "use what JSON can hold: str, int, float, bool, None, datetime, UUID, Decimal, bytes, enums, Literal, "
    "list, dict, tuple, set, dataclasses, attrs classes, TypedDict, msgspec Structs or pydantic models. "
    "What a worker opens is injected: define an @app.resource that yields it, above the task"
)

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of the jobs; `default` is NODEFAULT where it is required."""

    name: str
    type: Any
    default: object


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes beside its context and its resources (by name), and what it returns."""

    parameters: tuple[Parameter, ...]
    positional: tuple[str, ...]  # the parameters that may be given by position, in order
    takes_context: bool
    resources: Mapping[str, type]
    returns: Any


def read_signature(function: Callable[..., object], *, injectable: Collection[type] = ()) -> Signature:
    """Describe a function, whose parameters of these types are injected.

    Raises RegistrationError that names the parameter no payload could fill.
    """
    name = getattr(function, "__qualname__", repr(function))
    if not inspect.isfunction(function):
        raise RegistrationError(f"{name} is no function; decorate a `def` or an `async def`")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise RegistrationError(f"{name} is a generator: calling it runs nothing. Return a value instead of yielding")
    given = list(inspect.signature(function).parameters.values())
    types = {parameter.name: _type_of(function, parameter) for parameter in given}
    takes_context = bool(given) and types[given[0].name] is Context
    resources: dict[str, type] = {}
    arguments: list[inspect.Parameter] = []
    for parameter in given[1:] if takes_context else given:
        _check_kind(name, parameter)
        annotation = types[parameter.name]
        if any(annotation is kind for kind in injectable):
            resources[parameter.name] = annotation
        else:
            _check_type(name, parameter, annotation)
            arguments.append(parameter)
    return Signature(
        tuple(_parameter(name, parameter, types[parameter.name]) for parameter in arguments),
        tuple(parameter.name for parameter in arguments if parameter.kind is parameter.POSITIONAL_OR_KEYWORD),
        takes_context,
        resources,
        _returned_type(function),
    )


def make_struct(signature: Signature, *, job_type: str, version: int) -> type[msgspec.Struct]:
    """Return the type of the payloads: one member for each parameter, no others, and the version when it is not 1."""
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        (parameter.name, parameter.type, *_as_field_default(parameter.default)) for parameter in signature.parameters
    ]
    if version > 1:
        fields.append((VERSION_FIELD, Literal[version]))
    return msgspec.defstruct(
        _NOT_IN_A_NAME.sub(lambda found: f"_{ord(found[0]):x}_", job_type),  # `a:b` and `a/b` are two
        fields,
        module=f"gotaskq.{job_type}",  # tells it from a user's type with the same name, in schemas
        kw_only=True,
        forbid_unknown_fields=True,
        rename={VERSION_FIELD: VERSION_MEMBER},
    )


def can_be_read(annotation: Any) -> bool:
    """Whether JSON can be read as this type."""
    try:
        info = msgspec.inspect.type_info(annotation)
        msgspec.json.Decoder(annotation, dec_hook=from_json)
    except (TypeError, ValueError, RecursionError):
        return False
    return all(map(_is_known, _custom_classes(info)))


def _type_of(function: Callable[..., object], parameter: inspect.Parameter) -> Any:
    if parameter.annotation is inspect.Parameter.empty:
        raise _refusal(function.__qualname__, parameter, "has no annotation; write its type (`object` takes any JSON)")
    try:
        resolved = _resolve(function, parameter.annotation)
    except Exception as error:  # an annotation is any expression
        raise _refusal(
            function.__qualname__,
            parameter,
            f"has the annotation {parameter.annotation!r}, which cannot be looked up: {error}. "
            f"Import or define its names at the top of the module, and not under `if TYPE_CHECKING`",
        ) from error
    return Any if resolved is object else _with_format(resolved)


def _with_format(annotation: Any) -> Any:
    """Return the annotation with what its schema would leave out: a datetime is text in a certain form."""
    for plain, form in ((datetime, "date-time"), (time, "time")):
        if annotation is plain:  # msgspec says it only of those with a time zone
            return Annotated[annotation, Meta(extra_json_schema={"format": form})]
    origin, parts = get_origin(annotation), tuple(map(_with_format, get_args(annotation)))
    if origin in (Union, UnionType):
        return Union[parts]  # noqa: UP007 - of a tuple
    return origin[parts] if origin in (list, dict, set, frozenset, tuple) and parts else annotation


def _resolve(function: Callable[..., object], annotation: object) -> Any:
    """Return what an annotation means, also one that is text."""
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    holder = SimpleNamespace(__annotations__={"it": annotation})
    return get_type_hints(holder, globalns=scope, include_extras=True)["it"]


def _returned_type(function: Callable[..., object]) -> Any:
    """Return what the function says it returns, or Any: what it returns need not be kept."""
    annotation = inspect.signature(function).return_annotation
    if annotation is inspect.Signature.empty:
        return Any
    try:
        resolved = _resolve(function, annotation)
    except Exception:  # noqa: BLE001 - an annotation is any expression
        return Any
    return resolved if can_be_read(resolved) else Any


def _check_kind(function: str, parameter: inspect.Parameter) -> None:
    match parameter.kind:
        case parameter.VAR_POSITIONAL | parameter.VAR_KEYWORD:
            raise _refusal(function, parameter, "takes any number of arguments; name each one")
        case parameter.POSITIONAL_ONLY:
            raise _refusal(function, parameter, "is positional-only, and a payload has names; remove the `/`")
        case _:
            pass


def _check_type(function: str, parameter: inspect.Parameter, annotation: Any) -> None:
    if annotation is Context:
        raise _refusal(function, parameter, "is a Context, which only the first parameter can be")
    if parameter.default is INJECTED:
        shown = getattr(annotation, "__qualname__", repr(annotation))
        reason = f"is to be injected, and no resource yields a {shown}; define one with @app.resource, above the task"
        raise _refusal(function, parameter, reason)
    try:
        info = msgspec.inspect.type_info(annotation)
        msgspec.json.Decoder(annotation, dec_hook=from_json)
    except (TypeError, ValueError, RecursionError) as error:
        raise _refusal(function, parameter, f"cannot be read from JSON: {error}") from error
    for cls in _custom_classes(info):
        if not _is_known(cls):
            shown = getattr(cls, "__qualname__", repr(cls))
            raise _refusal(function, parameter, f"has the type {shown}, which no payload can hold; {WHAT_IS_TAKEN}")


def _is_known(cls: object) -> bool:
    return cls is object or is_model(cls)


def _custom_classes(info: object) -> Iterator[object]:
    """Return the classes msgspec does not know, in all of what a type is made of."""
    pending, seen = [info], set[int]()
    while pending:
        part = pending.pop()
        if isinstance(part, tuple):
            pending.extend(part)
        elif isinstance(part, msgspec.inspect.Type | msgspec.inspect.Field) and id(part) not in seen:
            seen.add(id(part))  # a type may be made of itself
            if isinstance(part, msgspec.inspect.CustomType):
                yield part.cls
            pending.extend(getattr(part, name) for name in part.__struct_fields__)


def _parameter(function: str, parameter: inspect.Parameter, annotation: Any) -> Parameter:
    if parameter.default is parameter.empty:
        return Parameter(parameter.name, annotation, NODEFAULT)
    try:
        written = msgspec.json.encode(parameter.default, enc_hook=to_json)
        msgspec.json.Decoder(annotation, dec_hook=from_json).decode(written)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        reason = f"has the default {parameter.default!r}, which does not fit its own type: {error}"
        raise _refusal(function, parameter, reason) from error
    return Parameter(parameter.name, annotation, parameter.default)


def _as_field_default(default: object) -> tuple[object, ...]:
    if default is NODEFAULT:
        return ()
    if isinstance(default, list | dict | set | bytearray):  # what a job does to it must not reach the next one
        return (msgspec.field(default_factory=partial(copy.deepcopy, default)),)
    return (default,)


def _refusal(function: str, parameter: inspect.Parameter, reason: str) -> RegistrationError:
    return RegistrationError(f"parameter {parameter.name!r} of {function} {reason}")
