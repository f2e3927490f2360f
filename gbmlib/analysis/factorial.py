"""Two crossed factors measured on the same cases: what each changes by itself, and what they change together.

*Cells* are (network, pipeline) -> records. A case counts with its Dice in every cell, mean over regions, so that all
comparisons are paired: an effect is computed within each case and seed, and worded by ``analysis.intervals.decide``.
No rank test tames an outlier of spreads; in its place no single case may carry what they decide (:func:`carried_by`).

For cell means m with row means r, column means c and grand mean g, the mean of (m - g)^2 over cells is exactly the sum
of three parts: the mean of (r - g)^2, the mean of (c - g)^2, and what is left, the interaction. Their square roots are
the *spreads* of :func:`spreads`, in Dice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd

from gbmlib.analysis import family, intervals, paired, scores, soundness
from gbmlib.analysis.intervals import MARGIN, UNDECIDED, Difference, OverNetworks
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
    networks = intervals.over_networks(nothing, values, _folds_of(cells))
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


def _folds_of(cells: Cells) -> dict[str, tuple[int, int]]:
    return scores.folds_of(record for records in cells.values() for record in records)


# ------------------------------------------------------------------------------------------------------------- spreads


def spreads(table: pd.DataFrame) -> pd.DataFrame:
    """How far the means of the networks, of the pipelines, and of both together lie apart: the module's text says how.

    A spread is never negative: chance alone makes some, and a little more of it the more levels a factor has.

    Args:
        table: :func:`by_case` of all cells.

    Returns:
        Index: ``network``, ``pipeline``, ``interaction``; columns ``spread`` (root mean square in Dice), ``share`` (of
        the mean square between cells), both with intervals.

    Raises:
        ValueError: a cell is missing.
    """
    values, rows = _cube(table), {}
    for number, name in enumerate((*FACTORS, "interaction")):
        spread = intervals.bootstrap(values, lambda means, n=number: np.sqrt(_mean_squares(means)[n]))
        share = intervals.bootstrap(values, lambda means, n=number: _shares(means)[n])
        rows[name] = {"spread": spread, "share": share}
    return pd.DataFrame.from_dict(rows, orient="index")


def networks_minus_pipelines(table: pd.DataFrame) -> Difference:
    """The spread of the networks minus that of the pipelines: which of the two matters more; arguments and errors as of
    :func:`spreads`."""
    return Difference(**vars(intervals.bootstrap(_cube(table), _apart)))


def over_networks(table: pd.DataFrame, cells: Cells) -> OverNetworks:
    """:func:`networks_minus_pipelines` over networks; ``table`` is :func:`by_case` of all the cells."""
    return intervals.jackknife(table, lambda rows: _apart(_cube(rows).mean(0)), _folds_of(cells))


def carried_by(table: pd.DataFrame) -> list[str]:
    """The cases without any one of which :func:`networks_minus_pipelines` has an interval that no longer excludes 0."""
    word = intervals.outcome([networks_minus_pipelines(table)], 0)
    without = ((case, networks_minus_pipelines(table.drop(index=case))) for case in table.index)
    return [] if word == UNDECIDED else [case for case, change in without if intervals.outcome([change], 0) != word]


def leaving_out(table: pd.DataFrame) -> pd.DataFrame:
    """The spreads with all networks and, of three or more, with each left out: whether one carries the answer.

    Returns:
        Index: ``None`` (all networks), then each network that is left out; columns ``network`` and ``pipeline``
        (:func:`spreads`) and ``difference`` (:func:`networks_minus_pipelines`).

    Raises:
        ValueError: a cell is missing.
    """
    rows, networks = {}, table.columns.unique(FACTORS[0])
    for name in (None, *(networks if len(networks) > 2 else ())):
        rest = table if name is None else table.drop(columns=name, level=FACTORS[0])
        rows[name] = {**spreads(rest).spread[list(FACTORS)], "difference": networks_minus_pipelines(rest)}
    return pd.DataFrame(list(rows.values()), index=pd.Index(rows, dtype=object))


def otherwise_without(left_out: pd.DataFrame) -> dict[str, Difference]:
    """The networks whose omission changes the decision over cases, with the interval then (:func:`leaving_out`)."""
    (_, with_all), *rest = left_out.difference.items()
    word = intervals.outcome([with_all], MARGIN)
    return {name: change for name, change in rest if intervals.outcome([change], MARGIN) != word}


def _mean_squares(means: np.ndarray) -> np.ndarray:
    """Mean squares of cell means (…, network, pipeline) between networks, pipelines, and of the rest: (3, …)."""
    grand_mean = means.mean((-1, -2), keepdims=True)
    rows, columns = means.mean(-1, keepdims=True), means.mean(-2, keepdims=True)
    effects = (rows - grand_mean, columns - grand_mean, means - rows - columns + grand_mean)
    return np.stack([np.square(effect).mean((-1, -2)) for effect in effects])


def _shares(means: np.ndarray) -> np.ndarray:
    """Each mean square's share of their sum, (3, …); 0 where the sum is 0."""
    parts = _mean_squares(means)
    total = sum(parts)
    return np.divide(parts, total, out=np.zeros_like(parts), where=total > 0)


def _apart(means: np.ndarray) -> np.ndarray:
    """The spread of the networks minus that of the pipelines, of cell means."""
    between_networks, between_pipelines, _ = _mean_squares(means)
    return np.sqrt(between_networks) - np.sqrt(between_pipelines)


def _cube(table: pd.DataFrame) -> np.ndarray:
    """The cells as an array (case, network, pipeline)."""
    networks, pipelines = levels = [list(table.columns.unique(level)) for level in FACTORS]
    lacking = [f"{n} under pipeline {p}" for n in networks for p in pipelines if (n, p) not in table]
    lacking += [f"a second {name}" for name, values in zip(FACTORS, levels, strict=True) if len(values) < 2]
    if lacking:
        raise ValueError(f"all cells are needed; missing: {', '.join(lacking)}")
    return np.moveaxis(np.array([[table[n, p].to_numpy(float) for p in pipelines] for n in networks]), -1, 0)
