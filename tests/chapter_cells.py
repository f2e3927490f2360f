"""Chapters without a kernel, in this process: their first cells alone, or all, and what they show.

The kernel itself, papermill and the pages of what is shown are tested where the book is made (``tests/book``).
"""

import json
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

ROOT = Path(__file__).resolve().parents[1]


def cells_of(name):
    """The cells of a chapter's source."""
    return json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]


def code_of(name, parameters):
    """The code of a chapter, cell by cell, with the parameters where papermill puts its own: after the defaults."""
    defaults, *others = [cell for cell in cells_of(name) if cell["cell_type"] == "code"]
    assert "parameters" in defaults["metadata"]["tags"], "papermill puts its own after the cell with this tag"
    given = "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
    return ["".join(defaults["source"]), given, *("".join(cell["source"]) for cell in others)]


def started(name, **parameters):
    """What a chapter knows after its check.

    Raises:
        ParameterError: and whatever else the check refuses.
    """
    return _run(code_of(name, parameters)[:3])


def wanted_by(name, **parameters):
    """What a chapter asks for: its parameters, its check and its first cell of work, without the work."""
    return _run(code_of(name, parameters)[:4])


def _run(sources):
    space: dict = {}
    for source in sources:
        exec(source, space)
    return space


def shown_by(name, after="", **parameters):
    """What a chapter shows below the heading ``after``, as text: what it prints, and every form of what it displays."""
    cells = cells_of(name)
    heading = next(number for number, cell in enumerate(cells) if "".join(cell["source"]).startswith(after))
    above = sum(cell["cell_type"] == "code" for cell in cells[:heading])
    InteractiveShell.clear_instance()
    shell, texts = InteractiveShell.instance(), []
    shell.history_manager.enabled = False
    # A cell's last expression is displayed as a kernel does, where this shell prints.
    shell.displayhook.write_output_prompt = lambda: None
    shell.displayhook.write_format_data = lambda forms, metadata=None: shell.display_pub.publish(forms)
    try:
        for source in code_of(name, parameters):
            with capture_output() as captured:
                done = shell.run_cell(source)
            done.raise_error()
            forms = [str(dict(sorted(output.data.items()))) for output in captured.outputs]
            texts.append("\n".join([captured.stdout, *forms]))
    finally:
        InteractiveShell.clear_instance()
    return "\n".join(texts[above:])
