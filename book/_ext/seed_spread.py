"""What another seed changes in one and the same network, by the published records: how much of a result is luck.

Text is Markdown as the book's pages are written in; ``book/_ext/honesty.py`` puts it into them when the book is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from gbmlib.analysis import scores
from gbmlib.analysis.intervals import MARGIN, MARGINS, margin
from gbmlib.cohorts import regions
from gbmlib.files import markdown_table
from gbmlib.study.catalogue import SETS, Family, Runs, published, runs_of, trained
from gbmlib.study.records import Record, Store

NOTE = """\
*Largest*, *median* and *above* are over the networks of a row, of the distance between a network's seeds in mean Dice
over the held-out cases of the folds that both ran; the last column is the distance in a single case. A network counts
once, in the first row that has it. Where the largest distance is many times the median, look for a region that
collapsed with one of the seeds: the chapters name such runs."""

HEAD = ("variants of", "folds", "networks", "median", "largest", "in which", "above the margin", "one case, median")


@dataclass(frozen=True)
class Spread:
    """What another seed changes in one variant.

    Attributes:
        means: Dice of each seed, mean over the cases and regions of the folds that all seeds ran.
        of_a_case: the median over cases of how far the seeds lie apart in that case.
        folds: how many.
        margin: what counts as no difference on their cohort.
    """

    label: str
    means: Mapping[int, float]
    of_a_case: float
    folds: int
    margin: float

    @property
    def apart(self) -> float:
        """The best seed's mean less the worst one's."""
        return max(self.means.values()) - min(self.means.values())


def spread(label: str, records: Sequence[Record]) -> Spread | None:
    """How far the seeds of one variant lie apart in held-out Dice; None where no fold has two.

    Dice is a mean over the nested regions where the runs were measured on them, else over all that they have.

    Raises:
        UnpairedError: a fold was run twice with the same seed.
    """
    seeds = {record.experiment.seed for record in records}
    folds = set.intersection(*({scores.fold_of(of) for of in records if of.experiment.seed == one} for one in seeds))
    if len(seeds) < 2 or not folds:
        return None
    shared = [record for record in records if scores.fold_of(record) in folds]
    measured = scores.common_regions({label: shared})
    nested = set(regions.BRATS) <= set(measured or ())
    dice = scores.by_seed(shared, regions=list(regions.BRATS) if nested else measured)
    means = {seed: float(mean) for seed, mean in dice.mean().items()}
    apart = float((dice.max(axis=1) - dice.min(axis=1)).median())
    return Spread(label, means, apart, len(folds), margin(shared[0].experiment.cohort))


def spreads(store: Store, names: Iterable[str] = tuple(SETS)) -> dict[Family, list[Spread]]:
    """The networks that were published with several seeds, by family or the first of a set of the catalogue; each
    counts once, in the first that has it.

    Of each the scale that is shown (``study.catalogue.shown_scale``) of those that have several seeds.
    """
    found, known = {}, set()
    for name in names:
        for variants in published(partial(_repeated, name), store).values():
            for label, records in variants.items():
                networks = trained(records)
                ids = frozenset(record.id for record in networks)
                if not networks or ids in known:
                    continue
                known.add(ids)
                if of := spread(label, networks):
                    found.setdefault(SETS[name][0], []).append(of)
    return found


def _repeated(name: str, scale: str) -> Runs:
    """The runs of the variants that a scale trains with several seeds."""
    return {label: runs for label, runs in runs_of(name, scale).items() if len({run.seed for run in runs}) > 1}


def markdown(store: Store, pages: Mapping[str, str], names: Iterable[str] = tuple(SETS)) -> str:
    """How far seeds lie apart in all networks in a sentence, and in a folded table a row a family or set.

    Args:
        pages: a link in Markdown to each chapter, by its name, the text left open as ``{}``.
    """
    found = spreads(store, names)
    every = [of for of_group in found.values() for of in of_group]
    if not every:
        return "No network has been published with two seeds yet, so that nothing is known of their luck."
    lines = [(pages[family.chapter].format(family.title), *_line(of_group)) for family, of_group in found.items()]
    return (
        f"{_beyond(every)} of {len(every)} networks that were trained with two seeds or more differ between them by "
        f"more than the margin ({MARGINS['brats']:g} Dice on gliomas, {MARGIN:g} elsewhere); the median is "
        f"{median(of.apart for of in every):.3f}.\n\n"
        f"````{{dropdown}} How far seeds lie apart, chapter by chapter\n{markdown_table(HEAD, lines)}\n\n{NOTE}\n````"
    )


def _line(found: Sequence[Spread]) -> tuple[str, ...]:
    """What a row of the table says of a group's networks."""
    widest = max(found, key=lambda of: of.apart)
    return (
        " or ".join(map(str, sorted({of.folds for of in found}))),
        str(len(found)),
        f"{median(of.apart for of in found):.3f}",
        f"{widest.apart:.3f}",
        widest.label,
        str(_beyond(found)),
        f"{median(of.of_a_case for of in found):.3f}",
    )


def _beyond(found: Iterable[Spread]) -> int:
    """How many networks differ between seeds by more than the margin."""
    return sum(of.apart > of.margin for of in found)
