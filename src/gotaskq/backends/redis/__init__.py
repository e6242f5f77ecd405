"""Jobs in Redis or Valkey: durable as the server is, shared by any number of processes on any number of hosts."""

from gotaskq.backends.redis.backend import RedisBackend

__all__ = ["RedisBackend"]
