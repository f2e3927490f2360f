"""Plan your own data set: a form that computes the plan in the reader's browser, in the book as in JupyterLab.

The page may have no kernel behind it, so the rule is there a second time, as ``planner.js``; ``form.js`` reads
the fields and shows the plan. Both are carried by the cell's output itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gbmlib.preprocess.fingerprint import Fingerprint

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class PlannerForm:
    """A form as HTML that needs no kernel.

    Attributes:
        presets: data sets that it can be filled with; it begins with the first.
    """

    presets: tuple[Fingerprint, ...]

    def _repr_html_(self) -> str:
        presets = [
            {
                "name": of.name,
                "shape": of.median_shape,
                "spacing": [float(f"{step:.6g}") for step in of.spacing],
                "cases": of.cases,
                "kinds": sorted(set(of.kinds)),
                "kept": of.kept,
            }
            for of in self.presets
        ]
        data = json.dumps({"presets": presets}, allow_nan=False).replace("<", "\\u003c")
        style = (_HERE / "planner.css").read_text(encoding="utf-8")
        return (
            f"<style>{style}</style>\n"
            f'<div class="gbm-planner"><script type="application/json" class="gbm-planner-data">{data}</script>'
            "<p>Here a form appears where scripts are allowed to run.</p></div>\n"
            f'<script>\nwindow.gbmPlanner ??= (() => {{\n"use strict";\n{script()}\nreturn {{ mountAll }};\n}})();\n'
            "gbmPlanner.mountAll();\n</script>"
        )

    def __repr__(self) -> str:
        return f"PlannerForm({', '.join(of.name for of in self.presets)})"


def form(presets: Sequence[Fingerprint]) -> PlannerForm:
    """The form, to be filled by hand or from one of these data sets; make it the last expression of a cell.

    Raises:
        ValueError: no data set to begin with, or some that have no name or the same one.
    """
    names = [of.name for of in presets]
    if not names or not all(names) or len(set(names)) < len(names):
        raise ValueError(f"the form offers data sets by name, each once, and begins with the first; these are {names}")
    return PlannerForm(tuple(presets))


def script() -> str:
    """The rule and the form, as JavaScript."""
    return "".join((_HERE / name).read_text(encoding="utf-8") for name in ("planner.js", "form.js"))
