"""A store of your own: jobs that outlive the process, in a SQLite file, by a journal of three methods.

Prints:
    mail to ada@example.com
    found DONE ada@example.com
    mail to bob@example.com
"""

import asyncio
import sqlite3
from collections.abc import Mapping
from random import Random
from tempfile import TemporaryDirectory

from gotaskq import Job, TaskQ
from gotaskq.backends.journalled import JournalledBackend
from gotaskq.clock import SystemClock


class SqliteJournal:
    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> list[tuple[str, bytes]]:
        self.db = sqlite3.connect(self.path)
        self.db.execute("PRAGMA locking_mode = EXCLUSIVE")  # until it is closed, no other process runs our jobs, too
        with self.db:
            self.db.execute("BEGIN EXCLUSIVE")
            self.db.execute("CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, record BLOB)")
            return self.db.execute("SELECT key, record FROM records").fetchall()

    def write(self, records: Mapping[str, bytes | None]) -> None:
        gone = [(key,) for key, record in records.items() if record is None]
        with self.db:  # all of them or none
            self.db.executemany("REPLACE INTO records VALUES (?, ?)", records.items())
            self.db.executemany("DELETE FROM records WHERE key = ?", gone)

    def close(self) -> None:
        self.db.close()


async def main(path: str, to: str) -> None:
    app = TaskQ(JournalledBackend(SqliteJournal(path), clock=SystemClock(), rng=Random()))

    @app.handler("email")
    async def send_email(job: Job) -> None:
        print(f"mail to {job.payload['to']}")

    async with app, app.workers(concurrency=2):
        for job in (await app.list_jobs()).jobs:
            print("found", job.status.value, job.payload["to"])
        sent = await app.enqueue("email", {"to": to})
        await app.wait(sent.id, timeout=10)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        for to in ("ada@example.com", "bob@example.com"):  # as one process after the other
            asyncio.run(main(f"{folder}/jobs.db", to))
