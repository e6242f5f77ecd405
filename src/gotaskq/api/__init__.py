"""The HTTP API: the original's contract to the letter, on Starlette and msgspec."""
