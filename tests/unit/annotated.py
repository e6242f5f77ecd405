"""Handlers whose annotations are text, as `from __future__ import annotations` makes them."""

from __future__ import annotations

from decimal import Context as OtherContext
from typing import TYPE_CHECKING

import gotaskq
from gotaskq import Context as Ctx
from gotaskq import Job

if TYPE_CHECKING:
    from collections.abc import Hashable

    from gotaskq import Context


def for_type_checkers_only(ctx: Context) -> None:
    pass


def by_its_module(ctx: gotaskq.Context) -> None:
    pass


def by_another_name(ctx: Ctx) -> None:
    pass


def beside_what_is_not_there(ctx: gotaskq.Context, more: Hashable = 0) -> None:
    pass


def quoted(ctx: "Context") -> None:  # noqa: UP037 - as in a module that got the import later
    pass


def of_the_job(job: Job) -> None:
    pass


def of_another_context(ctx: OtherContext) -> None:
    pass
