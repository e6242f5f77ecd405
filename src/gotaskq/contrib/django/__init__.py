"""Django's tasks on GoTaskQ: a backend for `TASKS`, and the command `manage.py gotaskq_worker`.

For Django 6, and with the package django-tasks for those before. Guide: docs/guides/django.md.
"""

from gotaskq.contrib.django.backend import TaskBackend

__all__ = ["TaskBackend"]
