"""Numbers as the papers print them, each with its place, to compare ours with; never results of this study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gbmlib.analysis import family, intervals, paired, scores
from gbmlib.analysis.scores import Groups
from gbmlib.cohorts import GLIOMA
from gbmlib.files import FACTS
from gbmlib.study.records import Record

#: Validation metrics of Adeniji and Liu (2019, table 1), columns in the order in which the table prints them. The names
#: are the printed ones; what the last three columns hold is the subject of a chapter of its own.
TABLE_1 = pd.DataFrame(
    [
        (0, 2.438, 0.049, 0.576, 0.905, 0.057),
        (10, 1.459, 0.401, 0.634, 0.990, 0.502),
        (20, 1.217, 0.560, 0.668, 0.993, 0.639),
        (30, 1.195, 0.587, 0.666, 0.993, 0.660),
        (40, 1.124, 0.620, 0.666, 0.994, 0.691),
    ],
    columns=["epoch", "loss", "dice", "precision", "recall", "accuracy"],
).set_index("epoch")

#: Half a unit of the table's last digit: how far a value may be from what was rounded to it.
TABLE_1_ROUNDING = 0.0005

#: Their train.py (vliu15/3d-brain-tumor-segmentation, 23d955b) heads the validation columns of its log, after the loss,
#: with the first of these and fills them with the second. (Those of training agree, and so do those of validation in
#: the later revision 311c9ad.)
LOG_HEADER = ("accuracy", "precision", "recall", "dice")
LOG_VALUES = ("precision", "recall", "accuracy", "dice")


#: Precision of the V-Net baseline (Adeniji and Liu 2019, section 5.3), on another hospital's patients.
BASELINE_PRECISION = 0.35


#: What the Decathlon numbers 1, 2, …, by task; a glioma's labels have another order in our convention.
CLASSES = {"Hippocampus": ("Anterior", "Posterior"), "BrainTumour": tuple(GLIOMA[value] for value in (2, 1, 3))}


def table_2(task: str, folder: str | Path = FACTS) -> pd.DataFrame:
    """Table 2 of Isensee et al. (2018), Dice as ratios: a row a network ("2D", "3D"), a column a class, in the order of
    the Decathlon; by name where :data:`CLASSES` has it, else by number."""
    table = pd.read_csv(Path(folder) / "isensee2018_table_2.csv", comment="#")
    dices = table[table.task == task].pivot(index="network", columns="label", values="dice") / 100
    return dices.rename(columns=dict(enumerate(CLASSES.get(task, ()), 1))).rename_axis(columns=None)


#: Dice of nnU-Net v2's 3D network, case by case, by task of the Decathlon.
MARKS = {"Hippocampus": "nnunet_v2_hippocampus_dice.csv", "BrainTumour": "nnunet_v2_brats2018_dice.csv"}


def marks(task: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Dice of nnU-Net v2's 3D network for each case (rows) and class (columns), and what else is known of each case
    (its fold there, and for gliomas its name and twin in the Decathlon)."""
    table = pd.read_csv(FACTS / MARKS[task], comment="#", index_col="case", dtype={"twin": str})
    others = [name for name in ("decathlon", "fold", "twin", "twin_fold") if name in table]
    return table.drop(columns=others), table[others]


def minus(ours: Sequence[Record], theirs: pd.DataFrame) -> paired.Paired:
    """Our Dice minus a published one, which has no seed of ours, paired by case; mean over classes.

    Args:
        theirs: Dice of the same cases (rows) in each class (columns).

    Raises:
        UnpairedError: the cases are not the same.
    """
    dices = scores.by_seed(ours, regions=list(theirs))
    base = theirs.mean(axis=1).to_frame("published")
    margin = intervals.margin(ours[0].experiment.cohort)
    networks = intervals.over_networks(base, dices, scores.folds_of(ours))
    return paired.judged(paired.compare_tables(base, dices, margin, networks), ours, ours)


def differences(groups: Groups, theirs: pd.DataFrame) -> pd.DataFrame:
    """Each of our networks :func:`minus` the same published one: the columns of ``analysis.family.table``, for the mean
    over classes, and one for each class with its difference."""
    means = family.table({label: minus(ours, theirs) for label, ours in groups.items()})
    each = {label: {name: minus(ours, theirs[[name]]).difference for name in theirs} for label, ours in groups.items()}
    return means.join(pd.DataFrame.from_dict(each, orient="index"))
