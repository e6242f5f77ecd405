"""A slot for each test that needs one."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.unit.engine.jobs import NoReports

from gotaskq.engine.slot import Slot


@pytest.fixture
async def slot() -> AsyncIterator[Slot]:
    slot = Slot(NoReports())
    yield slot
    if slot.task is not None and not slot.task.done():
        slot.task.cancel()
        await asyncio.wait([slot.task])
