"""``python -m gbmlib.experiments brats:PATH``: run what the chapters show at one scale, several runs side by side.

``msd:PATH`` of the hippocampus runs what they show of that. The published records were made with it. What the
store holds is not run again, and what was interrupted goes on.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from gbmlib import cohorts
from gbmlib.configuration import Experiment
from gbmlib.ensemble import Ensemble
from gbmlib.experiments import ablations, cross_validation, head_to_head, paper_b, run, study, text_to_code, untested
from gbmlib.experiments.runner import to_do
from gbmlib.records import Store

#: On gliomas, and on the hippocampus.
FOLDS = "crossvalidation"
GLIOMAS = ("vnet", "vae", "se", "choices", "code", "unet", "untested", "anisotropy", FOLDS, "headtohead")
HIPPOCAMPUS = ("hippocampus", FOLDS)
CHAPTERS = tuple(dict.fromkeys((*GLIOMAS, *HIPPOCAMPUS)))


def wanted(chapter: str, profile: str, cohort: str) -> list[Experiment | Ensemble]:
    """The runs that a chapter shows at a scale."""
    if chapter == FOLDS and cohort == paper_b.HIPPOCAMPUS_COHORT:
        return cross_validation.everything(cross_validation.of_hippocampus(profile))
    if chapter == FOLDS:
        return cross_validation.everything(cross_validation.networks(profile, cohort=cohort))
    if chapter == "vnet":
        folds, seeds = study.FOLDS[profile], study.SEEDS[profile]
        return [e for seed in seeds for e in study.vnet(profile, folds, cohort=cohort, seed=seed)]
    if chapter == "unet":
        return [e for dimensions in (2, 3) for e in paper_b.glioma(profile, dimensions, cohort=cohort)]
    if chapter == "hippocampus":
        return [e for dimensions in (2, 3) for e in paper_b.hippocampus(profile, dimensions)]
    if chapter == "untested":
        groups = [untested.runs(comparison, profile, cohort=cohort) for comparison in untested.COMPARISONS]
    elif chapter == "anisotropy":
        groups = [untested.anisotropy(profile, cohort=cohort)]
    elif chapter == "code":
        groups = [text_to_code.ladder(profile, cohort=cohort)]
    elif chapter == "headtohead":
        groups = [head_to_head.cells(profile, cohort=cohort)]
    else:
        comparisons = {"vae": (ablations.VAE,), "se": (ablations.SE,), "choices": ablations.choices(profile)}
        groups = [ablations.runs(comparison, profile, cohort=cohort) for comparison in comparisons[chapter]]
    return [experiment for group in groups for of in group.values() for experiment in of]


def main(arguments: list[str] | None = None) -> None:
    """The command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m gbmlib.experiments", description=__doc__.splitlines()[0])
    parser.add_argument("cohort", help="phantom:…, brats:PATH or msd:PATH")
    parser.add_argument("--profile", default="study", choices=study.PROFILES)
    parser.add_argument("--only", nargs="+", choices=CHAPTERS, help="the runs of these; by default of all")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, each with the threads it was given")
    parser.add_argument("--store", default="runs")
    parser.add_argument("--list", action="store_true", help="say what there is to do, and do nothing")
    asked = parser.parse_args(arguments)
    if asked.workers < 1:
        parser.error(f"--workers is {asked.workers}, not at least 1")
    data = cohorts.open_cohort(asked.cohort)
    fitting = HIPPOCAMPUS if data.name == paper_b.HIPPOCAMPUS_COHORT else GLIOMAS
    strange = [chapter for chapter in asked.only or () if chapter not in fitting]
    if strange:
        parser.error(f"--only {' '.join(strange)}: not for {data.name}, which has {', '.join(fitting)}")
    runs = {e.id: e for chapter in asked.only or fitting for e in wanted(chapter, asked.profile, data.name)}
    store = Store(asked.store)
    missing = to_do(runs.values(), store)
    print(f"{len(runs)} runs on {data.name}, {len(missing)} of them to do")
    if asked.list:
        for e in missing:
            what = f"of {len(e.members)}" if isinstance(e, Ensemble) else f"{e.epochs} epochs  {e.options}"
            print(f"{e.id}  fold {e.fold}  seed {e.seed}  {what}")
        return
    # Spawned, not forked: a copy of a process whose torch has computed hangs.
    with ProcessPoolExecutor(asked.workers, multiprocessing.get_context("spawn")) as executor:
        run(missing, store, executor)


if __name__ == "__main__":
    main()
