"""Cells of two crossed factors with Dice that can be worked out by hand."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
from grouped_records import configured

from gbmlib.analysis import factorial

NETWORKS, PIPELINES = ("one", "two", "three"), ("A", "B")
CELLS = list(product(NETWORKS, PIPELINES))

#: Dice of each network under A and under B, less the case's hardness: B adds 0.1, and to the third network 0.16.
LEVELS = dict(zip(CELLS, (0.5, 0.6, 0.52, 0.62, 0.58, 0.74), strict=True))
HARDNESS = {"a": 0.0, "b": 0.1, "c": 0.25, "d": 0.3}


def record(level, fold=0, seed=0, cases="abcd", regions=("WT", "ET"), folds=2):
    rows = [
        (case, split, region, metric, level - HARDNESS[case] + shift)
        for case in cases
        for split, shift in (("held out", 0), ("train", 0.2))
        for region in regions
        for metric in ("dice", "recall")
    ]
    return SimpleNamespace(
        id=f"run-{level}-{fold}-{seed}",
        cases=pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"]),
        history=pd.DataFrame({"epoch": [0]}),
        experiment=configured(fold, seed, folds),
        store=None,
    )


def crossed():
    """Two folds of two cases in every cell."""
    return {cell: [record(LEVELS[cell], 0, cases="ab"), record(LEVELS[cell], 1, cases="cd")] for cell in CELLS}


def table_of(values):
    """A table of :func:`by_case` from an array (case, network, pipeline)."""
    flat = np.asarray(values).reshape(len(values), -1)
    return pd.DataFrame(flat, columns=pd.MultiIndex.from_tuples(CELLS, names=factorial.FACTORS))
