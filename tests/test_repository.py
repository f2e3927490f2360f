"""The repository around the code: what a reader's first commands and a publisher's tools rely on."""

import ast
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
import warnings
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import gbmlib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = [Requirement(line) for line in [*PROJECT["dependencies"], *EXTRAS["book"], *EXTRAS["test"]]]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TARGETS = ("book", "test", "bench", "lab", "rerun", "strip", "clean", "distclean")


def make(*arguments: str) -> subprocess.CompletedProcess:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=inherited, capture_output=True, text=True, check=False)


def under_version_control() -> list[Path]:
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs a git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if (ROOT / name).is_file()]


def tracked() -> list[Path]:
    """Text files under version control that were written for the study; vendored ones are left out."""
    vendored = vendored_files()
    return [path for path in under_version_control() if path not in vendored and b"\0" not in path.read_bytes()]


def test_a_checkout_stays_below_fifty_megabytes():
    assert sum(path.stat().st_size for path in under_version_control()) < 50e6


def vendored_files() -> dict[Path, str]:
    """Files by others, with their SHA-256."""
    static = ROOT / "book" / "_static"
    lines = (static / "checksums.txt").read_text().splitlines()
    return {static / name: digest for digest, name in (line.split("  ", 1) for line in lines)}


# ---------------------------------------------------------------------------------------------------------- commands


def test_make_alone_lists_the_commands():
    done = make()
    assert done.returncode == 0
    for target in TARGETS:
        assert f"make {target}" in done.stdout
    for notebook in NOTEBOOKS:
        assert notebook.stem in done.stdout


@pytest.mark.parametrize("target", [target for target in TARGETS if target != "rerun"])
def test_a_command_is_there(target):
    done = make("--dry-run", target)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("given", [[], ["NOTEBOOK=02_baselin_vnet"]], ids=["none", "unknown"])
def test_rerun_without_a_known_notebook_says_which_there_are(given):
    done = make("rerun", *given)
    assert done.returncode != 0
    for notebook in NOTEBOOKS:
        assert notebook.stem in done.stderr


@pytest.mark.parametrize("name", ["{}", "{}.ipynb", "notebooks/{}.ipynb"])
def test_rerun_takes_a_notebook_by_its_name_or_path(name):
    done = make("--dry-run", "SETUP=", "rerun", f"NOTEBOOK={name.format(NOTEBOOKS[0].stem)}", "ARGS=-p seed 1")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"papermill .*-p seed 1 notebooks/{NOTEBOOKS[0].name} runs/notebooks/", done.stdout)


def test_an_old_python_is_refused_with_a_remedy(tmp_path):
    done = make(f"VENV={tmp_path}/venv", "PYTHON=no-such-python", f"{tmp_path}/venv/bin/pip")
    assert done.returncode != 0
    assert "Python 3.11 or later" in done.stderr
    assert "PYTHON=" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_continuous_integration_runs_the_readers_commands():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    commands = {line.strip() for line in script.read_text().splitlines()}
    assert "make book" in commands
    assert any(line.startswith("make test") for line in commands)


def test_the_readme_names_the_two_commands():
    readme = (ROOT / "README.md").read_text()
    assert "make book" in readme
    assert "make test" in readme


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_a_workflow_is_well_formed(path):
    workflow = yaml.safe_load(path.read_text())
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])


# ------------------------------------------------------------------------------------------------------ requirements


def pins() -> dict[str, Version]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines), "plain pins only"
    pairs = [(canonicalize_name(name), Version(version)) for name, version in (line.split("==") for line in lines)]
    assert len(dict(pairs)) == len(pairs), "pinned twice"
    return dict(pairs)


def test_every_requirement_is_pinned_within_its_bounds():
    pinned = pins()
    for requirement in DECLARED:
        assert canonicalize_name(requirement.name) in pinned, requirement
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_everything_that_comes_along_is_pinned_too():
    """Followed through the installed packages. What PyTorch brings for a graphics card differs between machines."""
    seen, waiting = set(), [(requirement.name, ()) for requirement in DECLARED]
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen or re.match(r"nvidia|cuda|triton", name):
            continue
        seen.add((name, extras))
        try:
            needed = [Requirement(line) for line in distribution(name).requires or []]
        except PackageNotFoundError:
            continue  # belongs to an extra that is not installed here
        for requirement in needed:
            wanted = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            )
            if wanted:
                waiting.append((requirement.name, tuple(sorted(requirement.extras))))
    assert {canonicalize_name(name) for name, _ in seen} - set(pins()) == set()


