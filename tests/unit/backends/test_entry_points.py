"""A backend of an installed package: its scheme works as ours do, and what is wrong with it is said."""

import sys
from pathlib import Path
from random import Random

import pytest

from gotaskq import TaskQ
from gotaskq.backends import open_backend
from gotaskq.clock import SystemClock
from gotaskq.errors import ConfigError
from gotaskq.store_limits import StoreLayout, StoreLimits

MODULE = """
from gotaskq.backends.memory import MemoryBackend

class ShelfBackend(MemoryBackend):
    url = ""

def open_shelf(url, limits, layout, clock, rng):
    backend = ShelfBackend(limits, clock=clock, rng=rng)
    backend.url = url
    return backend
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of installed packages."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(site: Path, package: str, *, scheme: str = "shelf", value: str = "{module}:open_shelf") -> None:
    """Install a package as pip leaves it: a module, and a dist-info folder that names its entry point."""
    module = package.replace("-", "_")
    (site / f"{module}.py").write_text(MODULE)
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[gotaskq.backends]\n{scheme} = {value.format(module=module)}\n")


def refusal(url: str) -> str:
    with pytest.raises(ConfigError) as error:
        open_backend(url, limits=StoreLimits(), layout=StoreLayout(), clock=SystemClock(), rng=Random(1))
    return str(error.value)


async def test_an_installed_backend_is_opened_by_its_scheme(site: Path) -> None:
    install(site, "gotaskq-shelf")

    async with TaskQ("shelf://somewhere?deep=1") as app:
        job = await app.enqueue("email")

        assert await app.get(job.id) == job
        assert app.backend_name == "shelf://somewhere?deep=1"

    assert "gotaskq_shelf" in sys.modules


def test_a_refusal_names_the_schemes_that_are_served(site: Path) -> None:
    install(site, "gotaskq-other-shelf", scheme="bookshelf")

    assert refusal("floor://user:secret@somewhere") == (
        "BACKEND_URL='floor://…': no backend serves this; must be one of: bookshelf://, memory://, redis://, "
        "redis+cluster://, redis+sentinel://, rediss://, rediss+cluster://, rediss+sentinel://, valkey://, valkeys://"
    )


def test_our_own_schemes_cannot_be_taken(site: Path) -> None:
    install(site, "gotaskq-thief", scheme="memory")

    assert "takes nothing behind it" in refusal("memory://x")


def test_two_packages_for_one_scheme_are_told(site: Path) -> None:
    install(site, "gotaskq-shelf-a", scheme="twice")
    install(site, "gotaskq-shelf-b", scheme="twice")

    assert "gotaskq-shelf-a and gotaskq-shelf-b both serve this" in refusal("twice://")


@pytest.mark.parametrize("value", ["gotaskq_nowhere:open_shelf", "{module}:open_nothing"])
def test_a_package_that_is_broken_is_named(site: Path, value: str) -> None:
    install(site, "gotaskq-broken", scheme="broken", value=value)

    assert "gotaskq-broken serves this, and cannot be loaded" in refusal("broken://")
