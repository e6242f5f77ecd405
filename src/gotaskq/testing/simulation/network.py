"""The network between simulated processes and their store: it delays, loses and repeats what goes over it.

Invariant: a call ends within CALL_TIMEOUT_S for whoever made it and lives, with the store's reply or with
BackendUnavailableError; in the second case it was carried out once, twice, later, or not at all.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from enum import Enum
from random import Random
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar

from gotaskq.errors import BackendUnavailableError, GotaskqError
from gotaskq.testing.simulation.faults import Fault, Plan
from gotaskq.testing.simulation.loop import SimLoop
from gotaskq.testing.simulation.process import Life, SimProcess
from gotaskq.testing.simulation.store import Call, SimStore

T = TypeVar("T")

CALL_TIMEOUT_S: Final = 2.0  # what a store's client waits for an answer
ONE_WAY_S: Final = (0.000_1, 0.005)  # a network that is well
LATE_S: Final = (0.05, 3.0)  # one that is not; the longest of it is beyond the timeout


class Moment(Enum):
    """Where a call is on its way."""

    SENT = "sent"  # the process has made it; nothing has left yet
    CARRIED_OUT = "carried out"  # the store has done it; the reply has not left yet
    ANSWERED = "answered"  # the process has the reply


Tap: TypeAlias = Callable[[Moment, SimProcess, Call[Any]], None]


class Listener(Protocol):
    """Who is told what goes over the network."""

    def sent(self, process: SimProcess, call: Call[Any]) -> None:
        """Hear that a process makes a call."""
        ...

    def carried_out(self, process: SimProcess, call: Call[Any], reply: Any) -> None:
        """Hear what the store replied, at the instant it did."""
        ...

    def answered(self, process: SimProcess, call: Call[Any], reply: Any) -> None:
        """Hear that a process learns the reply."""
        ...

    def hit(self, process: SimProcess, fault: Fault, call: Call[Any]) -> None:
        """Hear that a fault hits a call of a process."""
        ...


class _Sent(NamedTuple):
    """A call on its way; `answer` is None for the second copy of one, whose reply nobody waits for."""

    process: SimProcess
    call: Call[Any]
    answer: "asyncio.Future[Any] | None"
    until_s: float
    back_s: float
    is_reply_lost: bool


class Network:
    """Carries calls from processes to the store, and replies back."""

    def __init__(self, store: SimStore, listener: Listener, *, loop: SimLoop, rng: Random) -> None:
        self._store = store
        self._listener = listener
        self._loop = loop
        self._rng = rng
        self._rates: tuple[tuple[Fault, float], ...] = ()
        self._outside = Context()  # no process: what is on the wire goes on whatever becomes of its sender
        self.cut_off: set[str] = set()
        self.on_the_way = 0  # requests and replies
        self.taps: list[Tap] = []  # told first of each moment; a test kills processes from here
        self.is_closed = False

    def misbehave(self, plan: Plan) -> None:
        """Begin to hit calls as planned."""
        self._rates = plan.rates

    def heal(self) -> None:
        """Be a good network from now on; what is late or doubled already still comes."""
        self._rates = ()
        self.cut_off.clear()

    async def carry(self, process: SimProcess, call: Call[T]) -> T:
        """Make a call of this process; raises what the store raises, or BackendUnavailableError."""
        if self.is_closed:
            raise BackendUnavailableError("the simulation is over")
        self._tap(Moment.SENT, process, call)
        await self._unless_killed(process)
        answer: asyncio.Future[T] = self._loop.create_future()
        self._listener.sent(process, call)
        self._send(process, call, answer, faults={fault for fault, rate in self._rates if self._rng.random() < rate})
        reply = await answer
        self._tap(Moment.ANSWERED, process, call)
        await self._unless_killed(process)
        self._listener.answered(process, call, reply)
        return reply

    async def _unless_killed(self, process: SimProcess) -> None:
        """Go on, or never: a process that a tap has just killed is still in the middle of its step."""
        if process.life is Life.KILLED:
            await self._loop.create_future()

    async def wait_for_ready(self, process: SimProcess, queues: Any, *, timeout_s: float) -> None:
        """Ask the store to say when jobs may be due; a hint, so one that is lost is a wait until the timeout."""
        if self.is_closed or process.name in self.cut_off:
            raise BackendUnavailableError("the simulation cut this process off")
        waiting = self._loop.create_task(
            self._store.wait_for_ready(queues, timeout_s=timeout_s), context=self._outside.copy()
        )
        waiting.add_done_callback(_heed, context=self._outside)
        await asyncio.wait([waiting])
        waiting.result()

    # -- on the wire -------------------------------------------------------------------------------------------------

    def _send(self, process: SimProcess, call: Call[T], answer: "asyncio.Future[T]", *, faults: set[Fault]) -> None:
        if Fault.REFUSE in faults:
            self._fail(process, call, answer, Fault.REFUSE)
            return
        there_s, back_s = self._one_way_s(faults), self._one_way_s(faults)
        until_s = self._loop.time() + CALL_TIMEOUT_S
        sent = _Sent(process, call, answer, until_s, back_s, Fault.LOSE_REPLY in faults)
        if there_s + back_s >= CALL_TIMEOUT_S:
            self._fail_at(until_s, sent, Fault.DELAY)
        if Fault.DROP in faults:
            self._fail_at(until_s, sent, Fault.DROP)
        else:
            self._later(there_s, self._arrive, sent)
        if Fault.DUPLICATE in faults:
            again = sent._replace(answer=None)
            self._later(there_s + self._rng.uniform(*LATE_S), self._arrive, again)

    def _one_way_s(self, faults: set[Fault]) -> float:
        return self._rng.uniform(*(LATE_S if Fault.DELAY in faults else ONE_WAY_S))

    def _arrive(self, sent: _Sent) -> None:
        """Let the store carry the call out, if it gets there."""
        self.on_the_way -= 1
        process, call, answer = sent.process, sent.call, sent.answer
        if process.name in self.cut_off:
            self._fail_at(sent.until_s, sent, Fault.PARTITION)
            return
        if answer is None or (answer.done() and not answer.cancelled()):
            # Nobody will hear the reply, so nobody holds what it leases. A caller that gave up by itself has no excuse.
            self._listener.hit(process, Fault.DUPLICATE if answer is None else Fault.DELAY, call)
        reply, error = None, None
        try:
            reply = self._store.carry_out(call)
        except GotaskqError as refusal:
            error = refusal
        else:
            self._listener.carried_out(process, call, reply)
        self._tap(Moment.CARRIED_OUT, process, call)
        if answer is None:
            return
        if sent.is_reply_lost:
            self._fail_at(sent.until_s, sent, Fault.LOSE_REPLY)
            return
        self._later(sent.back_s, self._come_back, sent, reply, error)

    def _come_back(self, sent: _Sent, reply: object, error: GotaskqError | None) -> None:
        self.on_the_way -= 1
        if sent.process.name in self.cut_off:
            self._fail_at(sent.until_s, sent, Fault.PARTITION)
        elif sent.answer is not None and not sent.answer.done():
            if error is None:
                sent.answer.set_result(reply)
            else:
                sent.answer.set_exception(error)

    def _fail_at(self, when_s: float, sent: _Sent, fault: Fault) -> None:
        self._listener.hit(sent.process, fault, sent.call)
        if sent.answer is not None:
            self._loop.call_at(when_s, self._fail, sent.process, sent.call, sent.answer, fault, context=self._outside)

    def _fail(self, process: SimProcess, call: Call[T], answer: "asyncio.Future[T]", fault: Fault) -> None:
        if not answer.done():
            self._listener.hit(process, fault, call)
            answer.set_exception(BackendUnavailableError(f"simulated: {fault.value}"))

    def _later(self, delay_s: float, step: Callable[..., None], *args: object) -> None:
        self.on_the_way += 1
        self._loop.call_later(delay_s, step, *args, context=self._outside)

    def _tap(self, moment: Moment, process: SimProcess, call: Call[Any]) -> None:
        for tap in self.taps:
            tap(moment, process, call)


def _heed(waiting: "asyncio.Task[None]") -> None:
    """Look at how a wait ended: whoever asked for it may have been cancelled meanwhile."""
    if not waiting.cancelled():
        waiting.exception()
