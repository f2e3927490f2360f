"""The comparisons behind each claim: the records of its groups of runs, and the differences between the groups.

``claims.verdicts`` says what follows from it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gbmlib.analysis import factorial, intervals, leaderboard, paired, scores, spreads
from gbmlib.analysis.intervals import MARGIN, Difference, OverNetworks, within
from gbmlib.analysis.paired import Paired
from gbmlib.analysis.scores import UnpairedError
from gbmlib.claims.ledger import CHOSEN, ByFactorial, ByRuns, Claim
from gbmlib.cohorts import regions
from gbmlib.files import FACTS
from gbmlib.study import scales
from gbmlib.study.catalogue import Run, Runs, cohorts_of, runs_of
from gbmlib.study.records import TRAIN, Record, Store


@dataclass(frozen=True)
class Comparison:
    """One comparison of a claim: two groups of runs, and the difference between them.

    Attributes:
        this, that: labels.
        difference: of this minus that; turned, where less is better, only in :attr:`in_favour`.
        paired: the statistics behind it; None where there is no test.
        adjusted: p after Holm in the family; NaN without a test.
        networks: the difference over trained networks; None where there is none.
        margin: what counts as no difference on its cohort.
        unsound: why nothing may be decided yet, a sentence each.
        available, wanted: how many of the runs have a record.
        ids: of the records that the difference comes out of.
        problem: why there is nothing to compare; empty otherwise.
        caution: what differs by design, and whether another choice would decide otherwise; empty otherwise.
        carried_by: the cases without any of which a comparison that has no rank test would be undecided.
    """

    this: str
    that: str
    difference: Difference | None = None
    paired: Paired | None = None
    adjusted: float = float("nan")
    networks: OverNetworks | None = None
    margin: float = MARGIN
    unsound: tuple[str, ...] = ()
    available: int = 0
    wanted: int = 0
    ids: tuple[str, ...] = ()
    problem: str = ""
    caution: str = ""
    less_is_better: bool = False
    carried_by: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return self.difference is not None and self.available == self.wanted

    @property
    def in_favour(self) -> Difference:
        """The difference, positive where this is better."""
        return -self.difference if self.less_is_better else self.difference

    @property
    def networks_in_favour(self) -> OverNetworks | None:
        """The difference over networks, positive where this is better."""
        turned = self.networks and self.less_is_better
        return replace(self.networks, difference=-self.networks.difference) if turned else self.networks

    @property
    def small(self) -> bool:
        """Whether the difference is shown to lie inside the margin."""
        return self.networks is not None and all(
            within(one, self.margin) for one in (self.difference, self.networks.difference)
        )


@dataclass(frozen=True)
class Evidence:
    """The evidence for the claims: a store, in which each record is looked up once, and the folder of facts."""

    store: Store
    facts: Path = FACTS
    _records: dict[str, Record | None] = field(default_factory=dict)

    def records(self, wanted: Sequence[Any]) -> list[Record]:
        """The records of these runs that the store holds."""
        for run in wanted:
            if run.id not in self._records:
                self._records[run.id] = self.store.get(run)
        return [record for run in wanted if (record := self._records[run.id])]


def question(claim: Claim, comparison: Comparison) -> Hashable:
    """The test that a comparison makes, as a key: claims that ask the same of the same runs share one test."""
    by = claim.decided_by
    return by.model_dump_json(exclude={"pairs"}), comparison.this, comparison.that


def wanted(claim: Claim, scale: str) -> list[Run]:
    """The runs that decide a claim at a scale; none for a check, or where the scale does not ask the question."""
    by = claim.decided_by
    if not isinstance(by, ByRuns | ByFactorial):
        return []
    groups = runs_of(by.source, scale)
    labels = (
        _cells(by, groups)
        if isinstance(by, ByFactorial)
        else dict.fromkeys(label for pair in by.pairs for label in pair)
    )
    return list({run.id: run for label in labels for run in _runs(label, groups)}.values())


def _runs(label: str, groups: Runs) -> list[Run]:
    """The runs behind a label."""
    labels = leaderboard.candidates_of(groups) if label == CHOSEN else [label]
    return [run for one in labels for run in groups.get(one, ())]


def runs_of_claims(claims: Sequence[Claim], scale: str, cohorts: Sequence[str]) -> dict[str, list[Run]]:
    """The runs of each claim that read these cohorts alone; a run of several claims is listed under the first."""
    runs, seen = {}, set()
    for claim in claims:
        by_id = {run.id: run for run in wanted(claim, scale) if set(cohorts_of(run)) <= set(cohorts)}
        runs[claim.id] = [run for name, run in by_id.items() if name not in seen]
        seen |= set(by_id)
    return {name: of_claim for name, of_claim in runs.items() if of_claim}


def compared(claim: Claim, evidence: Evidence) -> tuple[str, list[Comparison]]:
    """The scale that a claim is decided at, the largest with all records if there is one, and the comparisons there."""
    by = claim.decided_by
    if not isinstance(by, ByRuns | ByFactorial):
        return "", []
    pairs = by.pairs if isinstance(by, ByRuns) else (("pipelines", "networks"),)
    compare = _pair if isinstance(by, ByRuns) else _spread
    tried = {}
    for scale in (by.scale,) if by.scale else scales.PUBLISHED:
        runs = runs_of(by.source, scale)
        asked = {label for pair in pairs for label in pair} <= {*runs, CHOSEN} if isinstance(by, ByRuns) else runs
        if not asked:
            continue  # not every scale asks every question
        tried[scale] = [compare(by, *pair, runs, evidence) for pair in pairs]
        if all(one.complete for one in tried[scale]):
            return scale, tried[scale]
    size = scales.PUBLISHED.index
    # Without all records of any scale: of those that are still made, the one that lacks least.
    current = scales.PUBLISHED[: size(scales.DEFAULT) + 1]
    candidates = {scale: tried[scale] for scale in current if scale in tried} or tried
    return max(candidates.items(), key=lambda item: (sum(one.available for one in item[1]), size(item[0])))


def _pair(by: ByRuns, this: str, that: str, runs: Runs, evidence: Evidence) -> Comparison:
    wanted = {run.id: run for label in (this, that) for run in _runs(label, runs)}
    available = sum(1 for run in wanted.values() if evidence.records([run]))
    comparison = Comparison(this, that, available=available, wanted=len(wanted), less_is_better=by.split == scores.GAP)
    try:
        first, second = (_records(label, runs, evidence) for label in (this, that))
        if by.split != scales.EXTERNAL:  # whose cases are in no fold
            first, second = scores.on_shared_folds(first, second)
        if not first or not second:
            return comparison
        statistics = _paired(by, first, second)
    except ValueError as error:
        return replace(comparison, problem=str(error))
    ids = tuple(dict.fromkeys(record.id for record in (*first, *second)))
    return replace(
        comparison,
        difference=statistics.difference,
        paired=statistics,
        networks=statistics.networks,
        margin=statistics.margin,
        unsound=statistics.unsound,
        caution="; ".join(statistics.cautions),
        ids=ids,
    )


def _records(label: str, runs: Runs, evidence: Evidence) -> list[Record]:
    if label != CHOSEN:
        return evidence.records(runs[label])
    candidates = {one: evidence.records(runs[one]) for one in leaderboard.candidates_of(runs)}
    return leaderboard.chosen_elsewhere(candidates) if any(candidates.values()) else []


def _paired(by: ByRuns, this: Sequence[Record], that: Sequence[Record]) -> Paired:
    shared = set.intersection(*(set(record.cases.region) for record in (*this, *that)))
    names = [by.region] if by.region else list(regions.BRATS) if set(regions.BRATS) <= shared else None
    if by.region and by.region not in shared:
        raise UnpairedError(f"region {by.region} was not measured by all; {', '.join(sorted(shared))} were")
    if by.that_measure is None and by.that_split is None:
        return paired.compare(that, this, by.measure, names, by.split)
    # Two measures of the same runs, or of the same cases held out and trained on.
    known = {"dice": scores.dice_of((*this, *that), names)}
    one, other = (known.get(name, name) for name in (by.measure, by.that_measure or by.measure))
    first = scores.by_seed(this, one, names, by.split)
    second = scores.by_seed(that, other, names, by.that_split or by.split)
    growing = TRAIN in (by.split, by.that_split)
    if growing:
        both = first.index.intersection(second.index)
        first, second = first.loc[both], second.loc[both]
    margin = intervals.margin(this[0].experiment.cohort)
    over = intervals.over_networks(second, first, scores.folds_of(this))
    return paired.judged(paired.compare_tables(second, first, margin, over), that, this, growing=growing)


def _cells(by: ByFactorial, runs: Runs) -> Runs:
    """The cells of the networks that are compared, by label."""
    return {label: cell for label, cell in runs.items() if not by.networks or label.split(" under ")[0] in by.networks}


def _spread(by: ByFactorial, this: str, that: str, runs: Runs, evidence: Evidence) -> Comparison:
    runs = _cells(by, runs)
    wanted = {run.id: run for group in runs.values() for run in group}
    available = sum(1 for run in wanted.values() if evidence.records([run]))
    comparison = Comparison(this, that, available=available, wanted=len(wanted))
    if available < len(wanted):
        return comparison
    cells = {tuple(label.split(" under pipeline ")): evidence.records(of_cell) for label, of_cell in runs.items()}
    table = factorial.by_case(cells)
    apart = spreads.apart(table, cells)
    otherwise = spreads.otherwise_without(spreads.leaving_out(table), apart.margin)
    otherwise = [f"{-change} without {name}" for name, change in otherwise.items()]
    return replace(
        comparison,
        difference=-apart.change,
        networks=replace(apart.networks, difference=-apart.networks.difference),
        margin=apart.margin,
        unsound=apart.unsound,
        carried_by=apart.carried_by,
        ids=tuple(wanted),
        caution=f"decided otherwise if one network is left out: {', '.join(otherwise)}" if otherwise else "",
    )
