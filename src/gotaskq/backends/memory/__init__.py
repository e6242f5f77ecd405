"""Jobs in the memory of this process."""

from gotaskq.backends.memory.backend import MemoryBackend

__all__ = ["MemoryBackend"]
