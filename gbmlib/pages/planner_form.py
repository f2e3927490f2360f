"""Plan your own data set: a form that computes the plan in the reader's browser, in the book as in JupyterLab."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from IPython.display import HTML

from gbmlib.preprocess.fingerprint import Fingerprint

_HERE = Path(__file__).parent


def form(presets: Sequence[Fingerprint]) -> HTML:
    """The form, which needs no kernel; it begins with the first of these data sets.

    Raises:
        ValueError: no data set to begin with, or some that have no name or the same one.
    """
    names = [known.name for known in presets]
    if not names or not all(names) or len(set(names)) < len(names):
        raise ValueError(f"the form offers data sets by name, each once, and begins with the first; these are {names}")
    rows = [
        {
            "name": known.name,
            "shape": known.median_shape,
            "spacing": [float(f"{step:.6g}") for step in known.spacing],
            "cases": known.cases,
            "kinds": sorted(set(known.kinds)),
            "kept": known.kept,
        }
        for known in presets
    ]
    data = json.dumps({"presets": rows}, allow_nan=False).replace("<", "\\u003c")
    return HTML(
        f"<style>{(_HERE / 'planner.css').read_text(encoding='utf-8')}</style>\n"
        f'<div class="gbm-planner"><script type="application/json" class="gbm-planner-data">{data}</script>'
        "<p>Here a form appears where scripts are allowed to run.</p></div>\n"
        f'<script>\nwindow.gbmPlanner ??= (() => {{\n"use strict";\n{script()}\nreturn {{ mountAll }};\n}})();\n'
        "gbmPlanner.mountAll();\n</script>"
    )


def script() -> str:
    """The rule and the form, as JavaScript."""
    return (_HERE / "planner.js").read_text(encoding="utf-8")
