"""Callbacks: tells those who asked for it of a job's end, by jobs that are retried, die and are replayed as any other.

Held by `TaskQ`. A callback looks at its job, and until that has ended, asks to be called again later. Whoever sees the
end hastens it; that is a hint, and what is lost with it is time.
Invariant: what was to be said at the first look after the end is what every attempt says.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from gotaskq.callback import CALLBACK_QUEUE, CALLBACK_TYPE, Errand, callback_of
from gotaskq.callback_message import message_of, message_of_gone
from gotaskq.callback_secrets import callback_secrets
from gotaskq.changing import Changing
from gotaskq.context import current_context
from gotaskq.control import Discard, Snooze
from gotaskq.delivery.errors import MissingClientError
from gotaskq.engine.bus import EventBus
from gotaskq.engine.endings import Ended
from gotaskq.engine.registry import Registry
from gotaskq.errors import GotaskqError, JobNotFoundError, StartError, UnavailableError
from gotaskq.events import JobCancelled, JobDied, JobDone
from gotaskq.job import FINAL, PENDING, Job, JobId
from gotaskq.life import Life
from gotaskq.policies.retry import ExponentialBackoff
from gotaskq.pushing import Pushing

SHORTEST_PAUSE_MS: Final = 1_000
LONGEST_PAUSE_MS: Final = 900_000
FIRST_RETRY_MS: Final = 5_000  # a receiver that is restarted is back by then
LAST_RETRY_MS: Final = 3_600_000
MAX_NUDGES: Final = 10_000  # that wait for the store; beyond it, looks find out

_decode = msgspec.json.Decoder(Errand).decode


class Posts(Protocol):
    """What sends: signs, guards, and says what an answer means by what it raises."""

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        message_id: str,
        secrets: Sequence[str],
        headers: Mapping[str, str] = {},
        timeout_s: float | None = None,
        count_as: str = "other",
    ) -> object | None:
        """Return once the receiver has taken it; raises Snooze, Discard, or an error that is worth a retry."""
        ...


class Callbacks:
    """The callbacks of one app."""

    def __init__(self, app: Changing, life: Life, push: Pushing, *, registry: Registry, bus: EventBus) -> None:
        self.posts: Posts | None = None  # None: the deliveries of the app
        self._push = push
        self._secrets: tuple[str, ...] = ()
        self._app = app
        self._life = life
        self._bus = bus
        self._nudges: _Nudges | None = None
        self._is_listening = False
        retry = ExponentialBackoff(FIRST_RETRY_MS, LAST_RETRY_MS)
        registry.register_own(CALLBACK_TYPE, self.carry_out, retry=retry)
        life.before_work.append(self._refuse_without_client)
        life.beside.append(self.nudging)

    async def carry_out(self, job: Job) -> dict[str, object]:
        """Run a callback: say how its job has ended, or look again later."""
        self.listen()
        errand = _read(job)
        message = job.trail.checkpoint_json
        if message is None:
            parent = await self._find(errand)
            now_ms = self._life.choices.clock.now_ms()
            if parent is None:
                message = message_of_gone(errand, now_ms=now_ms, message_id=job.id)
            elif parent.status not in FINAL:
                raise Snooze(self._pause_ms(parent, now_ms) / 1000)
            elif parent.status.value.lower() not in errand.on:
                return {"delivered": False, "status": parent.status.value}
            else:
                message = message_of(parent, message_id=job.id)
            current_context().checkpoint_json(message)
        await self._send(errand, message, job)
        return {"delivered": True}

    async def _send(self, errand: Errand, message: bytes, job: Job) -> None:
        if not self._secrets:
            raise GotaskqError("callbacks cannot be signed here; set CALLBACK_SECRET for the workers too")
        posts = self.posts or self._push.deliveries
        secrets = self._secrets
        await posts.post(errand.url, message, message_id=str(job.id), secrets=secrets, count_as=CALLBACK_TYPE)

    def _refuse_without_client(self) -> None:
        if self._secrets and self.posts is None and self._is_served:
            try:
                self._push.deliveries.open()
            except MissingClientError as error:
                raise StartError("callbacks", error) from error

    @property
    def _is_served(self) -> bool:
        queues = self._life.settings.queues
        return queues is None or CALLBACK_QUEUE in queues

    async def _find(self, errand: Errand) -> Job | None:
        try:
            return await self._app.get(int(errand.job_id))
        except JobNotFoundError:
            return None

    def _pause_ms(self, parent: Job, now_ms: int) -> int:
        """Return for how long to leave a job alone: one that ends unseen is told of after half its age again.

        It must be looked at again before it can end and be forgotten; one that waits for its time ends at no other.
        """
        if parent.status is PENDING and parent.run_after_ms > now_ms:
            return min(parent.run_after_ms - now_ms + SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS)
        rules = self._life.parts.admission.rules.get(parent.queue)
        own_ttl_ms = None if rules is None else rules.complete_job_ttl_ms
        ttl_ms = self._life.settings.complete_job_ttl_ms if own_ttl_ms is None else own_ttl_ms
        longest_ms = min(LONGEST_PAUSE_MS, ttl_ms // 2)
        age_ms = now_ms - max(parent.created_at_ms, parent.run_after_ms)
        return max(SHORTEST_PAUSE_MS, min(age_ms // 2, longest_ms))

    # -- nudges --------------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Hear of the ends of jobs from now on: who never meets a callback pays nothing for them."""
        if not self._is_listening:
            self._is_listening = True
            self._bus.subscribe_to_batches(JobDone, self._tell)
            self._bus.subscribe_to_batches(JobDied, self._tell)
            self._bus.subscribe_to_batches(JobCancelled, self._tell)

    def _tell(self, events: Sequence[Ended]) -> None:
        nudges = self._nudges
        if nudges is None:
            return
        for event in events:
            headers_json = event.job.headers_json
            if headers_json is not None and (callback_id := callback_of(headers_json)) is not None:
                nudges.put(callback_id)

    @contextlib.asynccontextmanager
    async def nudging(self) -> AsyncIterator[None]:
        """Hasten callbacks while the app is open; one that serves some queues only may never meet any by itself."""
        settings = self._life.settings
        self._secrets = callback_secrets(settings)
        self._life.parts.admission.callbacks.hear = self.listen
        if self._secrets and not self._is_served:
            self.listen()
        outer, self._nudges = self._nudges, _Nudges()
        hastening = asyncio.create_task(self._hasten(self._nudges), name="gotaskq-nudges")
        try:
            yield
        finally:
            self._nudges = outer
            hastening.cancel()
            await asyncio.wait([hastening])

    async def _hasten(self, nudges: "_Nudges") -> None:
        while True:
            await nudges.came.wait()
            for callback_id in nudges.taken():
                try:
                    await self._app.run_now(callback_id)
                except UnavailableError:
                    nudges.waiting.clear()
                except GotaskqError:
                    continue  # it runs, has ended or was deleted


class _Nudges:
    """Which callbacks are to be hastened; they belong to the loop the app was opened on."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.waiting: dict[JobId, None] = {}  # in order, each once

    def put(self, callback_id: JobId) -> None:
        if len(self.waiting) < MAX_NUDGES:
            self.waiting[callback_id] = None
            self.came.set()

    def taken(self) -> Iterator[JobId]:
        """Yield them, the oldest first, with those that come meanwhile."""
        self.came.clear()
        while self.waiting:
            callback_id = next(iter(self.waiting))
            del self.waiting[callback_id]
            yield callback_id


def _read(job: Job) -> Errand:
    try:
        return _decode(job.payload_json)
    except msgspec.MsgspecError as error:
        raise Discard(f"this is no payload of a callback: {error}") from error
