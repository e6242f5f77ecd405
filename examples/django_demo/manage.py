"""A Django project that sends its e-mail as tasks.

BACKEND_URL=redis://localhost:6379/0 python manage.py runserver
BACKEND_URL=redis://localhost:6379/0 python manage.py gotaskq_worker --queues mail:5,default --concurrency 4
"""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")
    execute_from_command_line(sys.argv)
