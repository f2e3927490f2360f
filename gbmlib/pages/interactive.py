"""What a reader can try in a chapter without a kernel: HTML with its own script, in the book as in JupyterLab."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

from IPython.display import HTML
from scipy import stats

from gbmlib.analysis import factorial, intervals, prevalence, published, spreads
from gbmlib.analysis.factorial import Cells
from gbmlib.pages import head_to_head_pages, patients, plots, provenance
from gbmlib.study import catalogue, head_to_head
from gbmlib.study.records import Store
from gbmlib.viewer import view

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
                    "verdicts": [*by_effect, spreads.apart(table, groups).decided],
                    "margin": factorial.margin(groups),
                }
            )
    if not settings:
        return [provenance.absent("headtohead")]
    most = max(len(one["dice"]) for one in settings)
    t = {n: stats.t.ppf((1 + intervals.CONFIDENCE) / 2, n - 1) for n in range(2, most + 1)}
    return [piece("reviewer", {"settings": settings, "t": t})]


def by_patient(groups: Cells) -> list[Any]:
    """Mean Dice of every held-out patient in every cell: a figure, and below it a list of the patients.

    A patient who is chosen in the list, or by a click in the figure, is shown in numbers and, where the book holds the
    images, in a viewer with what the network of each cell drew.

    Args:
        groups: of networks whose label maps the book holds too (``pages.patients``).
    """
    dice = factorial.by_case(groups)
    dice = dice.loc[dice.mean(axis=1).sort_values(ascending=False).index].rename(index=_short)
    networks, symbols = list(dice.columns.unique("network")), {"A": "circle-open", "B": "diamond"}
    marks = [(plots.series(networks.index(network)), symbols[pipeline]) for network, pipeline in dice]
    dice.columns = [", pipeline ".join(cell) for cell in dice]
    viewers = {_short(case): _viewer(groups, case) for case in patients.NUMBERS if _short(case) in dice.index}
    listed = [
        {"name": name, "dice": {cell: f"{value:.3f}" for cell, value in row.items()}, "viewer": viewers.get(name)}
        for name, row in dice.iterrows()
    ]
    description = f"Mean Dice of {len(dice)} held-out patients, a row each, the best on top: {', '.join(dice)}"
    figure = plots.dumbbells(dice, dict(zip(dice, marks, strict=True)), description, list(viewers))
    return [figure, piece("patients", listed)]


def _short(case: str) -> str:
    """A patient's name in the challenge, as a row has room for."""
    return case.removeprefix("Brats18_")


def _viewer(groups: Cells, case: str) -> str:
    """HTML of a viewer of a patient with the label map of each cell's network, side by side."""
    patient = patients.case(patients.NUMBERS[case])
    label_maps = patients.predictions(patient, tuple(patients.folder_of(*cell) for cell in groups))
    shown = {"title": f"{_short(case)} ({patient.id} of the Decathlon)", "modalities": ("t1ce",), "mode": "static"}
    return view(patient, patient.label(), overlays=label_maps, side_by_side=True, **shown)._repr_html_()
