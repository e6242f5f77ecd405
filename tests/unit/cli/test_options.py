"""`gotaskq run`'s app: found by name, with the settings in force, or one clear line."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gotaskq import Settings, TaskQ
from gotaskq.cli.options import load_app
from gotaskq.errors import ConfigError

SETTINGS = Settings(num_workers=3)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with modules of its own, none of which outlives the test."""
    known = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "shop_tasks.py").write_text("from gotaskq import TaskQ\napp = TaskQ()\nother = TaskQ()\nnumber = 7\n")
    (tmp_path / "shop_package").mkdir()
    (tmp_path / "shop_package" / "__init__.py").write_text("")
    (tmp_path / "shop_package" / "tasks.py").write_text("from shop_tasks import app\n")
    (tmp_path / "shop_broken.py").write_text("import no_such_library\n")
    (tmp_path / "shop_faulty.py").write_text("raise ValueError('at import')\n")
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.mark.parametrize(
    "name", ["shop_tasks:app", "shop_tasks:other", "shop_tasks", "shop_tasks:", "shop_package.tasks:app"]
)
def test_an_app_is_found_in_the_working_directory_and_takes_the_settings(name: str) -> None:
    app = load_app(name, SETTINGS)

    assert isinstance(app, TaskQ)
    assert app.settings == SETTINGS


def test_without_a_name_there_is_the_demo() -> None:
    app = load_app(None, SETTINGS)

    assert app.job_types == ["logger"]
    assert app.settings == SETTINGS


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("no_such:app", "no_such"),
        ("no.such.module:app", "no.such.module"),
        ("shop_package.no_such:app", "shop_package.no_such"),
        ("shop_tasks.below:app", "shop_tasks.below"),
        ("shop_tasks.py", "shop_tasks.py"),
        ("shop/tasks", "shop/tasks"),
        ("../shop_tasks:app", "../shop_tasks"),
        (".shop_tasks:app", ".shop_tasks"),
        (":app", ""),
        ("", ""),
    ],
)
def test_a_module_that_is_not_there_is_named(name: str, module: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_app(name, SETTINGS)

    assert error.value.variable == "APP"
    assert error.value.allowed == f"there is no module {module!r} here or on the path"


@pytest.mark.parametrize("attribute", ["missing", "number", "app.handler", "TaskQ"])
def test_an_attribute_that_is_no_app_is_named(attribute: str) -> None:
    with pytest.raises(ConfigError, match=f"shop_tasks has no TaskQ named {attribute}; write module:attribute"):
        load_app(f"shop_tasks:{attribute}", SETTINGS)


def test_a_library_the_module_needs_and_does_not_find_is_its_own_fault() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load_app("shop_broken:app", SETTINGS)


def test_what_the_module_raises_comes_through() -> None:
    with pytest.raises(ValueError, match="at import"):
        load_app("shop_faulty:app", SETTINGS)
