"""What a reader can try in a chapter without a kernel: HTML with its own script, in the book as in JupyterLab."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from IPython.display import HTML

from gbmlib.analysis import prevalence, published

_HERE = Path(__file__).resolve().parent


def piece(name: str, data: Any) -> HTML:
    """An element on which ``mount(element, data)`` of ``NAME.js`` is called, once; pieces share ``interactive.css``.

    Raises:
        ValueError: JSON has no word for the data, such as for a NaN.
    """
    inlined = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return HTML(
        f"<style>{(_HERE / 'interactive.css').read_text(encoding='utf-8')}</style>\n"
        f'<div class="gbm-interactive gbm-{name}"><script type="application/json">{inlined}</script>'
        "<p>Here something to try appears where scripts are allowed to run.</p></div>\n"
        f'<script>\n(() => {{\n"use strict";\n{script(name)}\n'
        f'for (const root of document.querySelectorAll(".gbm-{name}:not([data-ready])")) {{\n'
        '  mount(root, JSON.parse(root.querySelector("script").textContent));\n'
        '  root.dataset.ready = "true";\n}\n})();\n</script>'
    )


def script(name: str) -> str:
    """The JavaScript of a piece, which defines ``mount``."""
    return (_HERE / f"{name}.js").read_text(encoding="utf-8")


def repair_table_1() -> HTML:
    """Table 1 of Adeniji and Liu, whose three columns the reader names; each row then implies a share of tumour."""
    table = published.TABLE_1[list(prevalence.METRICS)]
    rows = {"epochs": list(table.index), "rows": table.to_numpy().tolist()}
    return piece("repair", {"metrics": prevalence.METRICS, "rounding": published.TABLE_1_ROUNDING, **rows})
