"""The first cells of a chapter without a kernel, for tests of what it asks for and refuses."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def started(name, **parameters):
    """What a chapter knows after its check: its defaults, the parameters as papermill puts them after, and the check.

    Raises:
        ParameterError: and whatever else the check refuses.
    """
    return _run(name, 2, parameters)


def wanted_by(name, **parameters):
    """What a chapter asks for: its parameters, its check and its first cell of work, without the work."""
    return _run(name, 3, parameters)


def _run(name, cells, parameters):
    chapter = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    defaults, *others = [cell for cell in chapter if cell["cell_type"] == "code"][:cells]
    assert "parameters" in defaults["metadata"]["tags"], "papermill puts its own after the cell with this tag"
    space: dict = {}
    exec("".join(defaults["source"]), space)
    space |= parameters
    for cell in others:
        exec("".join(cell["source"]), space)
    return space
