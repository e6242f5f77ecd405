"""The steps of a typed enqueue, each beside what it is compared with: CPU time for a call, in microseconds."""

import asyncio
import inspect
from collections.abc import Callable
from time import process_time

import msgspec

from benchmarks.workloads.jobs import ROOMY
from gotaskq import TaskQ
from gotaskq.payload import decode_payload

TURNS = 20  # so that slow drift of the machine touches all alike
US = 1_000_000


def steps(*, calls: int) -> dict[str, float]:
    """Time each step, in turns."""
    app = TaskQ(settings=ROOMY)

    @app.task("logger")
    async def logger(msg: str, copies: int = 1) -> None: ...

    kind = logger.payload_type
    payload = kind.encode((), {"msg": "hello", "copies": 2})
    signature = inspect.signature(logger)

    def bind() -> bytes:
        bound = signature.bind("hello", copies=2)
        bound.apply_defaults()
        return msgspec.json.encode(bound.arguments)

    ways: dict[str, Callable[[], object]] = {
        "write_keywords_us": lambda: kind.encode((), {"msg": "hello", "copies": 2}),
        "write_positional_us": lambda: kind.encode(("hello",), {"copies": 2}),
        "bind_us": bind,
        "check_us": lambda: kind.check(payload),
        "decode_us": lambda: decode_payload(payload),
    }
    spent = dict.fromkeys(ways, 0.0)
    for _ in range(TURNS):
        for name, way in ways.items():
            spent[name] += _time(way, calls // TURNS)

    async def enqueue() -> dict[str, float]:
        asked = {"enqueue_typed_us": 0.0, "enqueue_untyped_us": 0.0}
        async with app:
            for _ in range(TURNS):
                started = process_time()
                for _ in range(calls // TURNS):
                    await logger.enqueue(msg="hello", copies=2)
                between = process_time()
                for _ in range(calls // TURNS):
                    await app.enqueue("other", {"msg": "hello", "copies": 2})
                asked["enqueue_typed_us"] += between - started
                asked["enqueue_untyped_us"] += process_time() - between
        return asked

    return {name: total / calls * US for name, total in {**spent, **asyncio.run(enqueue())}.items()}


def _time(way: Callable[[], object], calls: int) -> float:
    started = process_time()
    for _ in range(calls):
        way()
    return process_time() - started
