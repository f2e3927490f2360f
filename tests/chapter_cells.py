"""The first cells of a chapter without a kernel, for tests of what it asks for."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def wanted_by(name, **parameters):
    """What a chapter asks for: its parameters, its check and its first cell of work, without the work."""
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"][:3]
    space: dict = {}
    exec(sources[0], space)
    space |= parameters
    exec("\n".join(sources[1:]), space)
    return space
