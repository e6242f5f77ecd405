"""The application, for INSTALLED_APPS: it brings the command."""

from django.apps import AppConfig


class GotaskqConfig(AppConfig):
    """The worker command; no models, no settings of its own."""

    name = "gotaskq.contrib.django"
    label = "gotaskq"
    verbose_name = "GoTaskQ"
