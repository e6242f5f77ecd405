"""What the documentation says is so: its Python runs, its links lead somewhere, and no setting or route is left out."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.redis_stores import CLUSTER_RIGHTS, RIGHTS

import gotaskq
from gotaskq import TaskQ
from gotaskq.api.routes import Routes
from gotaskq.config import VARIABLES, describe, load_settings

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
MAX_README_LINES = 150

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


class Snippet(NamedTuple):
    """A fenced block of one page."""

    page: Path
    line: int
    code: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(language: str) -> list[Snippet]:
    return [
        Snippet(page, text.count("\n", 0, block.start()) + 2, block[2])
        for page in PAGES
        for text in [page.read_text()]
        for block in _BLOCK.finditer(text)
        if block[1] == language
    ]


PYTHON = snippets("python")
RUNNABLE = [snippet for snippet in PYTHON if snippet.code.startswith("# runs\n")]


def links(page: Path) -> Iterator[str]:
    text = _FENCED.sub("", page.read_text())
    return (link[1] for link in _LINK.finditer(text) if "://" not in link[1])


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as the usual renderers make them."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_rights_for_redis_are_those_that_the_tests_of_its_backend_have() -> None:
    page = " ".join((ROOT / "docs/guides/choose-a-backend.md").read_text().split())

    assert f"ACL SETUSER gotaskq on >… {RIGHTS.format('gotaskq:2:')} ```" in page
    assert f"In a Cluster add `{CLUSTER_RIGHTS}`" in page


@pytest.mark.parametrize("snippet", PYTHON, ids=lambda snippet: snippet.name)
def test_a_python_block_compiles(snippet: Snippet) -> None:
    compile(snippet.code, snippet.name, "exec")


@pytest.mark.slow
@pytest.mark.parametrize("snippet", RUNNABLE, ids=lambda snippet: snippet.name)
def test_a_block_that_says_it_runs_does(snippet: Snippet, tmp_path: Path) -> None:
    program = tmp_path / "snippet.py"
    program.write_text(snippet.code)

    ran = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (0, ""), f"{snippet.name}\n{ran.stderr}"


def test_some_blocks_run() -> None:
    assert README in [snippet.page for snippet in RUNNABLE]


@pytest.mark.parametrize("snippet", snippets("json"), ids=lambda snippet: snippet.name)
def test_a_json_block_is_json(snippet: Snippet) -> None:
    json.loads(snippet.code)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)

    assert dead == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "docs" in page.relative_to(ROOT).parts], ids=lambda p: p.name
)
def test_every_page_can_be_found(page: Path) -> None:
    linked = {(source.parent / link.partition("#")[0]).resolve() for source in PAGES for link in links(source)}

    assert page in linked


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= MAX_README_LINES


def test_every_setting_is_in_the_reference_with_its_default() -> None:
    defaults = {name: value for name, value, _ in describe(load_settings({}))}
    rows = re.findall(r"^\| `([A-Z_]+)` \| `(.*?)` \|", (ROOT / "docs/reference/settings.md").read_text(), re.MULTILINE)

    assert rows == [(variable.name, defaults[variable.name]) for variable in VARIABLES]


def test_every_route_is_in_the_reference() -> None:
    routes = [
        f"{method} {route.path}"
        for route in Routes(TaskQ()).routes()
        for method in route.methods or ()
        if method != "HEAD"  # comes with every GET
    ]
    rows = re.findall(r"^\| `([A-Z]+ /\S*)` \|", (ROOT / "docs/reference/http-api.md").read_text(), re.MULTILINE)

    assert sorted(rows) == sorted(routes)


def test_every_public_name_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/library.md").read_text()
    members = [name for name in dir(TaskQ) if not name.startswith("_")]

    assert [name for name in [*gotaskq.__all__, *members] if not re.search(rf"`[^`]*\b{name}\b[^`]*`", page)] == []


def test_every_file_the_architecture_names_is_there() -> None:
    files = {str(path.relative_to(ROOT)) for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.py")}
    named = re.findall(r"`((?:\w+/)*\w+\.py)`", (ROOT / "docs/understand/architecture.md").read_text())

    assert named
    assert [name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)] == []
