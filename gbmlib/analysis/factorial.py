"""Two crossed factors measured on the same cases: what each changes by itself, and what they change together.

*Cells* are (network, pipeline) -> records. A case counts with its Dice in every cell, mean over regions, so that all
comparisons are paired: an effect is computed within each case and seed, and worded by ``analysis.intervals.decide``.
Which of the two factors matters more is asked of their ``analysis.spreads``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import pandas as pd

from gbmlib.analysis import family, intervals, paired, scores, soundness
from gbmlib.analysis.paired import Paired
from gbmlib.analysis.scores import UnpairedError, fold_of
from gbmlib.analysis.soundness import Soundness
from gbmlib.analysis.treatments import unequal
from gbmlib.study.records import HELD_OUT, Record

FACTORS = ("network", "pipeline")
Cell = tuple[str, str]
Cells = Mapping[Cell, Sequence[Record]]
#: What a cell counts in an effect, which is a weighted sum of cells.
Weights = Mapping[Cell, float]


def shared_folds(cells: Cells) -> list[tuple[int, int]]:
    """The folds that every cell has run, as (fold, folds), in order."""
    each = [{fold_of(record) for record in records} for records in cells.values()]
    return sorted(set.intersection(*each)) if each else []


def by_case(cells: Cells, region: str | None = None) -> pd.DataFrame:
    """Dice of every held-out case (rows) in every cell (columns: network, pipeline), mean over seeds.

    Args:
        region: None for the mean over the regions that all cells measured.

    Returns:
        The cases of the folds that every cell has run (:func:`shared_folds`).

    Raises:
        UnpairedError: no fold or no region is shared, or the cells hold out other cases in the same fold.
    """
    return _dice(cells, region, ["case"])


def by_seed(cells: Cells, region: str | None = None) -> pd.DataFrame:
    """:func:`by_case` under every seed: rows are (case, seed).

    Where cells ran other seeds, a case has its mean over them: the one "seed" is then ``"mean"``.
    """
    folds = shared_folds(cells)
    runs = [
        sorted((*fold_of(record), record.experiment.seed) for record in records if fold_of(record) in folds)
        for records in cells.values()
    ]
    if all(each == runs[0] for each in runs):
        return _dice(cells, region, ["case", "seed"])
    return pd.concat({"mean": by_case(cells, region)}, names=["seed"]).swaplevel()


def _dice(cells: Cells, region: str | None, rows: list[str]) -> pd.DataFrame:
    folds = shared_folds(cells)
    if not folds:
        raise UnpairedError("there is no fold that every cell has run")
    in_folds = {cell: [record for record in records if fold_of(record) in folds] for cell, records in cells.items()}
    table = scores.tidy(in_folds)
    table = table[(table.split == HELD_OUT) & (table.metric == scores.dice_of(cells))]
    measured = table.groupby(list(FACTORS), sort=False).region.unique()
    shared = [name for name in measured.iloc[0] if all(name in names for names in measured)]
    if not shared or region not in (None, *shared):
        raise UnpairedError(f"region {region!r} is not among those that all cells measured: {shared}")
    each = table.groupby([*FACTORS, *rows, "region"], sort=False).value.mean().unstack("region")
    means = each[shared if region is None else [region]].mean(axis=1, skipna=False)
    wide = means.unstack(list(FACTORS)).sort_index()[list(cells)]
    lacking = {cell: wide.index[values.isna()].get_level_values("case") for cell, values in wide.items()}
    if any(map(len, lacking.values())):
        listed = (
            f"{' under pipeline '.join(cell)}: {', '.join(cases)}" for cell, cases in lacking.items() if len(cases)
        )
        raise UnpairedError(
            f"the cells hold out other cases in the same folds; without a value are {'; '.join(listed)}"
        )
    return wide


# ------------------------------------------------------------------------------------------------------------- effects


def effects(cells: Cells, region: str | None = None) -> pd.DataFrame:
    """What each factor changes by itself, averaged over the other, and together; a row a comparison of two levels.

    *Architecture*: one network minus another, averaged over the pipelines that both were trained under. *Pipeline*: one
    minus another, averaged over the networks that both trained. *Interaction*: by how much more one network gains from
    a pipeline than another does. Each of the three is a question, and its comparisons are a family.

    Args:
        cells: where one is missing, what can be said without it is said.
        region: as in :func:`by_case`.

    Returns:
        Index: labels; columns ``effect``, ``against`` (the label of what is subtracted), ``over`` (what is averaged
        over), and those of ``analysis.family.table``.

    Raises:
        UnpairedError: as :func:`by_case`.
    """
    table = by_seed(cells, region)
    networks, pipelines = (list(table.columns.unique(level)) for level in FACTORS)
    rows: dict[str, tuple[str, str, str]] = {}
    families: dict[str, dict[str, Paired]] = {}

    def add(label: str, effect: str, against: str, over: Sequence[str], weights: Weights) -> None:
        rows[label] = (effect, against, ", ".join(over))
        families.setdefault(effect, {})[label] = _paired(table, cells, weights)

    for a, b in combinations(networks, 2):
        if over := [p for p in pipelines if {(a, p), (b, p)} <= set(table)]:
            weights = {(n, p): sign / len(over) for p in over for n, sign in ((a, -1), (b, 1))}
            add(f"{b} − {a}", "architecture", a, [f"pipeline {p}" for p in over], weights)
    for p, q in combinations(pipelines, 2):
        both = [n for n in networks if {(n, p), (n, q)} <= set(table)]
        if both:
            weights = {(n, level): sign / len(both) for n in both for level, sign in ((p, -1), (q, 1))}
            add(f"pipeline {q} − {p}", "pipeline", f"pipeline {p}", both, weights)
        for a, b in combinations(both, 2):
            weights = {(a, p): 1, (b, p): -1, (a, q): -1, (b, q): 1}
            add(f"gain by {q}: {b} − {a}", "interaction", f"the gain of {a}", [], weights)
    tables = [family.table(comparisons) for comparisons in families.values()] or [family.table({})]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["effect", "against", "over"]).join(pd.concat(tables))


def within(cells: Cells) -> pd.DataFrame:
    """The same differences one by one: of each network's pipelines, then of each pipeline's networks; all one family.

    Returns:
        Index: labels; columns ``against`` and those of ``analysis.family.table``.

    Raises:
        UnpairedError: as :func:`by_case`.
    """
    table, against, comparisons = by_seed(cells), {}, {}
    for same, changed in ((0, 1), (1, 0)):
        for level in table.columns.unique(same):
            for one, other in combinations([cell for cell in table if cell[same] == level], 2):
                label = f"{level if same == 0 else f'pipeline {level}'}: {other[changed]} − {one[changed]}"
                against[label] = f"{one[0]} under pipeline {one[1]}"
                comparisons[label] = _paired(table, cells, {one: -1, other: 1})
    return pd.Series(against, name="against", dtype=object).to_frame().join(family.table(comparisons))


def _paired(table: pd.DataFrame, cells: Cells, weights: Weights) -> Paired:
    """A weighted sum of cells by (case, seed), ``table``, against none at all."""
    values = sum(weight * table[cell] for cell, weight in weights.items()).unstack("seed")
    nothing = values.where(values.isna(), 0.0)
    networks = intervals.over_networks(nothing, values, folds_of(cells))
    judgement = judged(cells, weights)
    comparison = paired.compare_tables(nothing, values, margin(cells), networks)
    return replace(comparison, unsound=judgement.unsound, cautions=judgement.cautions)


def judged(cells: Cells, weights: Weights | None = None) -> Soundness:
    """The soundness of an effect: of its networks, of their budgets (the first unequal pair is told), and of the effect
    itself where every cell was trained twice as long.

    Args:
        weights: None for cells that are looked at together, all pairs that share a network or a pipeline.
    """
    members = weights or dict.fromkeys(cells)
    pairs = [(one, other) for one, other in combinations(members, 2) if one[0] == other[0] or one[1] == other[1]]
    if weights:
        pairs = [(one, other) for one, other in pairs if weights[one] * weights[other] < 0]
    trained = {record.id: record for cell in members for record in cells[cell]}
    reasons = soundness.collapsed(trained.values()) + soundness.undertrained(trained.values())
    unfair, by_design = [], {}
    for one, other in pairs:
        budgets, meant = unequal(cells[one], cells[other])
        unfair += [f"{sentence} ({' under '.join(other)} and {' under '.join(one)})" for sentence in budgets]
        by_design |= dict.fromkeys(meant)
    if weights and not reasons:
        reasons = soundness.drifting([(cells[cell], weight) for cell, weight in weights.items()])
    return Soundness((*reasons, *unfair[:1]), (*by_design, *soundness.excused(trained.values())))


def margin(cells: Cells) -> float:
    """The margin below which a difference counts as none, on the cohort of some cells."""
    return intervals.margin(next(record for records in cells.values() for record in records).experiment.cohort)


def folds_of(cells: Cells) -> dict[str, tuple[int, int]]:
    """The fold that holds out each case."""
    return scores.folds_of(record for records in cells.values() for record in records)
