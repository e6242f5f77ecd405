"""A worker with one busy and one idle child, to be killed: `python -m tests.faults.mortal_worker HANDLER PORT`."""

import asyncio
import sys

from tests.faults import crashing
from tests.unit.engine.jobs import running

from gotaskq.executors.process.executor import ProcessExecutor


async def main(handler: str, port: str) -> None:
    executor = ProcessExecutor(max_children=2)
    executor.open()
    job = running(payload_json=port.encode())
    busy = asyncio.ensure_future(executor.run(getattr(crashing, handler), job))
    await executor.run(crashing.sit, job)
    await busy


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
