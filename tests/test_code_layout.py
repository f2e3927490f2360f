"""The page on the code's layout: its files are there, and its worked example does in a copy what the page says."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "book/code_layout.md").read_text()


def test_the_files_and_rooms_that_the_page_names_are_there():
    rooms = {name.rstrip("/") for name in re.findall(r"^\| `([\w./]+)` \|", PAGE, re.MULTILINE)}
    assert rooms == {path.relative_to(ROOT / "gbmlib").parts[0] for path in (ROOT / "gbmlib").rglob("[!_]*.py")}
    first = re.findall(r"^\d+\. `([\w/.]+)`", PAGE, re.MULTILINE)
    assert len(first) == 10
    assert sum(len((ROOT / "gbmlib" / name).read_text().splitlines()) for name in first) <= 2300


def changed(lines, diff):
    """A file's lines with those that a block of the page adds after the line that it shows."""
    (at,) = [number for number, line in enumerate(lines) if line == next(x[1:] for x in diff if x.startswith(" "))]
    return [*lines[: at + 1], *(line[1:] for line in diff if line.startswith("+")), *lines[at + 1 :]]


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of what the example needs, with the three changes made."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("gbmlib", "book/facts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "book/claims.yml", folder / "book/claims.yml")
    for name in ("notebooks", "book/records"):
        (folder / name).symlink_to(ROOT / name)
    blocks = re.findall(r"```diff\n# (\S+)\n(.*?)\n```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    for name, diff in blocks:
        path = folder / name
        path.write_text("\n".join([*changed(path.read_text().split("\n"), diff.split("\n"))]))
    return folder


def command(copied, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "gbmlib", *arguments],
        cwd=copied,
        env={"PYTHONPATH": str(copied), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_cell_is_what_the_chapter_wants_of_a_comparison():
    """As ``test_every_comparison_has_a_section`` reads the chapter, with the example's cell before the others."""
    (cell,) = re.findall(r"```python\n(.*?)\n```", PAGE, re.DOTALL)
    chapter = json.loads((ROOT / "notebooks/07_untested_choices.ipynb").read_text())
    others = ["".join(cell["source"]) for cell in chapter["cells"]]
    (pattern,) = {re.sub(r"/\w+", "/", other) for other in others if "comparison.choice(" in other}
    assert re.sub(r"/\w+", "/", cell) == pattern


def test_the_examples_family_is_in_the_catalogue_and_its_claim_asks_for_runs(copied):
    phantoms = "phantom:cases=4,spacing=6,seed=0"
    listed = command(copied, "run", phantoms, "--only", "untested/gelu", "--profile", "test", "--list")
    assert listed.startswith("2 runs")
    assert command(copied, "verdicts", "gelu-helps") == "gelu-helps: not decided yet. 5 of 10 runs have a record\n"


def test_the_examples_network_trains(copied):
    fields = {"model": "unet", "options": {"filters": 4, "pools": [1, 1, 1], "activation": "gelu"}, "spacing": 6}
    fields |= {"cohort": "phantom:cases=4,spacing=6,seed=0", "patch_size": [32, 32, 32], "folds": 2, "epochs": 1}
    fields |= {"learning_rate": 1e-2, "threads": 1}
    command(copied, "run", "--configuration", json.dumps(fields))
    assert len(list((copied / "runs").glob("unet-*/cases.csv"))) == 1
