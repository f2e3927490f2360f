"""A small copy of the book, made by the command that makes the real one: every notebook at the scale of the tests."""

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from making import SMALL, make

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    *("Makefile", "_config.yml", "_toc.yml", "CITATION.cff", "pyproject.toml", "constraints.txt"),
    *("book", "gbmlib", "notebooks"),
)

#: Seconds that the first test which needs the copy may wait for it: every notebook is executed.
MAKING = 1800

_spec = importlib.util.spec_from_file_location("browser_fixtures", ROOT / "tests" / "browser" / "conftest.py")
_browser = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _browser
_spec.loader.exec_module(_browser)
browser_page = _browser.browser_page


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if "repository" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(MAKING))


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """One Chromium for a module: playwright stands only one of its kind at a time, and other folders start theirs."""
    program = _browser.chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=_browser.ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """A copy of the repository in which the book has been made. A test that changes something takes ``changeable``."""
    folder = tmp_path_factory.mktemp("book") / "study"
    folder.mkdir()
    for source in map(ROOT.joinpath, SOURCES):
        if source.is_dir():
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__", "runs"))
        else:
            shutil.copy2(source, folder)
    done = make(folder, "book", SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def changeable(repository, tmp_path) -> Path:
    """A copy of that copy, executed notebooks and pages included, to break."""
    return shutil.copytree(repository, tmp_path / "study")


@pytest.fixture(scope="session")
def pages(repository) -> Path:
    """The folder of the rendered pages."""
    return repository / "_build" / "html"
