"""What the published records hold and what they lack, for the page on what was not reproduced.

Text is Markdown as the book's pages are written in; ``book/_ext/honesty.py`` puts it into them when the book is built.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import pandas as pd

from gbmlib import batches, costs, regions
from gbmlib.ablation_pages import SCALES
from gbmlib.claims import ByFactorial, ByRuns, Open
from gbmlib.claims_sources import GLIOMAS, HIPPOCAMPUS, SOURCES, Runs, runs_of
from gbmlib.configuration import Experiment
from gbmlib.experiments import ablations, paper_b, study, untested
from gbmlib.intervals import MARGIN
from gbmlib.records import HELD_OUT, TRAIN, Record, Store
from gbmlib.verdicts import NOT_YET, UNDECIDED, Verdict


@dataclass(frozen=True)
class Group:
    """Runs that a chapter shows.

    Attributes:
        title: as the tables name it.
        page: the chapter.
        make: from a scale to the runs of each variant, by label.
        only: what ``python -m gbmlib.experiments DATA --only`` calls them; empty where it makes none of them.
        data: what kind of data they need.
    """

    title: str
    page: str
    make: Callable[[str], Runs]
    only: str
    data: str = GLIOMAS

    def command(self, scale: str) -> str:
        """What makes the runs of a scale."""
        profile = "" if scale == SCALES[-1] else f" --profile {scale}"
        return f"python -m gbmlib.experiments {self.data} --only {self.only}{profile}" if self.only else ""


def _choices(profile: str) -> Runs:
    return {
        f"{choice.name}: {label}": runs
        for choice in ablations.choices(profile)
        for label, runs in ablations.runs(choice, profile).items()
    }


def _untested(profile: str) -> Runs:
    return {
        f"{comparison.name}: {label}": runs
        for comparison in untested.COMPARISONS
        for label, runs in untested.runs(comparison, profile).items()
    }


def _transfer(profile: str) -> Runs:
    return {"V-Net": [study.phantom_to_real()]} if profile == SCALES[-1] else {}


GROUPS = (
    Group("phantoms to patients", "01_the_data", _transfer, ""),
    Group("V-Net", "02_baseline_vnet", lambda profile: {"V-Net": SOURCES["baseline"].make(profile)["V-Net"]}, "vnet"),
    Group("autoencoder branch", "03_vae_ablation", SOURCES["vae"].make, "vae"),
    Group("squeeze-and-excitation", "04_se_ablation", SOURCES["se"].make, "se"),
    Group("single choices", "05_training_choices", _choices, "choices"),
    Group("text to code", "05b_from_paper_to_code", ablations.ladder, "code"),
    Group(
        "U-Nets, gliomas",
        "07_unet_2d_vs_3d",
        lambda profile: {f"{number}D": paper_b.glioma(profile, number) for number in (2, 3)},
        "unet",
    ),
    Group(
        "U-Nets, hippocampus",
        "07_unet_2d_vs_3d",
        lambda profile: {f"{number}D": paper_b.hippocampus(profile, number) for number in (2, 3)},
        "hippocampus",
        HIPPOCAMPUS,
    ),
    Group("untested choices", "07b_untested_choices", _untested, "untested"),
    Group(
        "slice thickness",
        "07b_untested_choices",
        lambda profile: {f"{name} at {mm:g} mm": of for (name, mm), of in untested.anisotropy(profile).items()},
        "anisotropy",
    ),
    Group("five folds, gliomas", "08_2d_3d_cascade", SOURCES["gliomas"].make, "crossvalidation"),
    Group("five folds, hippocampus", "08_2d_3d_cascade", SOURCES["hippocampus"].make, "crossvalidation", HIPPOCAMPUS),
    Group("head to head", "09_head_to_head", SOURCES["head to head"].make, "headtohead"),
)


# --------------------------------------------------------------------------------------------------- what records hold


def facts(records: Sequence[Record]) -> dict[str, str]:
    """What prose says of all published records, by name, in words."""
    trained = costs.trained(records)
    if not trained:
        return dict.fromkeys(FACTS, "none yet")
    cases = {record.experiment.cohort: record.provenance["cases"] for record in trained}
    real = [f"{count} of {cohort}" for cohort, count in sorted(cases.items()) if not cohort.startswith("phantom:")]
    made, longest = [steps(record) for record in trained], max(trained, key=lambda of: of.provenance["seconds"])
    grids = Counter(_grid(record.experiment) for record in trained)
    on_card = sum(1 for record in trained if costs.on_graphics_card(record))
    gliomas = [count for cohort, count in cases.items() if cohort.startswith("brats")]
    return {
        "runs": str(len(records)),
        "cases": ", ".join(real) or "none",
        "gliomas": str(max(gliomas, default=0)),
        "steps": f"{min(made):,} to {max(made):,}",
        "grids": ", ".join(f"{count} on {grid}" for grid, count in grids.most_common()),
        "hours": f"{sum(record.provenance['seconds'] for record in trained) / 3600:.3g}",
        "longest": f"{longest.provenance['seconds'] / 60:.0f}",
        "devices": ", ".join(sorted({record.provenance["device"] for record in trained})),
        "cards": f"{on_card} of {len(trained)}" if on_card else "none",
        "seeds": str(max(Counter(_but_seed(record.experiment) for record in trained).values())),
    }


#: The names that :func:`facts` has.
FACTS = ("runs", "cases", "gliomas", "steps", "grids", "hours", "longest", "devices", "cards", "seeds")


def steps(record: Record) -> int:
    """How many times a run changed its weights, from what it did: its epochs and the cases that it trained on."""
    training = record.cases.case[record.cases.split == TRAIN].nunique()
    return len(record.history) * batches.per_epoch(record.experiment, training)


def holdings(store: Store, pages: Mapping[str, str], groups: Iterable[Group] = GROUPS) -> str:
    """What each group of published records holds and cost, as a Markdown table.

    Args:
        pages: a link in Markdown to each chapter, by its name, the text left open as ``{}``.
    """
    head = ("runs of", "scale", "published", "cases held out", "folds", "seeds", "steps of a run", "minutes")
    lines, lacking = [head, ("---",) * len(head)], []
    for group in groups:
        found = {scale: _records(group.make(scale), store) for scale in SCALES}
        for scale, (there, wanted) in found.items():
            if there:
                lines.append((pages[group.page].format(group.title), *_held(scale, there, wanted)))
        if not any(there for there, _ in found.values()):
            lines.append((pages[group.page].format(group.title), SCALES[-1], f"0 of {found[SCALES[-1]][1]}", *[""] * 5))
        there, wanted = found[SCALES[-1]]
        if len(there) < wanted and group.only:
            count = wanted - len(there)
            lacking.append(f"- {group.title}, {count} run{'s' * (count > 1)}: `{group.command(SCALES[-1])}`")
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    text += "\n\nRuns that several chapters show are counted in each of them."
    if lacking:
        text += " What is not there yet is made by\n\n" + "\n".join(lacking)
    return text


def _records(of: Runs, store: Store) -> tuple[list[Record], int]:
    """The records of some runs, and how many runs there are."""
    wanted = {run.id: run for runs in of.values() for run in runs}
    return [record for run in wanted.values() if (record := store.get(run))], len(wanted)


def _held(scale: str, records: Sequence[Record], wanted: int) -> tuple[str, ...]:
    of = [record.experiment for record in records]
    held_out = {(record.experiment.cohort, case) for record in records for case in _held_out(record).case}
    counts = [steps(record) for record in costs.trained(records)]
    return (
        scale,
        f"{len(records)} of {wanted}",
        str(len(held_out)),
        f"{len({one.fold for one in of})} of {max(one.folds for one in of)}",
        str(len({one.seed for one in of})),
        " to ".join(dict.fromkeys((f"{min(counts):,}", f"{max(counts):,}"))) if counts else "",
        f"{sum(record.provenance['seconds'] for record in records) / 60:.0f}",
    )


# -------------------------------------------------------------------------------------------------------- luck of seeds


@dataclass(frozen=True)
class Spread:
    """What another seed changes in one variant.

    Attributes:
        means: Dice of each seed, mean over the cases and regions of the folds that all seeds ran.
        of_a_case: the median over cases of how far the seeds lie apart in that case.
        folds: how many.
    """

    label: str
    means: Mapping[int, float]
    of_a_case: float
    folds: int

    @property
    def apart(self) -> float:
        """The best seed's mean less the worst one's."""
        return max(self.means.values()) - min(self.means.values())


def spread(label: str, records: Sequence[Record]) -> Spread | None:
    """How far the seeds of one variant lie apart; None where no fold has two."""
    seeds = sorted({record.experiment.seed for record in records})
    folds = set.intersection(*({r.experiment.fold for r in records if r.experiment.seed == seed} for seed in seeds))
    if len(seeds) < 2 or not folds:
        return None
    of = {
        seed: pd.concat(
            [_dice(r) for r in records if r.experiment.seed == seed and r.experiment.fold in folds],
        )
        for seed in seeds
    }
    by_case = pd.DataFrame(of)
    means = {seed: float(by_case[seed].mean()) for seed in seeds}
    return Spread(label, means, float((by_case.max(axis=1) - by_case.min(axis=1)).median()), len(folds))


def seeds(store: Store, pages: Mapping[str, str], groups: Iterable[Group] = GROUPS) -> str:
    """How far seeds lie apart in each group that has several, as Markdown; a variant counts once."""
    head = (
        "variants of",
        "folds",
        "networks",
        "median",
        "largest",
        "in which",
        f"above {MARGIN:g}",
        "one case, median",
    )
    lines, every = [head, ("---",) * len(head)], []
    known: set[frozenset[str]] = set()
    for group in groups:
        found = []
        for label, runs in group.make(SCALES[-1]).items():
            records = [record for run in runs if isinstance(run, Experiment) and (record := store.get(run))]
            ids = frozenset(record.id for record in records)
            if not records or ids in known:
                continue
            known.add(ids)
            found += [of] if (of := spread(label, records)) else []
        if found:
            widest = max(found, key=lambda of: of.apart)
            lines.append(
                (
                    pages[group.page].format(group.title),
                    " or ".join(map(str, sorted({of.folds for of in found}))),
                    str(len(found)),
                    f"{median(of.apart for of in found):.3f}",
                    f"{widest.apart:.3f}",
                    widest.label,
                    str(sum(of.apart > MARGIN for of in found)),
                    f"{median(of.of_a_case for of in found):.3f}",
                )
            )
            every += found
    if not every:
        return "No network has been published with two seeds yet, so that nothing is known of their luck."
    beyond = sum(of.apart > MARGIN for of in every)
    return (
        f"{beyond} of {len(every)} networks that were trained with two seeds or more differ from themselves by more "
        f"than {MARGIN:g} Dice, the difference that this book calls one that matters; the median is "
        f"{median(of.apart for of in every):.3f}.\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)
    )


def _held_out(record: Record) -> pd.DataFrame:
    return record.cases[record.cases.split == HELD_OUT]


def _dice(record: Record) -> pd.Series:
    """Held-out Dice of a run by case, mean over the nested regions where it has them, else over all that it has."""
    dice = _held_out(record)[lambda cases: cases.metric == "dice"]
    nested = set(regions.BRATS) <= set(dice.region)
    chosen = dice[dice.region.isin(regions.BRATS)] if nested else dice
    return chosen.groupby("case").value.mean()


def _but_seed(of: Experiment) -> str:
    return of.changed(seed=0).id


def _grid(of: Experiment) -> str:
    if of.spacing is None:
        return "the cases' own grid"
    sizes = [f"{size:.3g}" for size in of.spacing]
    return f"{sizes[0] if len(set(sizes)) == 1 else ' x '.join(sizes)} mm"


# ------------------------------------------------------------------------------------------------ what is not decided


def undecided(verdicts: Mapping[str, Verdict]) -> str:
    """The claims whose records are all there and do not suffice, as Markdown."""
    found = [of for of in verdicts.values() if of.word == UNDECIDED]
    if not found:
        return "Every claim that has its records is decided."
    widths = [
        one.difference.high - one.difference.low
        for of in found
        for one in of.comparisons
        if one.difference is not None and one.difference.high > one.difference.low
    ]
    text = f"{len(found)} of {len(verdicts)} claims."
    if widths:
        text += (
            f" The median interval of their comparisons is {median(widths):.3f} wide; to show that a difference is "
            f"none, it may not be wider than {2 * MARGIN:g}."
        )
    command = [
        "python -m gbmlib.verdicts",
        *(of.claim.id for of in found),
        f"--cohort {GLIOMAS}",
        f"--profile {SCALES[0]}",
    ]
    lines = textwrap.wrap(" ".join(command), 76, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
    items = "\n".join(f"- {_linked(of)}: {'; '.join(_differences(of))}{of.why}" for of in found)
    return (
        f"{text} More runs of the same kind would narrow the luck of seeds, not that of cases. What could decide them "
        "is more cases, which every chapter takes (`-p cohort brats:PATH`), or the papers' scale on a graphics card:"
        "\n\n```bash\n" + " \\\n".join(lines) + f"\n```\n\n{items}"
    )


def without_records(verdicts: Mapping[str, Verdict], store: Store) -> str:
    """The claims that lack runs, and the commands that make them, as Markdown."""
    found = [of for of in verdicts.values() if of.word == NOT_YET and not isinstance(of.claim.decided_by, Open)]
    if not found:
        return "No claim lacks a run."
    lines = []
    for data in (GLIOMAS, HIPPOCAMPUS):
        of_data = [of for of in found if SOURCES[of.claim.decided_by.source].data == data]
        missing = {run.id for of in of_data for run in _wanted(of) if store.get(run) is None}
        if of_data:
            lines.append(f"`python -m gbmlib.verdicts --cohort {data}` makes the {len(missing)} that these need:\n")
            lines += [f"- {_linked(of)}: {of.why}" for of in of_data]
            lines.append("")
    return f"{len(found)} of {len(verdicts)} claims.\n\n" + "\n".join(lines)


def no_runs_defined(verdicts: Mapping[str, Verdict]) -> str:
    """The claims that nothing in the study decides, and what would, as Markdown."""
    found = [of for of in verdicts.values() if isinstance(of.claim.decided_by, Open)]
    return "\n".join(f"- {_linked(of)}: {of.why}" for of in found) or "There is none."


def _wanted(verdict: Verdict) -> list[Experiment]:
    by = verdict.claim.decided_by
    groups = runs_of(by.source, verdict.scale)
    if isinstance(by, ByFactorial):
        return [run for runs in groups.values() for run in runs]
    assert isinstance(by, ByRuns)
    return [run for pair in by.pairs for label in pair for run in groups[label]]


def _differences(verdict: Verdict) -> list[str]:
    said = [f"{of.difference}" for of in verdict.comparisons if of.difference]
    return [*said, ""] if said else []


def _linked(verdict: Verdict) -> str:
    return f"{{ref}}`{verdict.claim.title} <{verdict.claim.anchor}>`"
