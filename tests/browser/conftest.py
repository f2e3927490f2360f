"""A real browser for the tests that need one, and a record of everything that a page may not do."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than about ten seconds")


def chromium() -> str:
    """The path of a Chromium; the test is skipped where there is none."""
    named = os.environ.get("CHROMIUM")
    for name in [named] if named else ["chromium", "chromium-browser", "google-chrome"]:
        if found := shutil.which(name):
            return found
    pytest.skip(
        f"CHROMIUM names no program: {named}" if named else "no Chromium on PATH (install one, or set CHROMIUM to it)"
    )


@dataclass
class Complaints:
    """What pages did that no page of the study may do: errors, and requests to anywhere outside their own files (or
    outside the addresses added to ``home``)."""

    home: tuple[str, ...] = ("file://", "data:", "blob:")
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def watch(self, page) -> None:
        page.on("console", lambda message: message.type == "error" and self.console.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: request.url.startswith(self.home) or self.requests.append(request.url))

    def none(self) -> bool:
        return not (self.console or self.errors or self.requests)


class BrowserPage:
    """Opens pages, as many as a test needs, and records their complaints."""

    def __init__(self, browser):
        self.browser = browser
        self.complaints = Complaints()
        self._contexts = []

    def open(self, address: str | Path, *, width: int = 1100, height: int = 800, **context):
        """A playwright page at a file or URL; ``context`` goes to ``Browser.new_context`` (``has_touch=True``, …)."""
        self._contexts.append(self.browser.new_context(viewport={"width": width, "height": height}, **context))
        page = self._contexts[-1].new_page()
        self.complaints.watch(page)
        page.goto(address if isinstance(address, str) else address.resolve().as_uri())
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """One Chromium for the whole session."""
    program = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def browser_page(browser) -> Iterator[BrowserPage]:
    """``browser_page.open(path_or_url, width=…, height=…)`` gives a playwright page, again and again; after the test
    ``browser_page.complaints`` must be empty, unless the test has dealt with them and cleared the lists."""
    pages = BrowserPage(browser)
    yield pages
    pages.close()
    assert pages.complaints.none(), pages.complaints


@pytest.fixture
def opened(browser_page, tmp_path):
    """``opened(viewer, width=…)``: a viewer in a page of its own, its pictures drawn and all its controls unfolded."""

    def opened(viewer, **context):
        page = browser_page.open(viewer.save(tmp_path / "case.html"), **context)
        page.wait_for_selector(".gbm-viewer[data-ready]")
        page.locator(".gbm-more").evaluate("more => (more.open = true)")
        return page

    return opened


@pytest.fixture
def lab(request, browser, tmp_path) -> Iterator[str]:
    """The address of a JupyterLab with the notebook of the module's ``CELLS``."""
    from lab_server import served

    with served(tmp_path, request.module.CELLS) as address:
        yield address
