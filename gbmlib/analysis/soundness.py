"""Whether a comparison may decide anything: why its runs are not sound, in sentences, from their records alone.

*Collapsed*: a channel of a network never learned. *Undertrained*: more training would still help. *Vacuous*: what is
compared did not act. *Unequal*: one side trained on more, or at a rate that nobody chose (``analysis.treatments``). Any
of them makes the comparison "not decided yet", whatever its interval says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from gbmlib.analysis import intervals
from gbmlib.analysis.treatments import changed, configuration_of, doubled, networks, unequal, vacuous
from gbmlib.files import counted
from gbmlib.study import scales
from gbmlib.study.records import HELD_OUT, TRAIN, Record

#: Below this mean Dice on its own training cases, a region was not learned.
LEARNED = 0.1

#: A channel whose validation Dice moves by less over the last evaluations is dead; at least so many are looked at.
MOVES, LAST = 1e-6, 3

#: The last part of a schedule, and how far the mean Dice of training and of validation may rise into it.
PART, RISES = 1 / 6, {"train_dice": 0.02, "val_dice": 0.01}

#: The dead regions of records, by folder, regions looked at, and when the folder changed.
_dead: dict[tuple, list[str]] = {}


@dataclass(frozen=True)
class Soundness:
    """The reasons against a comparison.

    Attributes:
        unsound: why it decides nothing yet; empty where nothing speaks against it.
        cautions: what differs between the sides because the comparison is about it.
    """

    unsound: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()


def between(
    base: Sequence[Record], other: Sequence[Record], change: Sequence[float] = (), growing: bool = False
) -> Soundness:
    """Why a comparison of two groups of records may decide nothing.

    Args:
        change: the difference of each case, in the metric that is compared.
        growing: whether the effect can only grow with training, as the gap between cases trained on and held out does.
            Then too short a training does not speak against it.
    """
    trained = {record.id: record for record in networks((*base, *other))}
    reasons, cautions = collapsed(trained.values()), []
    if not growing:
        reasons += undertrained(trained.values())
        cautions += excused(trained.values())
    unfair, by_design = unequal(base, other)
    return Soundness((*reasons, *vacuous(base, other, change), *unfair), (*by_design, *cautions))


# ----------------------------------------------------------------------------------------------------------- collapsed


def collapsed(records: Iterable[Record]) -> list[str]:
    """A sentence on the networks with channels that never learned; empty where all learned."""
    regions, ids = {}, []
    for record in records:
        dead = dead_regions(record)
        regions |= dict.fromkeys(dead)
        if dead or twins_of(record):
            ids.append(record.id)
    if not ids:
        return []
    runs = counted(len(ids), "run")
    if not regions:
        return [f"collapsed: {runs} scored every case exactly as another network did"]
    return [f"collapsed: a channel never learned in {runs} ({', '.join(regions)})"]


def dead_regions(record: Record) -> list[str]:
    """The regions of one network that were not learned, or whose channel froze.

    A region counts by the Dice of its own channel where that is recorded, else by that of the label map.
    """
    cases, history = record.cases, record.history
    if record.store is None:
        return _dead_regions(cases, history)
    key = record.path, record.regions, changed(record.path)
    if key not in _dead:  # a record has its part in many comparisons
        _dead[key] = _dead_regions(cases, history)
    return list(_dead[key])


def _dead_regions(cases: pd.DataFrame, history: pd.DataFrame) -> list[str]:
    cases = cases[cases.split == TRAIN]
    measured = cases[cases.metric.isin(("dice", "channel_dice"))]
    means = measured.groupby(["region", "metric"], sort=False).value.mean().unstack("metric")
    if "channel_dice" in means:
        means = means.channel_dice.fillna(means.dice).to_frame("dice")
    dead = list(means.index[means.dice < LEARNED]) if len(means) else []
    history = history.filter(regex="^val_dice_")
    last = history.tail(max(LAST, round(PART * len(history))))
    if len(last) >= LAST:
        frozen = last.columns[(last.max() - last.min()) < MOVES]
        dead += [name.removeprefix("val_dice_") for name in frozen]
    return list(dict.fromkeys(dead))


def twins_of(record: Record) -> list[str]:
    """The runs of other configurations in the same store whose table of cases is the same to the last digit."""
    if record.store is None:
        return []
    content = (record.path / "cases.csv").read_bytes()
    alike = [path for folder in record.store.folders for path in _tables(folder, changed(folder)).get(len(content), ())]
    return [path.parent.name for path in alike if path.parent.name != record.id and path.read_bytes() == content]


@lru_cache(maxsize=16)
def _tables(folder: Path, at: int) -> dict[int, list[Path]]:
    """The tables of cases of the trained networks in a folder, by their size in bytes."""
    by_size: dict[int, list[Path]] = {}
    for path in sorted(folder.glob("[!.e]*/cases.csv")):
        by_size.setdefault(path.stat().st_size, []).append(path)
    return by_size


# --------------------------------------------------------------------------------------------------------- undertrained


def undertrained(records: Iterable[Record]) -> list[str]:
    """Sentences on networks that more training would still help, one for each sign of it; empty where it would not.

    Networks of one configuration, over folds and seeds, are judged together: the validation Dice of a single one is
    over few cases. Where one was trained twice as long, that is the evidence, and how its Dice rose is not looked at.
    """
    changes, rising = [], {}
    for members in _by_configuration(records):
        change = doubled(members[0])
        if change is None:
            for name, value in rises(members).items():
                rising[name] = max(rising.get(name, 0.0), value)
        elif abs(change) >= intervals.margin(members[0].experiment.cohort):
            changes.append(change)
    sentences = []
    if changes:
        largest = max(changes, key=abs)
        twice = f"twice the schedule changes held-out Dice by {largest:+.3f} on fold {scales.PILOT['fold']}"
        sentences.append(f"undertrained: {twice}")
    if rising:
        names = {"train_dice": "training Dice", "val_dice": "validation Dice"}
        risen = " and ".join(f"{name} by {rising[column]:.3f}" for column, name in names.items() if column in rising)
        sentences.append(f"undertrained: the last sixth of the epochs still raised {risen}")
    return sentences


def drifting(sides: Sequence[tuple[Sequence[Record], float]]) -> list[str]:
    """A sentence where twice the schedule was run on all sides, and changes what is compared by the margin or more.

    Args:
        sides: groups of records, with what each counts: -1 and 1 for a difference.
    """
    each = [(doubled(trained[0]), weight) for records, weight in sides if (trained := networks(records))]
    if len(each) < len(sides) or any(change is None for change, _ in each):
        return []
    change = sum(weight * change for change, weight in each)
    if abs(change) < intervals.margin(sides[0][0][0].experiment.cohort):
        return []
    fold = scales.PILOT["fold"]
    return [f"undertrained: twice the schedule changes the difference itself by {change:+.3f} on fold {fold}"]


def excused(records: Iterable[Record]) -> list[str]:
    """A caution on networks that still rose and count as trained because twice their schedule changes little: on how
    few cases that was tried; empty where there are none."""
    cleared = [group for group in _by_configuration(records) if doubled(group[0]) is not None and rises(group)]
    pilots = [record for group in cleared for record in group if record.experiment.fold == scales.PILOT["fold"]]
    if not pilots:
        return []
    cases = min(record.cases[record.cases.split == HELD_OUT].case.nunique() for record in pilots)
    return [f"still rising at the end: that training was long enough rests on {counted(cases, 'case')}"]


def _by_configuration(records: Iterable[Record]) -> list[list[Record]]:
    """Networks that differ in fold and seed alone, together."""
    configurations: dict[str, list[Record]] = {}
    for record in records:
        configurations.setdefault(configuration_of(record.experiment), []).append(record)
    return list(configurations.values())


def rises(records: Sequence[Record]) -> dict[str, float]:
    """The :func:`rise` of mean training and validation Dice at the end of training, where it exceeds its limit."""
    means = {}
    for name, most in RISES.items():
        each = np.array([rise(record.history[name]) for record in records if name in record.history])
        each = each[np.isfinite(each)]
        if each.size and each.mean() > most:
            means[name] = float(each.mean())
    return means


def rise(values: pd.Series) -> float:
    """The mean over the last sixth of some epochs minus that over the sixth before; NaN of a single epoch."""
    size = max(1, round(PART * len(values)))
    return float(values.iloc[-size:].mean() - values.iloc[-2 * size : -size].mean()) if len(values) > size else np.nan
