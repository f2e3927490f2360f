"""What a reader can try in a chapter without a kernel: HTML with its own script, in the book as in JupyterLab."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

from IPython.display import HTML
from scipy import stats

from gbmlib.analysis import factorial, intervals, prevalence, published
from gbmlib.pages import head_to_head_pages, provenance
from gbmlib.study import catalogue, head_to_head
from gbmlib.study.records import Store

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


def reviewer(store: Store) -> list[Any]:
    """How many patients, and which margin, decide the published head to head: for the reader to try.

    Patients come in one order, drawn by chance. The networks without the V-Net come first, then all; each choice is
    left out while one of its cells has no record.
    """
    settings = []
    wanted = {head_to_head.without_vnet: head_to_head.WITHOUT_VNET, head_to_head.cells: head_to_head.NETWORKS}
    for cells, networks in wanted.items():
        for scale, groups in catalogue.published(cells, store).items():
            table = factorial.by_case(groups)
            if not head_to_head_pages.complete(table, networks):
                continue
            names, effects = list(table.columns.unique("network")), factorial.effects(groups)
            by_effect = effects.decided[effects.effect != "interaction"]
            drawn = table[list(product(names, head_to_head.PIPELINES))].sample(frac=1, random_state=0)
            settings.append(
                {
                    "scale": scale,
                    "networks": names,
                    "dice": drawn.to_numpy().reshape(len(drawn), len(names), -1).tolist(),
                    "verdicts": [*by_effect, head_to_head_pages.matters(table, groups)],
                    "margin": factorial.margin(groups),
                }
            )
    if not settings:
        return [provenance.absent("headtohead")]
    most = max(len(one["dice"]) for one in settings)
    t = {n: stats.t.ppf((1 + intervals.CONFIDENCE) / 2, n - 1) for n in range(2, most + 1)}
    return [piece("reviewer", {"settings": settings, "t": t})]
