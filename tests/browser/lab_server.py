"""A JupyterLab for a test: on this machine alone, with a notebook of its own, and none of the user's settings."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
import pytest

TOKEN = "study"
SECONDS = 60


@contextlib.contextmanager
def served(folder: Path, cells: Sequence[str]) -> Iterator[str]:
    """The address of a JupyterLab while it runs, with ``cells`` as ``notebook.ipynb`` in ``folder / "root"``.

    :func:`opened` opens that notebook.
    """
    pytest.importorskip("jupyterlab")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source.strip()) for source in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    (folder / "root").mkdir()
    nbformat.write(notebook, folder / "root" / "notebook.ipynb")
    port = _free_port()
    settings = [
        *("--no-browser", "--allow-root", f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1"),
        *(f"--ServerApp.root_dir={folder / 'root'}", f"--IdentityProvider.token={TOKEN}", "--LabApp.news_url=None"),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    environment = {key: value for key, value in os.environ.items() if key != "GBM_STATIC"}
    environment |= {
        name: str(folder / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    with (folder / "lab.log").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *settings]
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        address = f"http://127.0.0.1:{port}"
        try:
            _wait(f"{address}/api/status?token={TOKEN}", folder / "lab.log")
            yield address
        finally:
            server.terminate()
            server.wait(20)


def opened(browser_page, address: str, timeout: int = 60_000, **size: int):
    """The page of the notebook that :func:`served` wrote, once its kernel waits: before that no cell is run at all."""
    browser_page.complaints.home += (address,)
    page = browser_page.open(f"{address}/lab/tree/notebook.ipynb?token={TOKEN}&reset", **size)
    page.set_default_timeout(timeout)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    return page


def run(page, index: int):
    """Run the cell and return its locator."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(index)
    cell.locator(".jp-InputArea-editor").click()
    page.keyboard.press("Shift+Enter")
    return cell


def nothing_to_complain_of(browser_page) -> None:
    """No error and no request from elsewhere; what the console says is JupyterLab's own."""
    assert not browser_page.complaints.errors
    assert not browser_page.complaints.requests
    browser_page.complaints.console.clear()


def _wait(address: str, log: Path) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(address, timeout=1)
            return
        except OSError:
            time.sleep(0.25)
    pytest.fail(f"JupyterLab did not start within {SECONDS} s:\n{log.read_text()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
