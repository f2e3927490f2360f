"""The house: rooms that import downward alone, a study that draws nothing, and budgets of files and lines."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "gbmlib"

#: A room may import itself and the rooms before it. (The viewer reads neither the analysis nor the claims.)
ROOMS = (
    *("files", "cohorts", "preprocess", "augment", "models", "planner", "evaluation", "training", "study"),
    *("analysis", "claims", "viewer", "pages", "lab"),
)
NOT_BEFORE = {"viewer": {"analysis", "claims"}}

#: What no module of the engine, the study, the analysis and the claims may import, not even through another.
DRAWS = {"plotly", "matplotlib", "seaborn", "IPython", "ipywidgets"}
PLAIN = ROOMS[: ROOMS.index("viewer")]

#: Flat modules: the package, its command line, and what every room shares. The first two may import any room.
FLAT = {"__init__", "__main__", "files"}

FILES, LINES = 16, 300

#: Lines of Python, JavaScript and CSS of each room. To raise one is a decision that its commit explains.
BUDGETS = {
    "": 450,
    "cohorts": 1515,
    "cohorts/check": 385,
    "cohorts/layouts": 1045,
    "cohorts/phantom": 1010,
    "preprocess": 1180,
    "augment": 910,
    "models": 1100,
    "planner": 655,
    "evaluation": 600,
    "training": 1575,
    "study": 3250,
    "study/pack": 1150,
    "analysis": 3430,
    "claims": 873,
    "viewer": 2599,
    "pages": 3368,
    "lab": 1200,
}

#: Imports that still point the wrong way: (module, what it imports).
KNOWN_IMPORTS = set()


def rooms():
    """The folders of the library that hold modules, by their place below it."""
    return {path.parent.relative_to(LIBRARY).as_posix().replace(".", "") for path in modules().values()}


@cache
def modules():
    """The path of each module of the library, by its name."""
    return {name_of(path): path for path in sorted(LIBRARY.rglob("*.py"))}


def name_of(path):
    """``gbmlib.cohorts.check`` for the folder's ``__init__.py``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(name):
    """The room of a module; the package itself and its command line are in none."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__main__" else ""


@cache
def imports(name):
    """The modules that a module imports, ours as far as they are modules and others by their first name.

    Returns:
        Two sets: all of them, also those within functions; and those that come with the import of the module alone.
    """
    tree = ast.parse(modules()[name].read_text())
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    inside |= {id(node) for block in ast.walk(tree) if is_type_checking(block) for node in ast.walk(block)}
    every, at_once = set(), set()
    for node in ast.walk(tree):
        targets = imported(node)
        every |= targets
        at_once |= targets if id(node) not in inside else set()
    return every, at_once


def is_type_checking(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported(node):
    """What a statement imports."""
    if isinstance(node, ast.Import):
        return {ours_or_first(alias.name) for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are written out"
        return {
            whole if (whole := f"{node.module}.{alias.name}") in modules() else ours_or_first(node.module)
            for alias in node.names
        }
    return set()


def ours_or_first(name):
    return name if name in modules() else name.split(".")[0]


def with_parents(name):
    """A module and the packages that its import runs first."""
    parts = name.split(".")
    return {".".join(parts[:number]) for number in range(1, len(parts) + 1)}


def test_every_module_stands_in_a_room():
    assert {path.stem for path in LIBRARY.glob("*.py")} == FLAT
    assert {room_of(name) for name in modules()} - {""} == set(ROOMS)


def upward():
    """The imports that point the wrong way."""
    for name in modules():
        room = room_of(name)
        if not room:
            continue
        allowed = {"", *ROOMS[: ROOMS.index(room) + 1]} - NOT_BEFORE.get(room, set())
        for target in imports(name)[0]:
            if target.split(".")[0] == "gbmlib" and room_of(target) not in allowed:
                yield name, target


def test_rooms_import_downward_alone():
    found = set(upward())
    assert found - KNOWN_IMPORTS == set()
    assert KNOWN_IMPORTS - found == set(), "mended: strike it from the list"


@cache
def reached(name):
    """All that the import of a module brings with it."""
    seen, waiting = set(), [*with_parents(name)]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        if module in modules():
            for target in imports(module)[1]:
                waiting += with_parents(target) if target in modules() else [target]
    return seen


@pytest.mark.parametrize("room", PLAIN)
def test_what_computes_reaches_nothing_that_draws(room):
    for name in modules():
        if room_of(name) == room:
            assert not reached(name) & DRAWS, name
            assert not imports(name)[0] & DRAWS, name


def test_the_command_line_imports_nothing_before_a_command_asks_for_it():
    assert {target for target in imports("gbmlib.__main__")[1] if target in modules()} == set()


@pytest.mark.parametrize("room", sorted(rooms()))
def test_a_room_keeps_within_its_files_and_lines(room):
    folder = LIBRARY / room
    code = [path for path in folder.iterdir() if path.suffix in (".py", ".js", ".css")]
    lengths = {path.name: len(path.read_text().splitlines()) for path in code}
    assert {name: length for name, length in lengths.items() if name.endswith(".py") and length > LINES} == {}
    assert sum(lengths.values()) <= BUDGETS[room], f"shorten {room}, or raise BUDGETS and say why in the commit"
    assert sum(name.endswith(".py") and name != "__init__.py" for name in lengths) <= FILES


def test_every_budget_is_of_a_room():
    assert set(BUDGETS) == rooms()
