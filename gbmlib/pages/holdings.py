"""What the published records hold and what they cost, for the page on what was not reproduced.

Text is Markdown as the book's pages are written in; ``book/_ext/honesty.py`` puts it into them when the book is built.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gbmlib.analysis import costs
from gbmlib.analysis.treatments import steps_of
from gbmlib.claims.sources import GLIOMAS, HIPPOCAMPUS, SOURCES, Runs
from gbmlib.files import counted, markdown_table, millimetres
from gbmlib.pages.ablation_pages import SCALES, variants
from gbmlib.study import ablations, code_differences, nnunet, nnunet_ablations, scales
from gbmlib.study.records import HELD_OUT, Record, Store
from gbmlib.training.configuration import Experiment


@dataclass(frozen=True)
class Group:
    """Runs that a chapter shows.

    Attributes:
        title: as the tables name it.
        page: the chapter.
        make: from a scale to the runs of each variant, by label.
        only: what ``python -m gbmlib.study DATA --only`` calls them; empty where it makes none of them.
        data: what kind of data they need.
    """

    title: str
    page: str
    make: Callable[[str], Runs]
    only: str
    data: str = GLIOMAS

    def command(self, scale: str) -> str:
        """What makes the runs of a scale."""
        profile = "" if scale == scales.DEFAULT else f" --profile {scale}"
        return f"python -m gbmlib.study {self.data} --only {self.only}{profile}" if self.only else ""


def _transfer(profile: str) -> Runs:
    return {"V-Net": [scales.phantom_to_real()]} if profile == "short" else {}


GROUPS = (
    Group("phantoms to patients", "01_the_data", _transfer, ""),
    Group("V-Net", "02_baseline_vnet", lambda profile: {"V-Net": SOURCES["baseline"].make(profile)["V-Net"]}, "vnet"),
    Group("autoencoder branch", "03_vae_ablation", SOURCES["vae"].make, "vae"),
    Group("squeeze-and-excitation", "04_se_ablation", SOURCES["se"].make, "se"),
    Group(
        "single choices",
        "05_training_choices",
        lambda profile: variants(ablations.choices(profile), ablations.runs, profile),
        "choices",
    ),
    Group("text to code", "05b_from_paper_to_code", code_differences.ladder, "code"),
    Group(
        "U-Nets, gliomas",
        "07_unet_2d_vs_3d",
        lambda profile: {f"{number}D": nnunet.glioma(profile, number) for number in (2, 3)},
        "unet",
    ),
    Group(
        "U-Nets, hippocampus",
        "07_unet_2d_vs_3d",
        lambda profile: {f"{number}D": nnunet.hippocampus(profile, number) for number in (2, 3)},
        "hippocampus",
        HIPPOCAMPUS,
    ),
    Group(
        "untested choices",
        "07b_untested_choices",
        lambda profile: variants(nnunet_ablations.COMPARISONS, nnunet_ablations.runs, profile),
        "untested",
    ),
    Group(
        "slice thickness",
        "07b_untested_choices",
        lambda profile: {f"{name} at {mm:g} mm": of for (name, mm), of in nnunet_ablations.anisotropy(profile).items()},
        "anisotropy",
    ),
    Group("five folds, gliomas", "08_2d_3d_cascade", SOURCES["gliomas"].make, "crossvalidation"),
    Group("five folds, hippocampus", "08_2d_3d_cascade", SOURCES["hippocampus"].make, "hippocampus-folds", HIPPOCAMPUS),
    Group("head to head", "09_head_to_head", SOURCES["head to head"].make, "headtohead"),
)


# ------------------------------------------------------------------------------------------------------- in a sentence


#: The names that :func:`facts` has.
FACTS = ("runs", "cases", "gliomas", "steps", "grids", "precisions", "hours", "longest", "devices", "cards", "seeds")


def facts(records: Sequence[Record]) -> dict[str, str]:
    """What prose says of all published records, by name (:data:`FACTS`), in words."""
    trained = costs.trained(records)
    if not trained:
        return dict.fromkeys(FACTS, "none yet")
    cases = {record.experiment.cohort: record.provenance["cases"] for record in trained}
    real = [f"{count} of {cohort}" for cohort, count in sorted(cases.items()) if not cohort.startswith("phantom:")]
    made, longest = [steps_of(record) for record in trained], max(trained, key=lambda of: of.provenance["seconds"])
    grids = Counter(_grid(record.experiment) for record in trained)
    precisions = Counter(record.experiment.precision for record in trained)
    on_card = sum(1 for record in trained if costs.on_graphics_card(record))
    gliomas = [count for cohort, count in cases.items() if cohort.startswith("brats")]
    return {
        "runs": str(len(records)),
        "cases": ", ".join(real) or "none",
        "gliomas": str(max(gliomas, default=0)),
        "steps": f"{min(made):,} to {max(made):,}",
        "grids": ", ".join(f"{count} on {grid}" for grid, count in grids.most_common()),
        "precisions": ", ".join(f"{count} in {precision}" for precision, count in precisions.most_common()),
        "hours": f"{sum(record.provenance['seconds'] for record in trained) / 3600:.3g}",
        "longest": f"{longest.provenance['seconds'] / 60:.0f}",
        "devices": ", ".join(sorted({record.provenance["device"] for record in trained})),
        "cards": f"{on_card} of {len(trained)}" if on_card else "none",
        "seeds": str(max(Counter(record.experiment.changed(seed=0).id for record in trained).values())),
    }


def _grid(of: Experiment) -> str:
    return "the cases' own grid" if of.spacing is None else millimetres(of.spacing)


# ---------------------------------------------------------------------------------------------------------- in a table


def markdown(store: Store, pages: Mapping[str, str], groups: Iterable[Group] = GROUPS) -> str:
    """What each group of published records holds and cost, as a table, and the commands that make what it lacks.

    Args:
        pages: a link in Markdown to each chapter, by its name, the text left open as ``{}``.
    """
    lines, lacking = [], []
    for group in groups:
        link = pages[group.page].format(group.title)
        found = {scale: _records(group.make(scale), store) for scale in SCALES}
        lines += [(link, *_held(scale, there, wanted)) for scale, (there, wanted) in found.items() if there]
        there, wanted = found[scales.DEFAULT]
        if not any(records for records, _ in found.values()):
            lines.append((link, scales.DEFAULT, f"0 of {wanted}", *[""] * 5))
        if len(there) < wanted and group.only:
            missing = counted(wanted - len(there), "run")
            lacking.append(f"- {group.title}, {missing}: `{group.command(scales.DEFAULT)}`")
    head = ("runs of", "scale", "published", "cases held out", "folds", "seeds", "steps of a run", "minutes")
    text = markdown_table(head, lines) + "\n\nRuns that several chapters show are counted in each of them."
    if lacking:
        text += " What is not there yet is made by\n\n" + "\n".join(lacking)
    return text


def _records(of: Runs, store: Store) -> tuple[list[Record], int]:
    """The records of some runs, and how many runs there are."""
    wanted = {run.id: run for runs in of.values() for run in runs}
    return [record for run in wanted.values() if (record := store.get(run))], len(wanted)


def _held(scale: str, records: Sequence[Record], wanted: int) -> tuple[str, ...]:
    """What a line of the table says of a group's records at a scale."""
    of = [record.experiment for record in records]
    held_out = {
        (record.experiment.cohort, case)
        for record in records
        for case in record.cases.case[record.cases.split == HELD_OUT]
    }
    counts = [steps_of(record) for record in costs.trained(records)]
    return (
        scale,
        f"{len(records)} of {wanted}",
        str(len(held_out)),
        f"{len({one.fold for one in of})} of {max(one.folds for one in of)}",
        str(len({one.seed for one in of})),
        " to ".join(dict.fromkeys((f"{min(counts):,}", f"{max(counts):,}"))) if counts else "",
        f"{sum(record.provenance['seconds'] for record in records) / 60:.0f}",
    )
