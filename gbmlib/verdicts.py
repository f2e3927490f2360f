"""The verdict on each claim of the two papers, computed from records.

A verdict on a difference rests on two things. The 95 % interval over cases and seeds must leave out zero, and p of
Wilcoxon's test, adjusted after Holm for the family of comparisons that the claim belongs to, must not exceed 0.05. A
claim of no difference, or of being no worse, rests on the interval: it must lie within the margin, or not reach below
it (equivalence and non-inferiority at 2.5 % a side). It is refuted where the interval lies beyond the margin. Whatever
is neither is undecided. A claim with several comparisons holds if all of them do, and fails with any of them.

``python -m gbmlib.verdicts [ID…]`` prints them; with ``--cohort brats:PATH`` it first makes the runs that they lack.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gbmlib import cohorts, compare, experiments, factorial, regions, statistics
from gbmlib.ablation_pages import SCALES
from gbmlib.claims import ByCheck, ByFactorial, ByRuns, Claim, Open, read
from gbmlib.claims_checks import CHECKS
from gbmlib.claims_sources import SOURCES, Runs, runs_of
from gbmlib.experiments import head_to_head
from gbmlib.experiments.runner import to_do
from gbmlib.intervals import MARGIN, Difference
from gbmlib.records import TRAIN, Record, Store
from gbmlib.statistics import Paired, UnpairedError

SUPPORTED, NOT_SUPPORTED, UNDECIDED, NOT_YET = "supported", "not supported", "undecided", "not decided yet"
WORDS = (SUPPORTED, NOT_SUPPORTED, UNDECIDED, NOT_YET)

#: Adjusted p above this decide no difference.
LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """One pair of a claim.

    Attributes:
        this, that: labels.
        difference: of this minus that; turned, where less is better, only in :attr:`in_favour`.
        paired: the statistics behind it; None where there is no test.
        adjusted: p after Holm in the family; NaN without a test.
        there, wanted: how many of the runs have a record.
        problem: why there is nothing to compare; empty otherwise.
    """

    this: str
    that: str
    difference: Difference | None = None
    paired: Paired | None = None
    adjusted: float = float("nan")
    there: int = 0
    wanted: int = 0
    problem: str = ""
    less_is_better: bool = False

    @property
    def complete(self) -> bool:
        return self.difference is not None and self.there == self.wanted

    @property
    def in_favour(self) -> Difference:
        """The difference, positive where this is better."""
        of = self.difference
        return Difference(-of.mean, -of.high, -of.low, of.cases) if self.less_is_better else of


@dataclass(frozen=True)
class Verdict:
    """What the records say of a claim.

    Attributes:
        word: one of :data:`WORDS`.
        why: in words.
        comparisons: of runs; empty for a check.
        scale: of the runs; empty for a check.
        missing: how many runs would still have to be made.
    """

    claim: Claim
    word: str
    why: str
    comparisons: tuple[Comparison, ...] = ()
    scale: str = ""
    missing: int = 0

    @property
    def command(self) -> str:
        """What makes the missing runs; empty where there are none."""
        source = getattr(self.claim.decided_by, "source", None)
        if self.word != NOT_YET or source is None:
            return ""
        scale = "" if self.scale in ("", SCALES[-1]) else f" --profile {self.scale}"
        return f"python -m gbmlib.verdicts {self.claim.id} --cohort {SOURCES[source].data}{scale}"

    @property
    def clearness(self) -> float:
        """How far a decided verdict is from being undecided, for ranking: the interval's distance from zero or margin,
        in its own widths; infinite for a check."""
        if not self.comparisons:
            return float("inf")
        return min((_clearness(of) for of in self.comparisons if of.difference), default=0.0)


@dataclass(frozen=True)
class Evidence:
    """What the claims are decided by: a store, of which each record is looked for once, and the folder of facts."""

    store: Store
    facts: Path = Path("book/facts")
    _records: dict[str, Record | None] = field(default_factory=dict)

    def records(self, wanted: Sequence[Any]) -> list[Record]:
        """Those that the store holds."""
        for of in wanted:
            if of.id not in self._records:
                self._records[of.id] = self.store.get(of)
        return [record for of in wanted if (record := self._records[of.id])]


def decide(claims: Sequence[Claim], store: Store, facts: str | Path = "book/facts") -> dict[str, Verdict]:
    """The verdict on each claim, by id, in order.

    Holm's correction takes together the comparisons of all claims of a family that are given, whether they have records
    or not: so give all claims, even where one is of interest.
    """
    evidence = Evidence(store, Path(facts))
    compared = {claim.id: _compared(claim, evidence) for claim in claims}
    families: dict[str, dict[tuple[str, int], float]] = {}
    for claim in claims:
        for number, of in enumerate(compared[claim.id][1]):
            if claim.family:
                tested = of.paired is not None and of.complete
                families.setdefault(claim.family, {})[claim.id, number] = of.paired.p if tested else float("nan")
    adjusted = {key: p for family in families.values() for key, p in statistics.holm(family).items()}
    found = {}
    for claim in claims:
        scale, comparisons = compared[claim.id]
        known = tuple(replace(of, adjusted=adjusted.get((claim.id, n), np.nan)) for n, of in enumerate(comparisons))
        found[claim.id] = _verdict(claim, scale, known, evidence)
    return found


def word_of(kind: str, of: Comparison, margin: float = MARGIN) -> tuple[str, str]:
    """What one comparison says of a claim of a kind, and why."""
    if not of.complete:
        return NOT_YET, of.problem or f"{of.there} of {of.wanted} runs have a record"
    found, tested = of.in_favour, not of.adjusted > LEVEL
    if np.isnan(found.low):
        return UNDECIDED, f"{found.cases} cases are too few for an interval"
    unconfirmed = f"the interval leaves out zero, but p is {of.adjusted:.2g} within the family"
    within = -margin <= found.low and found.high <= margin
    if kind in ("better", "worse"):
        if within:
            return NOT_SUPPORTED, f"a difference above {margin:g} is ruled out"
        if found.low <= 0 <= found.high:
            return UNDECIDED, "the interval holds zero"
        if not tested:
            return UNDECIDED, unconfirmed
        as_claimed = (found.low > 0) == (kind == "better")
        return (SUPPORTED, "") if as_claimed else (NOT_SUPPORTED, "the difference is the other way round")
    if within or (kind == "no worse" and found.low >= -margin):
        return SUPPORTED, f"the interval {'lies within' if within else 'does not reach below'} the margin of {margin:g}"
    beyond = found.high < -margin or (kind == "no difference" and found.low > margin)
    if beyond and tested:
        return NOT_SUPPORTED, f"the interval lies beyond the margin of {margin:g}"
    return UNDECIDED, unconfirmed if beyond else f"the interval reaches beyond the margin of {margin:g}"


def _verdict(claim: Claim, scale: str, comparisons: tuple[Comparison, ...], evidence: Evidence) -> Verdict:
    by = claim.decided_by
    if isinstance(by, ByCheck):
        finding = CHECKS[by.check](evidence.facts)
        return Verdict(claim, SUPPORTED if finding.holds else NOT_SUPPORTED, finding.found)
    if isinstance(by, Open):
        return Verdict(claim, NOT_YET, by.needs)
    said = [word_of(claim.kind, of) for of in comparisons]
    words = [word for word, _ in said]
    order = (NOT_SUPPORTED, NOT_YET, UNDECIDED, SUPPORTED)  # one that fails suffices
    word = next(word for word in order if word in words)
    reasons = dict.fromkeys(why for of, why in said if of == word and why)
    missing = sum(of.wanted - of.there for of in comparisons)
    return Verdict(claim, word, "; ".join(reasons), comparisons, scale, missing)


def _compared(claim: Claim, evidence: Evidence) -> tuple[str, list[Comparison]]:
    """The scale, the largest at which all records are there, or else any, and the comparisons at it."""
    by = claim.decided_by
    if not isinstance(by, ByRuns | ByFactorial):
        return "", []
    pairs = by.pairs if isinstance(by, ByRuns) else (("pipelines", "networks"),)
    of = _pair if isinstance(by, ByRuns) else _spread
    tried = {}
    for scale in (by.scale,) if by.scale else SCALES:
        tried[scale] = [of(by, *pair, runs_of(by.source, scale), evidence) for pair in pairs]
        if all(one.complete for one in tried[scale]):
            return scale, tried[scale]
    # Without all records of any scale: the one that lacks least.
    return max(tried.items(), key=lambda item: (sum(one.there for one in item[1]), item[0] == SCALES[-1]))


def _pair(by: ByRuns, this: str, that: str, runs: Runs, evidence: Evidence) -> Comparison:
    wanted = {of.id: of for label in (this, that) for of in runs[label]}
    first, second = (evidence.records(runs[label]) for label in (this, that))
    there = sum(1 for of in wanted.values() if evidence.records([of]))
    known = Comparison(this, that, there=there, wanted=len(wanted), less_is_better=by.split == compare.GAP)
    first, second = compare.on_shared_folds(first, second)
    if not first or not second:
        return known
    try:
        found = _paired(by, first, second)
    except ValueError as error:
        return replace(known, problem=str(error))
    return replace(known, difference=found.difference, paired=found)


def _paired(by: ByRuns, this: Sequence[Record], that: Sequence[Record]) -> Paired:
    shared = set.intersection(*(set(record.cases.region) for record in (*this, *that)))
    names = [by.region] if by.region else list(regions.BRATS) if set(regions.BRATS) <= shared else None
    if by.region and by.region not in shared:
        raise UnpairedError(f"region {by.region} was not measured by all; {', '.join(sorted(shared))} were")
    if by.that_measure is None and by.that_split is None:
        return compare.paired(that, this, by.measure, names, by.split)
    # Two measures of the same runs, or of the same cases held out and trained on.
    own = compare.scores(this, by.measure, names, by.split)
    other = compare.scores(that, by.that_measure or by.measure, names, by.that_split or by.split)
    if TRAIN in (by.split, by.that_split):
        both = own.index.intersection(other.index)
        own, other = own.loc[both], other.loc[both]
    return statistics.paired(other, own)


def _spread(by: ByFactorial, this: str, that: str, runs: Runs, evidence: Evidence) -> Comparison:
    wanted = {of.id: of for group in runs.values() for of in group}
    there = sum(1 for of in wanted.values() if evidence.records([of]))
    known = Comparison(this, that, there=there, wanted=len(wanted))
    if there < len(wanted):
        return known
    cells = {
        (network, pipeline): evidence.records(runs[f"{network} under pipeline {pipeline}"])
        for network in head_to_head.NETWORKS
        for pipeline in head_to_head.PIPELINES
    }
    of = factorial.networks_minus_pipelines(factorial.by_case(cells))
    return replace(known, difference=Difference(-of.mean, -of.high, -of.low, of.cases))


def _clearness(of: Comparison, margin: float = MARGIN) -> float:
    low, high = of.difference.low, of.difference.high
    if not high > low:
        return 0.0
    return max(low, -high, min(low + margin, margin - high)) / (high - low)


# ---------------------------------------------------------------------------------------------------------- the command


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m gbmlib.verdicts [ID…] [--cohort brats:PATH]``: the verdicts, or first the runs that they lack."""
    parser = argparse.ArgumentParser(prog="python -m gbmlib.verdicts", description="The verdicts on the papers' claims")
    parser.add_argument("ids", nargs="*", help="of claims; by default all")
    parser.add_argument("--cohort", help="brats:PATH or msd:PATH: make the runs that the claims lack, then decide")
    parser.add_argument("--profile", default=SCALES[-1], choices=SCALES, help="the scale of those runs")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time")
    parser.add_argument("--store", default="runs")
    parser.add_argument("--published", default="book/records")
    parser.add_argument("--list", action="store_true", help="say which runs there are to make, and make none")
    asked = parser.parse_args(arguments)
    claims, store = read(), Store(asked.store, published=asked.published)
    known = {claim.id: claim for claim in claims}
    if unknown := [name for name in asked.ids if name not in known]:
        parser.error(f"no claim {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [known[name] for name in asked.ids or known]
    if asked.cohort:
        _make(chosen, asked, store)
    verdicts = decide(claims, store)
    for verdict in (verdicts[claim.id] for claim in chosen):
        effects = "; ".join(str(of.difference) for of in verdict.comparisons if of.difference)
        print(f"{verdict.claim.id}: {verdict.word}{f', {effects}' if effects else ''}. {verdict.why}".rstrip(" ."))


def _make(claims: Sequence[Claim], asked: argparse.Namespace, store: Store) -> None:
    """Run what claims lack of one scale on one cohort."""
    name, runs = cohorts.open_cohort(asked.cohort).name, {}
    for claim in claims:
        by = claim.decided_by
        if not isinstance(by, ByRuns | ByFactorial):
            continue
        groups = runs_of(by.source, asked.profile)
        labels = groups if isinstance(by, ByFactorial) else dict.fromkeys(label for pair in by.pairs for label in pair)
        runs |= {of.id: of for label in labels for of in groups[label] if of.cohort == name}
    missing = to_do(runs.values(), store)
    print(f"{len(runs)} runs on {name}, {len(missing)} of them to do")
    if asked.list:
        print("".join(f"{of.id}  fold {of.fold}  seed {of.seed}\n" for of in missing), end="")
        return
    # Spawned, not forked: a copy of a process whose torch has computed hangs.
    with ProcessPoolExecutor(asked.workers, multiprocessing.get_context("spawn")) as executor:
        experiments.run(missing, store, executor)


if __name__ == "__main__":
    main()
