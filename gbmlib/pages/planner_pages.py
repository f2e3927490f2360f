"""What the chapter on the planner shows: plans against table 1, the two readings, a patch that shrinks, memory, and a
form that plans a reader's own data set in the browser, in the book as in JupyterLab."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from IPython.display import HTML

from gbmlib.files import sizes
from gbmlib.pages import plots
from gbmlib.pages.interactive import piece
from gbmlib.planner import Fingerprint, Network, Plan, memory, plan
from gbmlib.viewer import colours

AGREES, DIFFERS = "✓", "✗"
HEADINGS = {"median_shape": "median shape", "patch_size": "patch", "batch_size": "batch", "pools": "pools"}

#: Okabe and Ito's colours; the median case is the grey that shines through in light and dark pages.
CASE, MM, VOXELS = "rgba(128, 128, 128, 0.25)", colours.BLUE, colours.RED
NETWORKS = {"2D": colours.ORANGE, "3D": colours.BLUE, "3D low resolution": colours.RED}
#: The cascade's two networks often have the same patch: a ring around the other's point.
RING = {"mode": "markers", "marker": {"symbol": "circle-open", "size": 13, "line": {"width": 2}}}


def marked(planned: Sequence[pd.DataFrame], printed: pd.DataFrame) -> pd.DataFrame:
    """The printed cells of table 1, each with a mark for each table of plans: whether its cell is the same."""
    shown = printed.copy()
    for row in printed.index:
        for column in printed:
            value = printed.loc[row, column]
            marks = [AGREES if table.loc[row, column] == value else DIFFERS for table in planned]
            text = ", ".join(map(str, value)) if column == "pools" else sizes(value)
            shown.loc[row, column] = f"{text} {''.join(marks)}"
    return shown.rename(columns=HEADINGS)


def readings(tasks: Mapping[str, Fingerprint], printed: pd.DataFrame) -> pd.DataFrame:
    """Patch and batch in 3D for each task: as printed, and by the two readings of "aspect ratio"."""
    rows = {}
    for (task, name), cells in printed.drop("2D", level="network").iterrows():
        row = {"printed": f"{sizes(cells.patch_size)}, batch {cells.batch_size[0]}"}
        for aspect in ("mm", "voxels"):
            network = {network.name: network for network in plan(tasks[task], aspect=aspect).networks}.get(name)
            cell = f"{sizes(network.patch_size)}, batch {network.batch_size}" if network else "no such network"
            row[f"proportions in {aspect}"] = f"{cell} {AGREES if cell == row['printed'] else DIFFERS}"
        rows[task, name] = row
    return pd.DataFrame(rows.values(), pd.MultiIndex.from_tuples(rows, names=printed.index.names))


def misses(table: pd.DataFrame, aspect: str) -> list[str]:
    """The tasks for which a reading gives something else than what is printed (:func:`readings`)."""
    wrong = table[f"proportions in {aspect}"].str.endswith(DIFFERS)
    return list(dict.fromkeys(table.index.get_level_values("task")[wrong]))


def shrinking(network: Network, limit: int) -> pd.DataFrame:
    """How a patch comes to fit: a row for what was wanted, for the rounding, and for each step after it."""
    rows = [("wanted", sizes(network.wanted, 1), math.prod(network.wanted), "")]
    for number, patch in enumerate(network.steps):
        over = [size - wanted for size, wanted in zip(patch, network.wanted, strict=True)]
        step = "rounded up" if number == 0 else f"step {number}"
        rows.append((step, sizes(patch), math.prod(patch), ", ".join(f"{gap:+.1f}" for gap in over)))
    table = pd.DataFrame(rows, columns=["", "patch (z, y, x)", "voxels", "over what was wanted"]).set_index("")
    table.insert(2, "of the budget", (table.voxels / limit).map("{:.0%}".format))
    table["voxels"] = table.voxels.map("{:,.0f}".format)
    return table


def in_words(planned: Plan) -> str:
    """The explanation of a plan as Markdown, its headings in bold."""
    blocks = [block.split("\n") for block in planned.explain().split("\n\n")]
    return "\n\n".join("\n".join([f"**{title}**", "", *lines]) for title, *lines in blocks)


def overview(planned: Plan) -> pd.DataFrame:
    """A plan as a table, a row for each network, with the memory that a training step is estimated to need."""
    rows = {
        network.name: {
            "median shape": sizes(network.median_shape),
            "patch": sizes(network.patch_size),
            "batch": network.batch_size,
            "pools": ", ".join(map(str, network.pools)),
            "spacing (mm)": sizes(network.spacing, 2),
            "Dice of": {"sample": "each sample", "batch": "the whole batch"}[network.dice],
            "augmentation": {"slices": "slice by slice"}.get(network.augmentation, network.augmentation),
            "GB to train": round(memory.memory_mb(network, len(planned.kinds), planned.labels) / 1000, 1),
        }
        for network in planned.networks
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def fields_of_view(tasks: Mapping[str, Fingerprint], description: str) -> Any:
    """What a 3D patch sees of the median case, in mm, seen along x: proportions in mm beside proportions in voxels."""
    cases = {task: _extent(known.median_shape, known.spacing) for task, known in tasks.items()}
    boxes = {task: [_box(extent, "the median case", CASE, filled=True)] for task, extent in cases.items()}
    for task, known in tasks.items():
        for aspect, colour in (("voxels", VOXELS), ("mm", MM)):
            network = plan(known, aspect=aspect).three_d
            extent = _extent(network.patch_size, network.spacing)
            boxes[task].append(_box(extent, f"patch, proportions in {aspect}", colour))
    panels = plots.panels(boxes, horizontal_spacing=0.04)
    for column in range(1, len(tasks) + 1):
        panels.update_yaxes(scaleanchor=f"x{column if column > 1 else ''}", col=column)
    reach = max(max(extent) for extent in cases.values())
    plain = {"showgrid": False, "zeroline": False, "constrain": "domain"}
    panels.update_xaxes(range=[-0.55 * reach, 0.55 * reach], title_text="y (mm)", tickvals=[-150, 0, 150], **plain)
    panels.update_yaxes(range=[-0.45 * reach, 0.45 * reach], showticklabels=False, dtick=100, **plain)
    panels.update_yaxes(title_text="z (mm)", showticklabels=True, col=1)
    return plots.finish(panels, description, 320, -0.25, t=40)


def budget_lines(fingerprint: Fingerprint, edges: Sequence[int], description: str) -> Any:
    """Estimated memory of a training step over budgets of edge^3 voxels, a line for each network."""
    figure = go.Figure()
    plans = {edge: {network.name: network for network in plan(fingerprint, voxels=edge**3).networks} for edge in edges}
    for name, colour in NETWORKS.items():
        networks = {edge: several[name] for edge, several in plans.items() if name in several}
        needed = [memory.memory_mb(one, len(fingerprint.kinds), fingerprint.labels) for one in networks.values()]
        figure.add_scatter(
            x=list(networks),
            y=[mb / 1000 for mb in needed],
            name=name,
            line={"color": colour, "width": 2},
            text=[f"{sizes(network.patch_size)}, batch {network.batch_size}" for network in networks.values()],
            hovertemplate="%{text}: %{y:.2f} GB<extra>" + name + "</extra>",
            **(RING if name == "3D low resolution" else {"mode": "lines+markers"}),
        )
    on_a_phone = [f"{edge}³" if edge.bit_count() == 1 or edge == max(edges) else "" for edge in edges]
    figure.update_xaxes(type="log", tickvals=list(edges), ticktext=on_a_phone, title_text="voxels of a patch")
    figure.update_yaxes(type="log", title_text="GB to train", tickvals=[0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50])
    return plots.finish(figure, description, 380, -0.25)


def _extent(shape: Sequence[int], spacing: Sequence[float]) -> list[float]:
    return [size * step for size, step in zip(shape, spacing, strict=True)]


def _box(extent: list[float], name: str, colour: str, filled: bool = False) -> go.Scatter:
    """A rectangle around 0 of an extent (z, y, x) in mm, seen along x."""
    z, y = extent[0] / 2, extent[1] / 2
    line = {"line": {"color": colour, "width": 3}}
    return go.Scatter(
        x=[-y, y, y, -y, -y],
        y=[-z, -z, z, z, -z],
        mode="lines",
        name=name,
        text=f"{name}: {2 * z:.0f} x {2 * y:.0f} mm (z, y)",
        hoverinfo="text",
        **({"fill": "toself", "fillcolor": colour, "line": {"width": 0}} if filled else line),
    )


# ------------------------------------------------------------------------------------------------------------- the form


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
    return piece("planner", {"presets": rows})
