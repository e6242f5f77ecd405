"""Finds the tasks of a project: the Task objects that its modules define under their functions' names.

Invariant: a name from the store is looked up among modules that this process has imported; it never imports one. So
whoever can write jobs can run tasks, and nothing else.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from django.conf import settings
from django.utils.module_loading import autodiscover_modules

from gotaskq.contrib.django.framework import Task


def load_tasks() -> None:
    """Import where tasks are defined: `tasks.py` of each application, and whatever the URLs lead to."""
    autodiscover_modules("tasks")
    if urls := getattr(settings, "ROOT_URLCONF", None):
        import_module(urls)


def defined_tasks() -> dict[str, Task]:
    """Return every task of the modules imported so far, by its module path."""
    found = {}
    for module in list(sys.modules.values()):
        for value in list(_names(module).values()):
            if _is_task(value) and find_task(value.module_path) is value:
                found[value.module_path] = value
    return found


def find_task(path: str) -> Any:  # a Task or None; Django has no types
    """Return the task with this module path; None where no module imported so far defines one."""
    module, _, name = path.rpartition(".")
    value: Any = _names(sys.modules.get(module)).get(name)
    return value if _is_task(value) and value.module_path == path else None


def _names(module: ModuleType | None) -> dict[str, Any]:
    return getattr(module, "__dict__", {})


def _is_task(value: object) -> bool:
    return issubclass(type(value), Task)  # isinstance would wake objects that are made when first looked at
