"""One module a library: how it enqueues and how its worker runs. Each is a program, run in that library's own venv."""
