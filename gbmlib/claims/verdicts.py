"""The verdict on each claim of the two papers, computed from records.

A claimed difference rests on the rule that words every comparison of the study (``analysis.intervals.decide``): the
95 % intervals over cases and over networks must both leave out zero, and p of Wilcoxon's test, adjusted after Holm for
the family of comparisons that the claim belongs to, must not exceed 0.05. A claim of no difference, or of being no
worse, rests on the two intervals: they must lie within the margin, or not reach below it. It is refuted where both lie
beyond the margin. Whatever is neither is undecided. A comparison of spreads, which has no such test, must hold without
any one case. A claim with several comparisons holds if all of them do, and fails with any that goes against it. Runs
that are not sound (``analysis.soundness``) decide nothing yet.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gbmlib.analysis import family, intervals
from gbmlib.claims.checks import CHECKS
from gbmlib.claims.evidence import Comparison, Evidence, compared, question, wanted
from gbmlib.claims.ledger import ByCheck, Claim, Open
from gbmlib.files import FACTS, few
from gbmlib.study import catalogue, scales
from gbmlib.study.records import Store

SUPPORTED, NOT_SUPPORTED, UNDECIDED, NOT_YET = "supported", "not supported", "undecided", "not decided yet"
WORDS = (SUPPORTED, NOT_SUPPORTED, UNDECIDED, NOT_YET)


@dataclass(frozen=True)
class Verdict:
    """The verdict of the records on a claim.

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
    def unsound(self) -> bool:
        """Whether all runs are there, and some cannot decide."""
        return self.word == NOT_YET and bool(self.comparisons) and not self.missing

    @property
    def label(self) -> str:
        """The word; with the margin where a claimed difference is shown to be small: ``supported, below 0.01``."""
        one_sided = self.word == SUPPORTED and self.claim.kind in ("better", "worse")
        small = one_sided and all(comparison.small for comparison in self.comparisons)
        return f"{self.word}, below {max(one.margin for one in self.comparisons):g}" if small else self.word

    @property
    def command(self) -> str:
        """The command that makes the missing runs, or longer ones where those are not sound; empty without any."""
        larger = self.unsound and self.scale == scales.DEFAULT  # longer runs than the default's are the papers' own
        scale = scales.PUBLISHED[0] if larger or self.scale == scales.PUBLISHED[0] else scales.DEFAULT
        if self.word != NOT_YET or not (runs := wanted(self.claim, scale)):
            return ""
        profile = "" if scale == scales.DEFAULT else f" --profile {scale}"
        return f"python -m gbmlib run {catalogue.data(runs)} --claims {self.claim.id}{profile}"

    @property
    def deciding(self) -> Comparison | None:
        """The comparison that a verdict turns on; None for a check.

        A claim that holds needs all of them, so it is the least clear one; otherwise the clearest that says the word.
        """
        same = [of for of in self.comparisons if word_of(self.claim.kind, of)[0] == self.word]
        return (min if self.word == SUPPORTED else max)(same, key=_clearness, default=None)


def decide(claims: Sequence[Claim], store: Store, facts: str | Path = FACTS) -> dict[str, Verdict]:
    """The verdict on each claim, by id, in order.

    Holm's correction takes together the comparisons of all claims of a family that are given, whether they have records
    or not: so give all claims, even where one is of interest. What two claims ask alike is one test, and counts once.
    """
    evidence = Evidence(store, Path(facts))
    by_claim = {claim.id: compared(claim, evidence) for claim in claims}
    families: dict[str, dict[Hashable, float]] = {}
    for claim in claims:
        for comparison in by_claim[claim.id][1] if claim.family else ():
            p = comparison.paired.p if comparison.paired is not None and comparison.complete else np.nan
            families.setdefault(claim.family, {})[question(claim, comparison)] = p
    corrected = {name: family.holm(tests) for name, tests in families.items()}
    verdicts = {}
    for claim in claims:
        (scale, comparisons), tests = by_claim[claim.id], corrected.get(claim.family, {})
        adjusted = [tests.get(question(claim, comparison), np.nan) for comparison in comparisons]
        comparisons = tuple(replace(one, adjusted=p) for one, p in zip(comparisons, adjusted, strict=True))
        verdicts[claim.id] = _verdict(claim, scale, comparisons, evidence)
    return verdicts


