"""What the chapter on the planner shows: plans against table 1, the two readings, a patch that shrinks, budgets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gbmlib.planner import Fingerprint, Network, Plan, memory, plan
from gbmlib.planner.words import sizes

#: Columns of table 1 and what a ``planner.Network`` calls them.
COLUMNS = {
    "median_shape": "median shape",
    "patch_size": "patch",
    "batch_size": "batch",
    "pools": "pools",
}

AGREES, DIFFERS = "✓", "✗"


def facts(folder: str | Path = "book/facts") -> dict[str, Fingerprint]:
    """The geometry of the seven tasks by name, in the order of table 1."""
    tasks = dict.fromkeys(table_1(folder).index.get_level_values("task"))
    return {task: Fingerprint.read(Path(folder) / "fingerprints" / f"{task}.json") for task in tasks}


def table_1(folder: str | Path = "book/facts") -> pd.DataFrame:
    """Table 1 of Isensee et al. (2018) as printed: a row a task and network, cells as tuples of whole numbers."""
    printed = pd.read_csv(Path(folder) / "isensee2018_table_1.csv", dtype=str).set_index(["task", "network"])
    return printed.map(lambda cell: tuple(map(int, cell.split("x"))))


def medians(printed: pd.DataFrame, of: Mapping[str, Fingerprint]) -> dict[str, Fingerprint]:
    """What table 1 itself tells of each task: one median shape; spacing and number of cases are the data set's."""
    return {
        task: dataclasses.replace(
            whole, shapes=(printed.loc[(task, "3D"), "median_shape"],), spacings=(whole.spacing,), cases=whole.cases
        )
        for task, whole in of.items()
    }


def cells(plans: Mapping[str, Plan], printed: pd.DataFrame) -> pd.DataFrame:
    """What the plans say where table 1 says something, as its cells; None where a network is missing."""
    rows = {}
    for task, network in printed.index:
        made = {of.name: of for of in plans[task].networks}.get(network)
        values = [getattr(made, column, None) for column in COLUMNS]
        rows[task, network] = [(value,) if isinstance(value, int) else value for value in values]
    return pd.DataFrame(rows.values(), pd.MultiIndex.from_tuples(rows, names=printed.index.names), list(COLUMNS))


def marked(found: Sequence[pd.DataFrame], printed: pd.DataFrame) -> pd.DataFrame:
    """The printed cells, each with a mark for each of the tables found: whether its cell is the same."""
    shown = printed.copy()
    for row in printed.index:
        for column in printed:
            value = printed.loc[row, column]
            marks = [AGREES if table.loc[row, column] == value else DIFFERS for table in found]
            shown.loc[row, column] = f"{_cell(value, column)} {''.join(marks)}"
    return shown.rename(columns=COLUMNS)


def agreeing(found: pd.DataFrame, printed: pd.DataFrame) -> tuple[int, int]:
    """How many cells agree, and how many there are."""
    same = [found.loc[row, column] == printed.loc[row, column] for row in printed.index for column in printed]
    return sum(same), len(same)


def readings(of: Mapping[str, Fingerprint], printed: pd.DataFrame) -> pd.DataFrame:
    """Patch and batch in 3D for each task: as printed, and by the two readings of "aspect ratio"."""
    rows = {}
    for task, network in printed.index:
        if network == "2D":
            continue
        row = {"printed": _patch_and_batch(*(printed.loc[(task, network), c] for c in ("patch_size", "batch_size")))}
        for aspect in ("mm", "voxels"):
            made = {one.name: one for one in plan(of[task], aspect=aspect).networks}.get(network)
            cell = _patch_and_batch(made.patch_size, (made.batch_size,)) if made else "no such network"
            row[f"proportions in {aspect}"] = f"{cell} {AGREES if cell == row['printed'] else DIFFERS}"
        rows[task, network] = row
    return pd.DataFrame(rows.values(), pd.MultiIndex.from_tuples(rows, names=printed.index.names))


def misses(table: pd.DataFrame, aspect: str) -> list[str]:
    """The tasks for which a reading gives something else than what is printed (:func:`readings`)."""
    wrong = table[f"proportions in {aspect}"].str.endswith(DIFFERS)
    return list(dict.fromkeys(table.index.get_level_values("task")[wrong]))


def shrinking(of: Network, limit: int) -> pd.DataFrame:
    """How a patch comes to fit: a row for what was wanted, for the rounding, and for each step after it."""
    rows = [("wanted", sizes(of.wanted, 1), math.prod(of.wanted), "")]
    for number, patch in enumerate(of.steps):
        over = [size - wanted for size, wanted in zip(patch, of.wanted, strict=True)]
        step = "rounded up" if number == 0 else f"step {number}"
        rows.append((step, sizes(patch), math.prod(patch), ", ".join(f"{gap:+.1f}" for gap in over)))
    table = pd.DataFrame(rows, columns=["", "patch (z, y, x)", "voxels", "over what was wanted"]).set_index("")
    table.insert(2, "of the budget", (table.voxels / limit).map("{:.0%}".format))
    table["voxels"] = table.voxels.map("{:,.0f}".format)
    return table


def in_words(of: Plan) -> str:
    """The explanation of a plan as Markdown, its headings in bold."""
    parts = [part.split("\n") for part in of.explain().split("\n\n")]
    return "\n\n".join("\n".join([f"**{title}**", "", *lines]) for title, *lines in parts)


def overview(of: Plan, precision: str = "float32") -> pd.DataFrame:
    """A plan as a table, a row a network, with the memory that a training step is estimated to need."""
    rows = {
        network.name: {
            "median shape": sizes(network.median_shape),
            "patch": sizes(network.patch_size),
            "batch": network.batch_size,
            "pools": ", ".join(map(str, network.pools)),
            "spacing (mm)": sizes(network.spacing, 2),
            "Dice of": {"sample": "each sample", "batch": "the whole batch"}[network.dice],
            "augmentation": {"slices": "slice by slice"}.get(network.augmentation, network.augmentation),
            "GB to train": round(memory.memory_mb(network, len(of.kinds), of.labels, precision) / 1000, 1),
        }
        for network in of.networks
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def budgets(of: Fingerprint, edges: Sequence[int], precision: str = "float32") -> pd.DataFrame:
    """Plans of a data set for budgets of edge^3 voxels: a row a budget and network, with the estimated memory."""
    rows = []
    for edge in edges:
        for network in plan(of, voxels=edge**3).networks:
            rows.append(
                {
                    "edge": edge,
                    "network": network.name,
                    "patch": sizes(network.patch_size),
                    "batch": network.batch_size,
                    "voxels": math.prod(network.patch_size),
                    "gb": memory.memory_mb(network, len(of.kinds), of.labels, precision) / 1000,
                }
            )
    return pd.DataFrame(rows)


def weighed(networks: Sequence[Network], channels: int, labels: int) -> pd.DataFrame:
    """The estimated memory of a training step beside the measured one, in float32 on this machine's CPU."""
    rows = {}
    for of in networks:
        estimate, found = (how(of, channels, labels) for how in (memory.memory_mb, memory.measured_mb))
        name = f"{of.name}, {of.batch_size} x {sizes(of.patch_size)}"
        rows[name] = {
            "estimated (MB)": round(estimate),
            "measured (MB)": round(found),
            "ratio": round(found / estimate, 2),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _cell(value: Any, column: str) -> str:
    return ", ".join(map(str, value)) if column == "pools" else sizes(value)


def _patch_and_batch(patch: Sequence[int], batch: Sequence[int]) -> str:
    return f"{sizes(patch)}, batch {batch[0]}"
