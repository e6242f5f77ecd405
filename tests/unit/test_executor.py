"""What a handler's signature says, which functions another process can find by name, and what is said of the others."""

from functools import partial

import pytest
from tests.unit import annotated

from gotaskq import Context
from gotaskq.errors import RegistrationError
from gotaskq.executor import Handler, importable_name, takes_context
from gotaskq.job import Job


def at_top_level(job: Job) -> None:
    pass


async def asynchronous(job: Job) -> None:
    pass


class Resizer:
    @staticmethod
    def resize(job: Job) -> None:
        pass

    def bound(self, job: Job) -> None:
        pass

    def bound_with_context(self, ctx: Context) -> None:
        pass

    @classmethod
    def of_the_class(cls, ctx: Context) -> None:
        pass


class Callable:
    def __call__(self, ctx: Context) -> None:
        pass


async def with_context(ctx: Context, *, more: int = 0) -> None:
    pass


def without_annotation(ctx):  # type: ignore[no-untyped-def]  # as users may write it
    pass


def without_parameters() -> None:
    pass


def of_both(job: Job, ctx: Context) -> None:
    pass


def local() -> Handler:
    def handler(job: Job) -> None:
        pass

    return handler


def in_main() -> Handler:
    def handler(job: Job) -> None:
        pass

    handler.__module__, handler.__qualname__ = "__main__", "handler"
    return handler


def test_a_function_of_a_module_has_a_name() -> None:
    assert importable_name(at_top_level) == f"{__name__}:at_top_level"
    assert importable_name(Resizer.resize) == f"{__name__}:Resizer.resize"
    assert importable_name(asynchronous) == f"{__name__}:asynchronous"


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (lambda job: None, r"<lambda> cannot run in a process: .* at the top level of a module"),
        (local(), r"local\.<locals>\.handler cannot run in a process: .* at the top level of a module"),
        (in_main(), r"handler cannot run in a process: .* Move it to a module of its own and import it"),
        (partial(at_top_level), r"it is no plain function\. Write a `def`"),
        (Resizer().bound, r"it is no plain function\. Write a `def`"),
        (print, r"it is no plain function\. Write a `def`"),
    ],
)
def test_a_handler_no_child_can_find_is_refused_with_what_to_do(handler: Handler, text: str) -> None:
    with pytest.raises(RegistrationError, match=text):
        importable_name(handler)


@pytest.mark.parametrize(
    "handler",
    [
        with_context,
        partial(with_context, more=1),
        Resizer().bound_with_context,
        Resizer.of_the_class,
        Callable(),
        annotated.for_type_checkers_only,
        annotated.by_its_module,
        annotated.by_another_name,
        annotated.beside_what_is_not_there,
        annotated.quoted,
    ],
)
def test_a_handler_whose_first_parameter_is_the_context_takes_it(handler: Handler) -> None:
    assert takes_context(handler)


@pytest.mark.parametrize(
    "handler",
    [
        at_top_level,
        Resizer().bound,
        partial(at_top_level),
        without_annotation,
        without_parameters,
        of_both,
        print,
        int,
        annotated.of_the_job,
        annotated.of_another_context,
    ],
)
def test_another_handler_takes_the_job(handler: Handler) -> None:
    assert not takes_context(handler)
