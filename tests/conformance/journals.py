"""Journals for tests: one in a dict, and one that fails or waits when it is told to."""

import threading
from collections.abc import Mapping


class DictJournal:
    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    def read(self) -> list[tuple[str, bytes]]:
        return list(self.records.items())

    def write(self, records: Mapping[str, bytes | None]) -> None:
        for key, record in records.items():
            if record is None:
                self.records.pop(key, None)
            else:
                self.records[key] = record

    def close(self) -> None: ...


class WilfulJournal(DictJournal):
    """Counts its writes, waits before each while its gate is shut, and fails them while it is broken."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.is_broken = False
        self.gate = threading.Event()
        self.gate.set()
        self.is_asked = threading.Event()

    def write(self, records: Mapping[str, bytes | None]) -> None:
        self.is_asked.set()
        self.gate.wait()
        if self.is_broken:
            raise OSError(28, "No space left on device")
        self.writes += 1
        super().write(records)
