"""The worker models keep the contract."""

from gotaskq.executors.asyncio_task import AsyncioExecutor
from gotaskq.executors.process.executor import ProcessExecutor
from gotaskq.executors.thread import ThreadExecutor
from gotaskq.testing.conformance import ExecutorConformance
from gotaskq.testing.handlers import ASYNC_HANDLERS, DEF_HANDLERS


class TestAsyncioExecutor(ExecutorConformance):
    handlers = ASYNC_HANDLERS

    def make_executor(self, capacity: int) -> AsyncioExecutor:
        return AsyncioExecutor()


class TestThreadExecutor(ExecutorConformance):
    handlers = DEF_HANDLERS

    def make_executor(self, capacity: int) -> ThreadExecutor:
        return ThreadExecutor(capacity)


class TestProcessExecutor(ExecutorConformance):
    handlers = DEF_HANDLERS

    def make_executor(self, capacity: int) -> ProcessExecutor:
        return ProcessExecutor(max_children=capacity)
