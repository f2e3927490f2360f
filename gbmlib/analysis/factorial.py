"""Two crossed factors measured on the same cases: what each changes by itself, and what they change together.

*Cells* are (network, pipeline) -> records. A case counts with its Dice in every cell, mean over regions, so that all
comparisons are paired: an effect is computed within each case and seed, and worded by the rule of
``analysis.statistics``. Intervals of spreads are over cases alone; there is no test of them.

For cell means m with row means r, column means c and grand mean g, the mean of (m - g)^2 over cells is exactly the sum
of three parts: the mean of (r - g)^2, the mean of (c - g)^2, and what is left, the interaction. Their square roots are
the *spreads* of :func:`spreads`, in Dice.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from gbmlib.analysis import statistics
from gbmlib.analysis.compare import UnpairedError, cases_of, dice_of_groups, fold_of, folds_of
from gbmlib.analysis.factorial_paired import Cells, Pairs, jackknife, paired
from gbmlib.analysis.intervals import MARGIN, Difference, Interval
from gbmlib.analysis.networks import OverNetworks
from gbmlib.analysis.statistics import Paired
from gbmlib.study.records import HELD_OUT

FACTORS = ("network", "pipeline")


def shared_folds(cells: Cells) -> list[tuple[int, int]]:
    """The folds that every cell has run, as (fold, folds), in order."""
    each = [{fold_of(of) for of in records} for records in cells.values()]
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
    folds, tables, metric = shared_folds(cells), {}, dice_of_groups(cells)
    if not folds:
        raise UnpairedError("there is no fold that every cell has run")
    for cell, records in cells.items():
        kept = [of for of in records if fold_of(of) in folds]
        cases = cases_of(kept)
        cases = cases[(cases.split == HELD_OUT) & (cases.metric == metric)]
        tables[cell] = cases.groupby(["case", "region"], sort=False).value.mean().unstack("region")
    shared = [name for name in next(iter(tables.values())) if all(name in table for table in tables.values())]
    if not shared or region not in (None, *shared):
        raise UnpairedError(f"region {region!r} is not among those that all cells measured: {shared}")
    chosen = shared if region is None else [region]
    means = {cell: table[chosen].mean(axis=1, skipna=False) for cell, table in tables.items()}
    together = pd.concat(means, axis=1, names=FACTORS).sort_index()
    if lacking := [f"{' under pipeline '.join(cell)}: {_listed(of)}" for cell, of in together.items() if of.hasnans]:
        raise UnpairedError(
            "the cells hold out other cases in the same folds; without a value are " + "; ".join(lacking)
        )
    return together


def by_seed(cells: Cells, region: str | None = None) -> pd.DataFrame:
    """:func:`by_case` under every seed: rows are (case, seed).

    Where cells ran other seeds, a case has its mean over them: the one "seed" is then ``"mean"``.

    Raises:
        UnpairedError: as :func:`by_case`.
    """
    folds = shared_folds(cells)
    runs = [
        sorted((*fold_of(of), of.experiment.seed) for of in of_cell if fold_of(of) in folds)
        for of_cell in cells.values()
    ]
    if any(of != runs[0] for of in runs):
        return pd.concat({"mean": by_case(cells, region)}, names=["seed"]).swaplevel()
    tables = {}
    for seed in dict.fromkeys(run[-1] for run in runs[0]) if runs else ():
        of_seed = {cell: [of for of in records if of.experiment.seed == seed] for cell, records in cells.items()}
        tables[seed] = by_case(of_seed, region)
    if not tables:
        raise UnpairedError("there is no fold that every cell has run")
    return pd.concat(tables, names=["seed"]).swaplevel()


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
        over), and those of ``analysis.statistics.table``.

    Raises:
        UnpairedError: as :func:`by_case`.
    """
    table = by_seed(cells, region)
    networks, pipelines = (list(table.columns.unique(level)) for level in FACTORS)
    rows: dict[str, tuple[str, str, str]] = {}
    found: dict[str, dict[str, Paired]] = {}

    def add(label: str, effect: str, against: str, over: Sequence[str], values: pd.Series, pairs: Pairs) -> None:
        rows[label] = (effect, against, ", ".join(over))
        found.setdefault(effect, {})[label] = paired(values, cells, pairs)

    for a, b in combinations(networks, 2):
        if over := [p for p in pipelines if {(a, p), (b, p)} <= set(table)]:
            values = sum(table[b, p] - table[a, p] for p in over) / len(over)
            pairs = [((a, p), (b, p)) for p in over]
            add(f"{b} − {a}", "architecture", a, [f"pipeline {p}" for p in over], values, pairs)
    for p, q in combinations(pipelines, 2):
        both = [n for n in networks if {(n, p), (n, q)} <= set(table)]
        if both:
            values = sum(table[n, q] - table[n, p] for n in both) / len(both)
            pairs = [((n, p), (n, q)) for n in both]
            add(f"pipeline {q} − {p}", "pipeline", f"pipeline {p}", both, values, pairs)
        for a, b in combinations(both, 2):
            values = (table[b, q] - table[b, p]) - (table[a, q] - table[a, p])
            pairs = [((a, p), (b, p)), ((a, q), (b, q))]
            add(f"gain by {q}: {b} − {a}", "interaction", f"the gain of {a}", [], values, pairs)
    tables = [statistics.table(of) for of in found.values()] or [statistics.table({})]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["effect", "against", "over"]).join(pd.concat(tables))