def word_of(kind: str, comparison: Comparison) -> tuple[str, str]:
    """The verdict of one comparison on a claim of this kind, and the reason."""
    if not comparison.complete:
        return NOT_YET, comparison.problem or f"{comparison.available} of {comparison.wanted} runs have a record"
    if comparison.unsound:
        return NOT_YET, "; ".join(comparison.unsound)
    difference, over, margin = comparison.in_favour, comparison.networks_in_favour, comparison.margin
    if np.isnan(difference.low):
        return UNDECIDED, f"{difference.cases} cases are too few for an interval"
    if over is None or np.isnan(over.difference.low):
        return UNDECIDED, "there are too few folds for an interval over networks"
    both = [difference, over.difference]
    word = intervals.decide(difference, comparison.adjusted, margin, over, comparison.carried_by)
    if kind in ("better", "worse"):
        if word == intervals.NONE:
            return NOT_SUPPORTED, f"a difference above {margin:g} is ruled out"
        if word == intervals.UNDECIDED:
            return UNDECIDED, _open(comparison)
        as_claimed = (word == intervals.HIGHER) == (kind == "better")
        return (SUPPORTED, "") if as_claimed else (NOT_SUPPORTED, "the difference is the other way round")
    if comparison.small:
        return SUPPORTED, f"both intervals lie within the margin of {margin:g}"
    if kind == "no worse" and all(one.low >= -margin for one in both):
        return SUPPORTED, f"neither interval reaches below the margin of {margin:g}"
    above = kind == "no difference" and all(one.low > margin for one in both)
    if not above and not all(one.high < -margin for one in both):
        return UNDECIDED, f"an interval reaches beyond the margin of {margin:g}"
    if word in (intervals.HIGHER, intervals.LOWER):
        return NOT_SUPPORTED, f"both intervals lie beyond the margin of {margin:g}"
    return UNDECIDED, _open(comparison)


def _open(comparison: Comparison) -> str:
    """Why a difference between two sides is undecided."""
    both = [comparison.difference, comparison.networks.difference]
    over = [where for one, where in zip(both, ("cases", "networks"), strict=True) if one.low <= 0 <= one.high]
    if over:
        return f"the interval over {' and that over '.join(over)} {'hold' if len(over) > 1 else 'holds'} zero"
    if comparison.carried_by:
        return f"the interval holds zero once any one of these cases is left out: {few(comparison.carried_by)}"
    if comparison.adjusted > intervals.LEVEL:
        return f"the intervals leave out zero, but p is {comparison.adjusted:.2g} within the family"
    return f"the intervals leave out zero, but p is {comparison.networks.p:.2g} over networks"


def _verdict(claim: Claim, scale: str, comparisons: tuple[Comparison, ...], evidence: Evidence) -> Verdict:
    by = claim.decided_by
    if isinstance(by, ByCheck):
        finding = CHECKS[by.check](evidence.facts)
        return Verdict(claim, SUPPORTED if finding.holds else NOT_SUPPORTED, finding.why)
    if isinstance(by, Open):
        return Verdict(claim, NOT_YET, by.needs)
    answers = [word_of(claim.kind, comparison) for comparison in comparisons]
    words = [word for word, _ in answers]
    # One that goes against the claim suffices. One that shows too small a difference does not, where others are open.
    against = any(word == NOT_SUPPORTED and not one.small for word, one in zip(words, comparisons, strict=True))
    order = (NOT_YET, UNDECIDED, NOT_SUPPORTED, SUPPORTED)
    word = NOT_SUPPORTED if against else next(word for word in order if word in words)
    # Of several comparisons one reason of each kind suffices: "undertrained: …", "vacuous: …".
    sentences = [sentence for answer, why in answers if answer == word and why for sentence in why.split("; ")]
    reasons = {sentence.split(":")[0]: sentence for sentence in reversed(sentences)}
    reasons = [sentence for sentence in dict.fromkeys(sentences) if sentence in reasons.values()]
    missing = sum(comparison.wanted - comparison.available for comparison in comparisons)
    return Verdict(claim, word, "; ".join(reasons), comparisons, scale, missing)


def _clearness(comparison: Comparison) -> float:
    """How far a comparison is from being undecided: what lies between an interval and zero or the margin."""
    both = [comparison.difference, comparison.networks.difference] if comparison.networks else []
    clear = [max(one.low, -one.high, min(one.low + comparison.margin, comparison.margin - one.high)) for one in both]
    return min((value for value in clear if not np.isnan(value)), default=0.0)
