"""The app that `gotaskq run` serves when it is given none: one handler, so that the service can be tried with curl."""

import asyncio
import logging
from typing import Final

from gotaskq.app import TaskQ
from gotaskq.config import Settings
from gotaskq.job import Job

WORK_S: Final = 0.001
SHOWN_BYTES: Final = 256

logger = logging.getLogger(__name__)


def create_demo(settings: Settings) -> TaskQ:
    """Return an app with the `logger` handler: it logs the job and works for a millisecond."""
    app = TaskQ(settings=settings)

    @app.handler("logger")
    async def log(job: Job) -> None:
        payload = job.payload_json[:SHOWN_BYTES].decode(errors="replace")
        logger.info(
            "job", extra={"job_id": str(job.id), "queue": job.queue, "attempt": job.attempt, "payload": payload}
        )
        await asyncio.sleep(WORK_S)

    return app
