"""What sets of records say: means over held-out cases, and what one set differs by from another, with intervals.

Several sets side by side are *groups*: label -> records (``analysis.contrasts`` compares them). Comparisons are paired
by case: patients differ from each other by far more than networks do. Means over regions are over those that all groups
measured, where there are any: runs on exclusive labels are measured on the nested regions too. Cells of the tables are
intervals (``analysis.intervals``), which print themselves and keep their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from gbmlib.analysis import intervals, networks, soundness, statistics
from gbmlib.analysis.intervals import mean_interval
from gbmlib.analysis.statistics import Paired, UnpairedError
from gbmlib.cohorts import Cohort
from gbmlib.evaluation.metrics import NAMES
from gbmlib.study.records import HELD_OUT, TRAIN, Record

Groups = Mapping[str, Sequence[Record]]

#: In place of a split: how much better a case does where it was trained on than where it was held out.
GAP = "gap"


def cases_of(records: Iterable[Record]) -> pd.DataFrame:
    """The case tables of several runs as one, with the columns run, fold and seed."""
    tables = [
        record.cases.assign(run=record.id, fold=record.experiment.fold, seed=record.experiment.seed)
        for record in records
    ]
    return pd.concat(tables, ignore_index=True)


def held_out(records: Iterable[Record], split: str = HELD_OUT) -> pd.DataFrame:
    """Mean and interval of every metric in every region over the held-out cases, and their number; a row a region.

    A case that several runs hold out (seeds) counts once, with its mean. ``split`` may be ``"train"`` or the name of
    another cohort that the runs were measured on.
    """
    cases = cases_of(records)
    cases = cases[cases.split == split]
    if cases.empty:
        raise ValueError(f"no run was measured on {split!r}")
    by_case = cases.groupby(["region", "metric", "case"], sort=False).value.mean()
    table = by_case.groupby(["region", "metric"], sort=False).agg(lambda values: str(mean_interval(values)))
    table = table.unstack("metric")[list(NAMES)].loc[cases.region.unique()]
    table.insert(0, "cases", by_case.xs("dice", level="metric").groupby("region").size())
    return table.rename_axis(index=None, columns=None)


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
    mean = sum(histories[1:], histories[0]) / len(histories)
    mean = mean.dropna()
    rows = sorted({epoch for epoch in mean.index if epoch % every == 0} | {mean.index.max()})
    return mean.loc[rows].rename(columns=names | {f"{on}_dice": "Dice"})


def made(records: Sequence[Record], cohort: Cohort | None = None) -> pd.DataFrame:
    """Where the records come from: a line a run, with its minutes, machine, and what makes it stale, if anything.

    With the cohort at hand, a record that was made from other data of the same name shows as stale.
    """
    rows = []
    for record in records:
        of, by = record.experiment, record.provenance
        fingerprint = cohort.fingerprint if cohort is not None and cohort.name == of.cohort else None
        rows.append(
            {
                "run": record.id,
                "cohort": of.cohort,
                "fold": of.fold,
                "seed": of.seed,
                "epochs": len(record.history),
                "minutes": round(by["seconds"] / 60, 1),
                "machine": by["device"],
                "peak memory (MB)": by["peak_memory_mb"],
                "torch": by["packages"]["torch"],
                "commit": by["commit"],
                "stale": "; ".join(record.stale(fingerprint)) or "no",
            }
        )
    return pd.DataFrame(rows).set_index("run")


def typical_case(record: Record) -> str:
    """The held-out case whose Dice of the first region is the (lower) median: neither the best nor the worst."""
    cases = record.cases[(record.cases.split == HELD_OUT) & (record.cases.metric == "dice")]
    first = cases[cases.region == cases.region.iloc[0]].sort_values("value")
    return first.case.iloc[(len(first) - 1) // 2]


def paired(
    base: Sequence[Record],
    other: Sequence[Record],
    metric: str = "dice",
    regions: Sequence[str] | None = None,
    split: str = HELD_OUT,
) -> Paired:
    """Other minus base, paired by case: intervals over cases and over networks, tests and effect size, mean over
    regions; and what speaks against deciding anything by them (``analysis.soundness``).

    Args:
        metric: ``"dice"`` stands for :func:`dice_of` the records.
        regions: None for all that both measured.
        split: as in :func:`scores`.

    Raises:
        UnpairedError: the two are not of one cohort, do not hold out the same cases in the same folds, or share no
            region; says what is missing where.
    """
    cohorts = [sorted({record.experiment.cohort for record in records}) for records in (base, other)]
    if cohorts[0] != cohorts[1] or len(cohorts[0]) > 1:
        raise UnpairedError(f"the base is of {', '.join(cohorts[0])}, the other of {', '.join(cohorts[1])}")
    for part in (HELD_OUT, TRAIN) if split == GAP else (split,):
        _require_pairs(base, other, part)
    ours, theirs = (dict.fromkeys(region for of in records for region in of.cases.region) for records in (base, other))
    shared = [region for region in ours if region in theirs and region in (regions or ours)]
    if not shared:
        raise UnpairedError(f"the base measured regions {list(ours)}, the other {list(theirs)}; none is shared")
    if metric == "dice":
        metric = dice_of((*base, *other), shared)
    tables = [scores(records, metric, shared, split) for records in (base, other)]
    margin = intervals.margin(split if split not in (HELD_OUT, TRAIN, GAP) else cohorts[0][0])
    found = statistics.paired(*tables, margin, _over_networks(base, other, tables, metric, shared, split))
    return with_soundness(found, base, other, tables)


def with_soundness(
    found: Paired,
    base: Sequence[Record],
    other: Sequence[Record],
    tables: Sequence[pd.DataFrame] = (),
    growing: bool = False,
) -> Paired:
    """A comparison with what speaks against it.

    Args:
        tables: :func:`scores` of the two, where what is compared may have changed no case at all.
        growing: as in ``analysis.soundness.between``.
    """
    change = tables[1].mean(axis=1) - tables[0].mean(axis=1) if tables else ()
    known = soundness.between(base, other, change, growing)
    return replace(found, unsound=known.unsound, cautions=known.cautions)


def dice_of(records: Sequence[Record], regions: Iterable[str]) -> str:
    """The Dice by which records are compared: ``"channel_dice"``, of each channel by itself as Adeniji and Liu measure
    it, where all have it in these regions; else ``"dice"``, of the label map that the channels become."""
    wanted = set(regions)
    each = (set(record.cases.region[record.cases.metric == "channel_dice"]) for record in records)
    return "channel_dice" if wanted and all(wanted <= measured for measured in each) else "dice"


def dice_of_groups(groups: Groups) -> str:
    """:func:`dice_of` all records of some groups, in the regions that all of them measured."""
    return dice_of([record for records in groups.values() for record in records], common_regions(groups) or ())


def folds_of(records: Iterable[Record]) -> dict[str, tuple[int, int]]:
    """The fold that holds out each case."""
    return {
        case: fold_of(record)
        for record in records
        for case in record.cases.case[record.cases.split == HELD_OUT].unique()
    }


def _over_networks(
    base: Sequence[Record],
    other: Sequence[Record],
    tables: Sequence[pd.DataFrame],
    metric: str,
    regions: Sequence[str],
    split: str,
) -> networks.OverNetworks | None:
    """The difference of two :func:`scores` over networks; None where cases are held out in no fold.

    Each network measures the cases that its fold holds out. Of another cohort it measures all.
    """
    if split in (HELD_OUT, TRAIN, GAP):
        folds = folds_of(base)
        held_out = [table[table.index.isin(folds)] for table in tables]
        return networks.over_networks(networks.by_fold(*held_out, folds)) if len(held_out[0]) else None
    each = []
    for records in (base, other):
        cases = cases_of(records)
        cases = cases[(cases.split == split) & (cases.metric == metric) & cases.region.isin(regions)]
        each.append(cases.groupby(["fold", "seed"]).value.mean().unstack("seed"))
    return networks.over_networks(networks.by_fold(*each, {fold: fold for fold in each[0].index}))


def scores(
    records: Sequence[Record], metric: str = "dice", regions: Sequence[str] | None = None, split: str = HELD_OUT
) -> pd.DataFrame:
    """A metric of every case (rows) under every seed (columns), mean over regions and folds; NaN where there is none.

    Args:
        regions: None for all that were measured.
        split: ``"held out"``, ``"train"``, the name of another cohort, or :data:`GAP`, of cases that have both.

    Raises:
        UnpairedError: a fold was run twice with the same seed, so that it would count twice.
    """
    if split == GAP:
        parts = [scores(records, metric, regions, part) for part in (TRAIN, HELD_OUT)]
        return (parts[0] - parts[1]).dropna(how="all")
    runs = [(*fold_of(record), record.experiment.seed) for record in records]
    if twice := sorted(
        {f"fold {fold} with seed {seed}" for fold, folds, seed in runs if runs.count((fold, folds, seed)) > 1}
    ):
        raise UnpairedError(f"there are several runs of {', '.join(twice)}; give one of each")
    tables = {
        seed: by_case([of for of in records if of.experiment.seed == seed], split, metric, regions)
        for seed in sorted({run[-1] for run in runs})
    }
    return pd.DataFrame({seed: table.mean(axis=1, skipna=False) for seed, table in tables.items()})


def on_shared_folds(base: Sequence[Record], other: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """The runs of each whose fold the other ran too: what can be compared where one of them ran more folds."""
    shared = {fold_of(record) for record in base} & {fold_of(record) for record in other}
    return tuple([record for record in records if fold_of(record) in shared] for records in (base, other))


def levels(groups: Groups) -> pd.Series:
    """Held-out Dice of each group, mean over regions, by label."""
    regions, metric = common_regions(groups), dice_of_groups(groups)
    tables = {label: by_case(records, metric=metric, regions=regions) for label, records in groups.items()}
    means = {label: table.mean(axis=1, skipna=False) for label, table in tables.items()}
    return pd.Series({label: mean_interval(values) for label, values in means.items()}, dtype=object)


def by_case(
    records: Sequence[Record], split: str = HELD_OUT, metric: str = "dice", regions: Sequence[str] | None = None
) -> pd.DataFrame:
    """A metric of every case (rows) in every region (columns), mean over the runs that have it in this split."""
    cases = cases_of(records)
    chosen = cases[(cases.split == split) & (cases.metric == metric)]
    if chosen.empty:
        raise ValueError(f"no run has a {metric} of {split!r} cases")
    table = chosen.groupby(["case", "region"], sort=False).value.mean().unstack("region")
    return table[list(regions or chosen.region.unique())]


def common_regions(groups: Groups) -> list[str] | None:
    """The regions that all groups measured; None where there is none."""
    of = [dict.fromkeys(record.cases.region) for records in groups.values() for record in records]
    return [region for region in of[0] if all(region in other for other in of)] or None if of else None


def fold_of(record: Record) -> tuple[int, int]:
    """Its fold, and of how many."""
    return record.experiment.fold, record.experiment.folds


def _require_pairs(base: Sequence[Record], other: Sequence[Record], split: str) -> None:
    def pairs(records: Sequence[Record]) -> set[tuple[str, str]]:
        return {
            (f"fold {record.experiment.fold} of {record.experiment.folds}", case)
            for record in records
            for case in record.cases.case[record.cases.split == split].unique()
        }

    ours, theirs = pairs(base), pairs(other)
    faults = []
    for name, missing in (("the other", ours - theirs), ("the base", theirs - ours)):
        for fold in sorted({fold for fold, _ in missing}):
            lacking = ", ".join(sorted(case for of, case in missing if of == fold))
            faults.append(f"{name} has not, in {fold}: {lacking}")
    if not faults and not ours:
        faults.append(f"neither has {split!r} cases, or they share no fold")
    if faults:
        raise UnpairedError("the runs cannot be paired by case (" + "; ".join(faults) + ")")
