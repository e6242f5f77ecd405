"""Django's settings for the tests; each test puts its own server into TASKS."""

from importlib.util import find_spec

import django

SECRET_KEY = "only for tests"
USE_TZ = True
INSTALLED_APPS = ["tests.contrib.polls", "gotaskq.contrib.django"]
if django.VERSION < (6,):
    assert find_spec("django_tasks")
    INSTALLED_APPS.append("django_tasks")
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
TASKS = {
    "default": {"BACKEND": "gotaskq.contrib.django.TaskBackend", "QUEUES": [], "OPTIONS": {"url": "redis://nowhere"}}
}
