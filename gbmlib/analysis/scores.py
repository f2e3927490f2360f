"""Scores of finished runs: one tidy table, and summaries of it.

Several sets of runs side by side are *groups*: label -> records; the *cells* of a factorial are groups by (network,
pipeline). Comparisons are paired by case (``analysis.paired``): patients differ from each other by far more than
networks do. Means over regions are over those that all groups measured, where there are any: runs on exclusive labels
are measured on the nested regions too. Cells of tables are intervals (``analysis.intervals``), which print themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

import pandas as pd

from gbmlib.analysis.intervals import mean_interval
from gbmlib.cohorts import Cohort
from gbmlib.evaluation.metrics import NAMES
from gbmlib.study.records import HELD_OUT, TRAIN, Record

Groups = Mapping[Hashable, Sequence[Record]]

#: The columns of the tidy table.
COLUMNS = ("run", "network", "pipeline", "fold", "seed", "case", "split", "region", "metric", "value")

#: In place of a split: how much better a case does where it was trained on than where it was held out.
GAP = "gap"


class UnpairedError(ValueError):
    """Two sets of values are not of the same cases (or folds, or regions), so no case can be compared with itself."""


def tidy(groups: Groups | Iterable[Record]) -> pd.DataFrame:
    """All scores of some groups, a row each; columns :data:`COLUMNS`.

    Args:
        groups: the label of a group stands in ``network``; of a cell it is (network, pipeline). Records by themselves
            are one group without a label.
    """
    tables = []
    for label, records in _labelled(groups).items():
        network, pipeline = label if isinstance(label, tuple) else (label, "")
        for record in records:
            run = record.experiment
            names = {"run": record.id, "network": network, "pipeline": pipeline, "fold": run.fold, "seed": run.seed}
            tables.append(record.cases.assign(**names))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)] if tables else pd.DataFrame(columns=list(COLUMNS))


def by_case(
    records: Iterable[Record], split: str = HELD_OUT, metric: str = "dice", regions: Sequence[str] | None = None
) -> pd.DataFrame:
    """A metric of every case (rows) in every region (columns), mean over the runs that have it in this split.

    Raises:
        ValueError: no run has it.
    """
    table = _measured(records, split, metric)
    wide = table.groupby(["case", "region"], sort=False).value.mean().unstack("region")
    return wide[list(regions or table.region.unique())].rename_axis(columns=None)


def by_seed(
    records: Sequence[Record], metric: str = "dice", regions: Sequence[str] | None = None, split: str = HELD_OUT
) -> pd.DataFrame:
    """A metric of every case (rows) under every seed (columns), mean over regions and folds; NaN where there is none.

    Args:
        regions: None for all that were measured.
        split: ``"held out"``, ``"train"``, the name of another cohort, or :data:`GAP`, of cases that have both.

    Raises:
        UnpairedError: a fold was run twice with the same seed, so that it would count twice.
        ValueError: as :func:`by_case`.
    """
    if split == GAP:
        trained, held = (by_seed(records, metric, regions, each) for each in (TRAIN, HELD_OUT))
        return (trained - held).dropna(how="all")
    runs = Counter((*fold_of(record), record.experiment.seed) for record in records)
    if twice := [f"fold {fold} with seed {seed}" for (fold, _, seed), count in sorted(runs.items()) if count > 1]:
        raise UnpairedError(f"there are several runs of {', '.join(twice)}; give one of each")
    table = _measured(records, split, metric)
    wide = table.groupby(["seed", "case", "region"], sort=False).value.mean().unstack("region")
    means = wide[list(regions or table.region.unique())].mean(axis=1, skipna=False)
    return means.unstack("seed").sort_index(axis=1).rename_axis(columns=None)


def held_out(records: Iterable[Record], split: str = HELD_OUT) -> pd.DataFrame:
    """Mean and interval of every metric in every region over the held-out cases, and their number; a row a region.

    A case that several runs hold out (seeds) counts once, with its mean. ``split`` may be ``"train"`` or the name of
    another cohort that the runs were measured on.

    Raises:
        ValueError: no run was measured on it.
    """
    table = tidy(records)
    table = table[table.split == split]
    if table.empty:
        raise ValueError(f"no run was measured on {split!r}")
    cases = table.groupby(["region", "metric", "case"], sort=False).value.mean()
    means = cases.groupby(["region", "metric"], sort=False).agg(mean_interval)
    means = means.unstack("metric")[list(NAMES)].loc[table.region.unique()]
    means.insert(0, "cases", cases.xs("dice", level="metric").groupby("region").size())
    return means.rename_axis(index=None, columns=None)


def levels(groups: Groups) -> pd.Series:
    """Held-out Dice of each group, mean over regions, by label."""
    regions, metric = common_regions(groups), dice_of(groups)
    means = {label: by_case(records, metric=metric, regions=regions) for label, records in groups.items()}
    intervals = {label: mean_interval(table.mean(axis=1, skipna=False)) for label, table in means.items()}
    return pd.Series(intervals, dtype=object)


def over_epochs(records: Sequence[Record], every: int = 10, on: str = "val") -> pd.DataFrame:
    """Validation metrics at some epochs, mean over runs: table 1 of Adeniji and Liu (2019), its columns in their order.

    Rows are epochs 0, ``every``, 2 ``every``… and the last that all runs reached.

    Args:
        on: ``"val"``: whole volumes, mean over cases and regions. ``"crops"``: the fixed random crops of the paper,
            Dice a mean over crops and channels, the rest pooled over all voxels, channels and crops.

    Raises:
        ValueError: a run did not log this.
    """
    names = {f"{on}_{name}": name for name in ("loss", "dice", "precision", "recall", "accuracy")}
    lacking = [record.id for record in records if not set(names) <= set(record.history.columns)]
    if lacking:
        raise ValueError(f"no columns {on}_loss, {on}_dice… in the history of {', '.join(lacking)}; run them again")
    histories = [record.history.set_index("epoch")[list(names)] for record in records]
    mean = (sum(histories[1:], histories[0]) / len(histories)).dropna()
    rows = sorted({epoch for epoch in mean.index if epoch % every == 0} | {mean.index.max()})
    return mean.loc[rows].rename(columns=names | {f"{on}_dice": "Dice"})


def provenance(groups: Groups | Iterable[Record], cohort: Cohort | None = None) -> pd.DataFrame:
    """Where records come from: a line a run, with its minutes, machine, and what makes it stale, if anything.

    With the cohort at hand, a record that was made from other data of the same name shows as stale.
    """
    rows = []
    for record in {record.id: record for group in _labelled(groups).values() for record in group}.values():
        run, made_by = record.experiment, record.provenance
        fingerprint = cohort.fingerprint if cohort is not None and cohort.name == run.cohort else None
        rows.append(
            {
                "run": record.id,
                "cohort": run.cohort,
                "fold": run.fold,
                "seed": run.seed,
                "epochs": len(record.history),
                "minutes": round(made_by["seconds"] / 60, 1),
                "machine": made_by["device"],
                "peak memory (MB)": made_by["peak_memory_mb"],
                "torch": made_by["packages"]["torch"],
                "commit": made_by["commit"],
                "stale": "; ".join(record.stale(fingerprint)) or "no",
            }
        )
    return pd.DataFrame(rows).set_index("run")


def typical_case(record: Record) -> str:
    """The held-out case whose Dice of the first region is the (lower) median: neither the best nor the worst."""
    first = by_case([record]).iloc[:, 0].sort_values()
    return first.index[(len(first) - 1) // 2]


def dice_of(groups: Groups | Iterable[Record], regions: Iterable[str] | None = None) -> str:
    """The Dice by which runs are compared: ``"channel_dice"``, of each channel by itself as Adeniji and Liu measure
    it, where all have it in these regions; else ``"dice"``, of the label map that the channels become.

    Args:
        regions: None for those that all groups measured.
    """
    groups = _labelled(groups)
    wanted = set(common_regions(groups) or () if regions is None else regions)
    tables = [record.cases for records in groups.values() for record in records]
    each = (set(cases.region[cases.metric == "channel_dice"]) for cases in tables)
    return "channel_dice" if wanted and all(wanted <= measured for measured in each) else "dice"


def common_regions(groups: Groups) -> list[str] | None:
    """The regions that all groups measured; None where there is none."""
    each = [dict.fromkeys(record.cases.region) for records in groups.values() for record in records]
    return [region for region in each[0] if all(region in other for other in each)] or None if each else None


def fold_of(record: Record) -> tuple[int, int]:
    """The fold of a record, and the number of folds."""
    return record.experiment.fold, record.experiment.folds


def folds_of(records: Iterable[Record]) -> dict[str, tuple[int, int]]:
    """The fold that holds out each case."""
    held = ((record, record.cases) for record in records)
    return {case: fold_of(record) for record, cases in held for case in cases.case[cases.split == HELD_OUT].unique()}


def on_shared_folds(base: Sequence[Record], other: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """The records of both groups on the folds that both ran, which alone can be compared."""
    shared = {fold_of(record) for record in base} & {fold_of(record) for record in other}
    return tuple([record for record in records if fold_of(record) in shared] for records in (base, other))


def _labelled(groups: Groups | Iterable[Record]) -> Groups:
    return groups if isinstance(groups, Mapping) else {"": list(groups)}


def _measured(records: Iterable[Record], split: str, metric: str) -> pd.DataFrame:
    table = tidy(records)
    table = table[(table.split == split) & (table.metric == metric)]
    if table.empty:
        raise ValueError(f"no run has a {metric} of {split!r} cases")
    return table
