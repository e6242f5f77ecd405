"""The settings: what is of interest is TASKS."""

import os

SECRET_KEY = "only a demo"  # noqa: S105
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "demo.urls"
USE_TZ = True
INSTALLED_APPS = ["demo", "gotaskq.contrib.django"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("DATABASE", ":memory:")}}
TASKS = {
    "default": {
        "BACKEND": "gotaskq.contrib.django.TaskBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"url": os.environ.get("BACKEND_URL", "redis://localhost:6379/0"), "max_retries": 2},
    }
}
