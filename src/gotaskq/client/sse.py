"""Server-Sent Events, read from lines: the part of the format that the service writes, and comments."""

from collections.abc import Iterator

import msgspec

from gotaskq.client.models import JobEvent


class EventReader:
    """Takes lines, without their ends, and gives an event at each empty one that ends one."""

    def __init__(self) -> None:
        self.last_id = ""
        self._name = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Iterator[JobEvent]:
        """Take one line; yields an event if the line ends one."""
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                self.last_id = value
            elif name == "event":
                self._name = value
            elif name == "data":
                self._data.append(value)
            return
        data, name = self._data, self._name
        self._data, self._name = [], ""
        if data:
            yield JobEvent(name, self.last_id, msgspec.json.decode("\n".join(data), type=dict))
