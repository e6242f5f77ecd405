"""Who may import whom: the law of the house, and its documentation. Change it only with a decision record."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "gotaskq"

# Module or folder → its layer. The first match counts.
LAYERS = {
    "api": "surfaces",
    "cli": "surfaces",
    "client": "surfaces",
    "contrib": "surfaces",
    "demo": "surfaces",
    "processes": "surfaces",
    "testing": "testing",
    "app": "assembly",
    "assembly": "assembly",
    "observation": "assembly",
    "handle": "assembly",
    "descriptions": "assembly",
    "examples": "assembly",
    "type_sharing": "assembly",
    "types_elsewhere": "assembly",
    "task": "assembly",
    "sync_door": "assembly",
    "stand_in": "assembly",
    "life": "assembly",
    "steering": "assembly",
    "lifespan": "assembly",
    "queue_handle": "assembly",
    "pushing": "assembly",
    "push_file": "assembly",
    "callback": "vocabulary",
    "callback_message": "assembly",
    "callback_secrets": "assembly",
    "callbacks": "assembly",
    "config": "settings",
    "kinds": "settings",
    "env_file": "settings",
    "engine": "engine",
    "backends": "adapters",
    "delivery": "adapters",
    "executors": "adapters",
    "metrics": "adapters",
    "prometheus": "adapters",
    "logs": "adapters",
    "backend": "contracts",
    "partly_stored": "contracts",
    "board": "contracts",
    "store_limits": "contracts",
    "executor": "contracts",
    "governing": "contracts",
    "queue_rules": "vocabulary",
    "token_bucket": "vocabulary",
    "policies": "contracts",
    "payload_schema": "contracts",
    "payload_type": "contracts",
    "signature": "contracts",
    "custom_types": "vocabulary",
    "context": "contracts",
    "control": "vocabulary",
    "errors": "vocabulary",
    "failure": "vocabulary",
    "headers": "vocabulary",
    "trail": "vocabulary",
    "job": "vocabulary",
    "amendment": "vocabulary",
    "criteria": "vocabulary",
    "instants": "vocabulary",
    "filters": "assembly",
    "changing": "assembly",
    "bulk": "assembly",
    "operations": "assembly",
    "presence": "assembly",
    "recurring": "assembly",
    "dead_letters": "assembly",
    "fingerprint": "vocabulary",
    "explaining": "assembly",
    "happening": "vocabulary",
    "happening_log": "contracts",
    "telling": "assembly",
    "keys": "vocabulary",
    "payload": "vocabulary",
    "outcome": "vocabulary",
    "events": "vocabulary",
    "clock": "vocabulary",
    "names": "vocabulary",
    "keywords": "vocabulary",
    "merge_patch": "vocabulary",
    "importing": "assembly",
    "replaying": "assembly",
    "snowflake": "vocabulary",
}

MAY_IMPORT = {
    "vocabulary": {"vocabulary"},
    "contracts": {"vocabulary", "contracts"},
    "adapters": {"vocabulary", "contracts"},  # never the engine; of the other adapters see SAME_FOLDER
    "engine": {"vocabulary", "contracts", "engine"},  # meets adapters only through contracts
    "settings": {"vocabulary", "settings"},
    "assembly": {"vocabulary", "contracts", "adapters", "engine", "settings", "assembly"},
    "surfaces": {"vocabulary", "assembly", "settings", "surfaces"},
    "testing": {"vocabulary", "contracts", "assembly", "settings", "testing"},
}

# Single doors through the walls, each with its reason.
DOORS = {
    ("app", "api.asgi"): "TaskQ.asgi() and TaskQ.run() open the surface, imported when called",
    ("app", "api.server"): "TaskQ.asgi() and TaskQ.run() open the surface, imported when called",
    ("prometheus", "metrics"): "the page is made of the counters",
    ("testing.trial", "engine.resources"): "a trial gives a handler its resources as a worker would",
    ("api.schemas", "engine.requests"): "a body becomes admission's request",
    ("api.batches", "engine.requests"): "a body becomes admission's requests",
    ("api.dead_lines", "engine.requests"): "a line becomes admission's request",
    ("api.frames", "engine.admission"): "a known frame stands for admission's mould",
    ("api.once", "engine.requests"): "a key joins admission's request",
    ("api.frames", "engine.requests"): "a body becomes admission's request",
    ("api.submit", "engine.requests"): "a body becomes admission's request",
    ("api.submit", "engine.admission"): "the one door, called by both lanes",
    ("api.submit", "engine.refusal"): "what the answers of a batch say of it",
    ("api.happenings", "happening_log"): "how much is kept, and for how long, is the same wherever it is kept",
    ("api.shared_happenings", "happening_log"): "the log that the app holds is read for those who watch",
    ("api.leases", "engine.leasing"): "a body becomes a worker's wish",
    ("api.leases", "engine.registry"): "what a job type may be called",
    ("api.server", "engine.worker"): "the server stops the worker the app started",
    ("processes.counts", "metrics"): "counters of several processes are added up",
    ("cli.settings", "backend"): "what a check of the store found is printed as it is",
    ("cli.options", "logs"): "the server process sets logging up",
    ("testing.simulation.store", "backends"): "a simulated fleet needs a store: the executable specification",
    ("contrib.fastapi", "engine.worker"): "the worker the app started, as a type",
    ("contrib.django.backend", "engine.registry"): "a task's path becomes a job type, and must be one",
    ("contrib.django.management.commands.gotaskq_worker", "logs"): "a worker process writes lines of its events",
    ("contrib.django.running", "context"): "what a task's handler is given",
    ("__main__", "cli.main"): "python -m gotaskq",
}

THIRD_PARTIES = {
    "httpx2": {"client"},
    "httpcore2": {"delivery"},  # the part of httpx2 that lets us say which address is connected to
    "redis": {"backends.redis"},
    "starlette": {"api", "app"},  # app: the type of asgi()'s answer only
    "uvicorn": {"api"},
    "httptools": {"api"},
    "uvloop": {"api"},
    "click": {"cli"},
    "prometheus_client": {"prometheus"},
    "fastapi": {"contrib"},
    "django": {"contrib"},
    "django_tasks": {"contrib"},
    "asgiref": {"contrib"},
    "flask": {"contrib"},
    "pytest": {"testing"},
    "pytest_asyncio": {"testing"},
    "hypothesis": {"testing"},
}


def modules() -> list[Path]:
    return sorted(path for path in SRC.rglob("*.py") if path != SRC / "__init__.py")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "gotaskq":
            yield from ((node.lineno, f"gotaskq.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def layer_of(module: str) -> str:
    return LAYERS[module.partition(".")[0]]


def is_in(module: str, place: str) -> bool:
    return module == place or module.startswith(place + ".")


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    module = name_of(path)

    for line, imported in imports_of(path):
        if not imported.startswith("gotaskq."):
            continue
        target = imported.removeprefix("gotaskq.")
        if (module, target) in DOORS or module == "__main__":
            continue
        layer, other = layer_of(module), layer_of(target)
        is_neighbour = layer == other == "adapters" and module.partition(".")[0] == target.partition(".")[0]
        assert other in MAY_IMPORT[layer] or is_neighbour, (
            f"{path.relative_to(SRC.parent)}:{line} imports {imported}: {layer} may import {sorted(MAY_IMPORT[layer])}"
        )


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_third_party_stays_in_its_room(path: Path) -> None:
    module = name_of(path)

    for line, imported in imports_of(path):
        rooms = THIRD_PARTIES.get(imported.partition(".")[0])
        assert rooms is None or any(is_in(module, room) for room in rooms), (
            f"{path.relative_to(SRC.parent)}:{line} imports {imported}, which belongs to {sorted(rooms or [])}"
        )


def test_nothing_that_runs_imports_what_tests_import() -> None:
    offenders = [
        f"{name_of(path)}:{line}"
        for path in modules()
        if not is_in(name_of(path), "testing")
        for line, imported in imports_of(path)
        if imported.startswith("gotaskq.testing")
    ]

    assert offenders == []


FORBIDDEN = {"pickle", "dill", "marshal", "shelve", "yaml"}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_no_module_can_load_code_from_data(path: Path) -> None:
    offenders = [imported for _, imported in imports_of(path) if imported.partition(".")[0] in FORBIDDEN]

    assert offenders == []
