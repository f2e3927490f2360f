"""The verdict on each claim of the two papers, computed from records.

A claimed difference rests on the rule that words every comparison of the study (:func:`gbmlib.statistics.decide`): the
95 % interval over cases and seeds must leave out zero, and p of Wilcoxon's test, adjusted after Holm for the family of
comparisons that the claim belongs to, must not exceed 0.05. A claim of no difference, or of being no worse, rests on
the interval: it must lie within the margin, or not reach below it (equivalence and non-inferiority at 2.5 % a side). It
is refuted where the interval lies beyond the margin. Whatever is neither is undecided. A claim with several comparisons
holds if all of them do, and fails with any of them.

``python -m gbmlib.verdicts [ID…]`` prints them; with ``--cohort brats:PATH`` it first makes the runs that they lack.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Hashable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gbmlib import cohorts, experiments, statistics
from gbmlib.ablation_pages import SCALES
from gbmlib.claims import ByCheck, ByFactorial, ByRuns, Claim, Open, read
from gbmlib.claims_checks import CHECKS
from gbmlib.claims_evidence import Comparison, Evidence, compared, question
from gbmlib.claims_sources import SOURCES, runs_of
from gbmlib.experiments.runner import to_do
from gbmlib.intervals import MARGIN
from gbmlib.records import Store

SUPPORTED, NOT_SUPPORTED, UNDECIDED, NOT_YET = "supported", "not supported", "undecided", "not decided yet"
WORDS = (SUPPORTED, NOT_SUPPORTED, UNDECIDED, NOT_YET)


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
        """How far a decided verdict is from being undecided, for ranking: what of the measure lies between an interval
        and zero or the margin. A claim that holds needs all its comparisons, one that fails needs one; infinite for a
        check."""
        if not self.comparisons:
            return float("inf")
        deciding = min if self.word == SUPPORTED else max
        return deciding((_clearness(of) for of in self.comparisons if of.difference), default=0.0)


def decide(claims: Sequence[Claim], store: Store, facts: str | Path = "book/facts") -> dict[str, Verdict]:
    """The verdict on each claim, by id, in order.

    Holm's correction takes together the comparisons of all claims of a family that are given, whether they have records
    or not: so give all claims, even where one is of interest. What two claims ask alike is one test, and counts once.
    """
    evidence = Evidence(store, Path(facts))
    every = {claim.id: compared(claim, evidence) for claim in claims}
    families: dict[str, dict[Hashable, float]] = {}
    for claim in claims:
        for of in every[claim.id][1] if claim.family else ():
            tested = of.paired is not None and of.complete
            families.setdefault(claim.family, {})[question(claim, of)] = of.paired.p if tested else np.nan
    corrected = {name: statistics.holm(tests) for name, tests in families.items()}
    found = {}
    for claim in claims:
        (scale, comparisons), tests = every[claim.id], corrected.get(claim.family, {})
        known = tuple(replace(of, adjusted=tests.get(question(claim, of), np.nan)) for of in comparisons)
        found[claim.id] = _verdict(claim, scale, known, evidence)
    return found


def word_of(kind: str, of: Comparison, margin: float = MARGIN) -> tuple[str, str]:
    """What one comparison says of a claim of a kind, and why."""
    if not of.complete:
        return NOT_YET, of.problem or f"{of.there} of {of.wanted} runs have a record"
    found = of.in_favour
    if np.isnan(found.low):
        return UNDECIDED, f"{found.cases} cases are too few for an interval"
    word = statistics.decide(found, of.adjusted, margin)
    unconfirmed = f"the interval leaves out zero, but p is {of.adjusted:.2g} within the family"
    within = word == "no difference"
    if kind in ("better", "worse"):
        if within:
            return NOT_SUPPORTED, f"a difference above {margin:g} is ruled out"
        if word == "undecided":
            return UNDECIDED, "the interval holds zero" if found.low <= 0 <= found.high else unconfirmed
        as_claimed = (word == "higher") == (kind == "better")
        return (SUPPORTED, "") if as_claimed else (NOT_SUPPORTED, "the difference is the other way round")
    if within or (kind == "no worse" and found.low >= -margin):
        return SUPPORTED, f"the interval {'lies within' if within else 'does not reach below'} the margin of {margin:g}"
    beyond = found.high < -margin or (kind == "no difference" and found.low > margin)
    if beyond and word != "undecided":
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


def _clearness(of: Comparison, margin: float = MARGIN) -> float:
    low, high = of.difference.low, of.difference.high
    if np.isnan(low):
        return 0.0
    return max(low, -high, min(low + margin, margin - high))


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