def within(cells: Cells) -> pd.DataFrame:
    """The same differences one by one: of each network's pipelines, then of each pipeline's networks; all one family.

    Returns:
        Index: labels; columns ``against`` and those of ``analysis.statistics.table``.

    Raises:
        UnpairedError: as :func:`by_case`.
    """
    table, against, found = by_seed(cells), {}, {}
    for same, changed in ((0, 1), (1, 0)):
        for level in table.columns.unique(same):
            for one, other in combinations([cell for cell in table if cell[same] == level], 2):
                label = f"{level if same == 0 else f'pipeline {level}'}: {other[changed]} − {one[changed]}"
                against[label] = f"{one[0]} under pipeline {one[1]}"
                found[label] = paired(table[other] - table[one], cells, [(one, other)])
    out = statistics.table(found)
    out.insert(0, "against", pd.Series(against, dtype=object))
    return out


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
    values, names = _cube(table), (*FACTORS, "interaction")
    rows = {}
    for number, name in enumerate(names):
        spread = _bootstrapped(values, lambda means, n=number: np.sqrt(_parts(means)[n]))
        share = _bootstrapped(values, lambda means, n=number: _share(_parts(means), n))
        rows[name] = {"spread": spread, "share": share}
    return pd.DataFrame.from_dict(rows, orient="index")


def networks_minus_pipelines(table: pd.DataFrame) -> Difference:
    """The spread of the networks minus that of the pipelines: which of the two matters more.

    Raises:
        ValueError: a cell is missing.
    """
    return Difference(**vars(_bootstrapped(_cube(table), _apart)))


def over_networks(table: pd.DataFrame, cells: Cells) -> OverNetworks:
    """:func:`networks_minus_pipelines` over networks; ``table`` is :func:`by_case` of all the cells."""
    folds = folds_of(record for records in cells.values() for record in records)
    return jackknife(table, lambda rows: _apart(_cube(rows).mean(0)), folds)


def leaving_out(table: pd.DataFrame) -> pd.DataFrame:
    """The spreads with all networks and with each left out: whether one network carries the answer.

    Args:
        table: :func:`by_case` of all cells.

    Returns:
        Index: ``None`` (all networks), then each network that is left out; columns ``network`` and ``pipeline``
        (:func:`spreads`) and ``difference`` (:func:`networks_minus_pipelines`).

    Raises:
        ValueError: a cell is missing, or there are fewer than three networks.
    """
    rows = {}
    for name in (None, *table.columns.unique(FACTORS[0])):
        rest = table if name is None else table.drop(columns=name, level=FACTORS[0])
        of = spreads(rest).spread
        rows[name] = {**of[list(FACTORS)], "difference": networks_minus_pipelines(rest)}
    return pd.DataFrame(list(rows.values()), index=pd.Index(rows, dtype=object))


def otherwise_without(found: pd.DataFrame) -> dict[str, Difference]:
    """The networks without which the interval over cases says otherwise, with what it is then (:func:`leaving_out`)."""
    every, *rest = found.difference.items()
    word = statistics.outcome([every[1]], MARGIN)
    return {name: change for name, change in rest if statistics.outcome([change], MARGIN) != word}


def _parts(means: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean squares of cell means (…, network, pipeline) between networks, between pipelines, and of the rest."""
    grand = means.mean((-1, -2), keepdims=True)
    rows, columns = means.mean(-1, keepdims=True), means.mean(-2, keepdims=True)
    rest = means - rows - columns + grand
    return tuple(np.square(part).mean((-1, -2)) for part in (rows - grand, columns - grand, rest))


def _apart(means: np.ndarray) -> np.ndarray:
    """The spread of the networks minus that of the pipelines, of cell means."""
    between_networks, between_pipelines, _ = _parts(means)
    return np.sqrt(between_networks) - np.sqrt(between_pipelines)


def _share(parts: Sequence[np.ndarray], number: int) -> np.ndarray:
    """A part's share of them all; 0 of nothing."""
    total = sum(parts)
    return np.divide(parts[number], total, out=np.zeros_like(total), where=total > 0)


def _cube(table: pd.DataFrame) -> np.ndarray:
    """(case, network, pipeline)."""
    levels = [list(table.columns.unique(level)) for level in FACTORS]
    lacking = [f"{n} under pipeline {p}" for n in levels[0] for p in levels[1] if (n, p) not in table]
    lacking += [f"a second {name}" for name, of in zip(FACTORS, levels, strict=True) if len(of) < 2]
    if lacking:
        raise ValueError(f"all cells are needed; missing: {', '.join(lacking)}")
    each = [[table[n, p].to_numpy() for p in levels[1]] for n in levels[0]]
    return np.moveaxis(np.asarray(each, float), -1, 0)


def _bootstrapped(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], confidence: float = 0.95, seed: int = 0
) -> Interval:
    """A statistic of the cell means, and its bootstrap interval over cases, as in ``analysis.intervals``.

    A drawn case brings all its cells, so what is paired stays paired.
    """
    cases = len(values)
    found = float(statistic(values.mean(0)))
    if cases < 3:
        return Interval(found, np.nan, np.nan, cases)

    def of_drawn(numbers: np.ndarray, axis: int = -1) -> np.ndarray:
        return statistic(values[numbers].mean(-3))

    def ends(method: str) -> tuple[float, float]:
        drawn = stats.bootstrap(
            (np.arange(cases),),
            of_drawn,
            vectorized=True,
            batch=1000,
            confidence_level=confidence,
            method=method,
            rng=np.random.default_rng(seed),
        )
        return tuple(map(float, drawn.confidence_interval))

    if np.ptp(values, axis=0).max() == 0:  # equal cases tell nothing of chance
        return Interval(found, found, found, cases)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        low, high = ends("BCa")
    if np.isnan(low):  # at the edge of what a share can be, no drawn value lies beyond the one found
        low, high = ends("percentile")
    return Interval(found, low, high, cases)


def _listed(column: pd.Series) -> str:
    return ", ".join(sorted(column.index[column.isna()]))
