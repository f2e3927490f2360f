"""Table 1 of Isensee et al. (2018) and the geometry of its seven tasks, to compare the planner with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from gbmlib.files import FACTS
from gbmlib.planner.planning import Plan
from gbmlib.preprocess.fingerprint import Fingerprint

#: The columns of the table, by the names that a ``planner.Network`` gives them.
COLUMNS = ("median_shape", "patch_size", "batch_size", "pools")


def tasks(folder: str | Path = FACTS) -> dict[str, Fingerprint]:
    """The fingerprints of the seven tasks by name, in the order of the table."""
    names = dict.fromkeys(printed(folder).index.get_level_values("task"))
    return {name: Fingerprint.read(Path(folder) / "fingerprints" / f"{name}.json") for name in names}


def printed(folder: str | Path = FACTS) -> pd.DataFrame:
    """The table as printed: a row for each task and network, cells as tuples of whole numbers."""
    table = pd.read_csv(Path(folder) / "isensee2018_table_1.csv", dtype=str).set_index(["task", "network"])
    return table.map(lambda cell: tuple(map(int, cell.split("x"))))


def medians(table: pd.DataFrame, fingerprints: Mapping[str, Fingerprint]) -> dict[str, Fingerprint]:
    """The fingerprints with the table's median shape alone; spacing and number of cases are the data set's."""
    return {
        task: dataclasses.replace(
            fingerprint,
            shapes=(table.loc[(task, "3D"), "median_shape"],),
            spacings=(fingerprint.spacing,),
            cases=fingerprint.cases,
        )
        for task, fingerprint in fingerprints.items()
    }


def cells(plans: Mapping[str, Plan], table: pd.DataFrame) -> pd.DataFrame:
    """Some plans as cells of the printed table; None where a plan lacks a network."""
    rows = {}
    for task, name in table.index:
        network = {network.name: network for network in plans[task].networks}.get(name)
        values = [getattr(network, column, None) for column in COLUMNS]
        rows[task, name] = [(value,) if isinstance(value, int) else value for value in values]
    return pd.DataFrame(rows.values(), pd.MultiIndex.from_tuples(rows, names=table.index.names), list(COLUMNS))


def agreeing(planned: pd.DataFrame, table: pd.DataFrame) -> tuple[int, int]:
    """How many cells agree, and how many there are."""
    same = [planned.loc[row, column] == table.loc[row, column] for row in table.index for column in table]
    return sum(same), len(same)
