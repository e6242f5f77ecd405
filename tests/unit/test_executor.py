"""Which functions another process can find by name, and what is said of the others."""

from functools import partial

import pytest

from gotaskq.errors import RegistrationError
from gotaskq.executor import Handler, importable_name
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