def imported(folder: Path) -> set[str]:
    """The distributions that the Python files of a folder import."""
    modules = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(node.module.split(".")[0])
    providers = packages_distributions()
    return {
        canonicalize_name(name) for module in modules - sys.stdlib_module_names for name in providers.get(module, ())
    }


def test_the_library_declares_what_it_imports():
    declared = {canonicalize_name(Requirement(line).name) for line in [*PROJECT["dependencies"], *EXTRAS["book"]]}
    assert imported(ROOT / "gbmlib") - declared - {"gbmlib", "setuptools"} == set()


def test_no_requirement_is_without_a_user():
    used = imported(ROOT / "gbmlib") | imported(ROOT / "tests") | imported(ROOT / "benchmarks")
    # Programs, and ipywidgets for what readers build beside the viewer in their own notebooks.
    programs = {"ipywidgets", "jupyter-book", "jupyterlab", "papermill", "ruff"}
    programs |= {"pytest", "pytest-timeout", "pytest-xdist"}
    assert {canonicalize_name(requirement.name) for requirement in DECLARED} - used - programs == set()


def test_the_conda_environment_is_the_same_one():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *names, pip = environment["dependencies"]
    assert environment["channels"] == ["conda-forge"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[book]"]}
    versions = [name.removeprefix("python=") for name in names if name.startswith("python=")]
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert "pip" in names


# --------------------------------------------------------------------------------------------------- sources and texts


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stripped_and_checks_its_parameters(path):
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code), "run `make strip`"
    tagged = [index for index, cell in enumerate(code) if "parameters" in cell["metadata"].get("tags", [])]
    assert tagged == [0]
    assert re.search(r"parameters\.(check|start)\(", "".join(code[1]["source"]))


def test_every_notebook_is_a_chapter_and_every_chapter_has_a_source():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    notebooks = {path.stem for path in NOTEBOOKS}
    for chapter in chapters:
        name = chapter.removeprefix("book/runs/")
        assert name in notebooks if name != chapter else (ROOT / f"{chapter}.md").is_file(), chapter
    assert notebooks <= {Path(chapter).name for chapter in chapters}


def test_no_file_holds_a_path_of_somebodys_machine():
    machine = re.compile(r"(?<![\w.$}/])/(?:work|root|home|Users|tmp)/\w")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in tracked()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if machine.search(line)
    ]
    assert found == []


def test_no_tracked_file_is_large():
    limits = dict.fromkeys(vendored_files(), 2_500_000)  # NiiVue's script
    assert [path for path in [*tracked(), *limits] if path.stat().st_size > limits.get(path, 2_000_000)] == []


def test_the_library_stays_readable():
    """A file is to have 300 lines at most; 400 is where it stops."""
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "gbmlib").rglob("*.py")}
    long = {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > 300}
    if long:
        warnings.warn(f"longer than 300 lines: {long}", stacklevel=1)
    assert {path: length for path, length in long.items() if length > 400} == {}


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_the_code_is_clean(command):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_citation_is_complete():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["version"] == gbmlib.__version__
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


# ------------------------------------------------------------------------------------------------------ vendored files


def test_vendored_files_are_what_they_were():
    vendored = vendored_files()
    for path, digest in vendored.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest, path
    foreign = {path for path in (ROOT / "book" / "_static").rglob("*") if path.suffix in (".js", ".woff", ".woff2")}
    assert foreign <= set(vendored)
    assert {path.name for path in vendored} >= {"LICENSE", "plotly-cartesian.LICENSE"}


def test_the_books_plotly_is_the_python_packages():
    plotly = pytest.importorskip("plotly")
    wanted = plotly.offline.get_plotlyjs_version()
    head = (ROOT / "book/_static/plotly-cartesian.min.js").read_text(encoding="utf-8")[:300]
    assert f"plotly.js (cartesian - minified) v{wanted}\n" in head
    assert f"| {wanted} |" in (ROOT / "book/_static/README.md").read_text()
