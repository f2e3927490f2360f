"""Made-up records of runs, and groups of them, for tests of comparisons."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from gbmlib.cohorts import GLIOMA
from gbmlib.cohorts.regions import BRATS
from gbmlib.evaluation.metrics import NAMES
from gbmlib.training.configuration import Experiment

METRICS = ("loss", "dice", "precision", "recall", "accuracy")


def configured(fold, seed, folds=2, **fields):
    """A configuration of which no more matters than its cohort, fold and seed."""
    usual = {"model": "vnet", "options": {"filters": 4}, "cohort": "some", "patch_size": 16, "epochs": 1}
    return Experiment(**usual | {"learning_rate": 1e-3, "fold": fold, "seed": seed, "folds": folds} | fields)


def record(fold, seed, rows, losses=(1.0,), folds=2, on=("val",), **fields):
    history = pd.DataFrame({"epoch": range(len(losses))})
    for part in on:
        history[f"{part}_loss"] = losses
        for number, name in enumerate(METRICS[1:], 1):
            history[f"{part}_{name}"] = number / 10
    cases = pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"])
    experiment = configured(fold, seed, folds, **fields)
    provenance = {"parameters": 1_500_000, "seconds": 90 + 60 * seed}
    return SimpleNamespace(
        id=f"run-{fold}-{seed}",
        cases=cases,
        history=history,
        experiment=experiment,
        provenance=provenance,
        store=None,
    )


def rows(case, value, split="held out", regions=("WT",)):
    values = np.broadcast_to(value, len(regions))
    return [(case, split, r, m, v) for r, v in zip(regions, values, strict=True) for m in METRICS[1:]]


#: Dice of eight cases: enough for Wilcoxon's test to decide a small family.
BASE = dict(zip("abcdefgh", (0.5, 0.7, 0.2, 0.85, 0.45, 0.75, 0.3, 0.8), strict=True))
HELD = {0: "ae", 1: "bf", 2: "cg", 3: "d", 4: "h"}


def group(change=0.0, seeds=(0,), regions=("WT",), folds=tuple(HELD), trained=0.95):
    """Eight cases, one or two held out in each of five folds. ``change``, one for all or one each, is added to Dice."""
    by = change if isinstance(change, dict) else dict.fromkeys(BASE, change)
    return [
        record(
            fold,
            seed,
            [row for case in HELD[fold] for row in rows(case, BASE[case] + by[case], regions=regions)]
            + [row for case in sorted({*BASE} - {*HELD[fold]}) for row in rows(case, trained, "train", regions)],
            folds=len(HELD),
        )
        for fold in folds
        for seed in seeds
    ]


# ----------------------------------------------------------------------------------- of real configurations, in a store

#: Nine cases, as five folds hold them out.
HELD_OUT_IN = ("ab", "cd", "ef", "gh", "i")


ALL_REGIONS = (*GLIOMA.values(), *BRATS)


def hardness(case):
    return 0.1 * ("abcdefghi".index(case) % 3)


def stored(store, experiment, dice, regions=ALL_REGIONS, cases="abcdefghi"):
    """A made-up record of a real configuration: ``dice(case, region)`` in every metric."""
    each = [
        (case, "held out", region, metric, dice(case, region))
        for case in cases
        for region in regions
        for metric in NAMES
    ]
    history = pd.DataFrame({"epoch": [0, 1], "learning_rate": [1e-3, 5e-4]})
    for part in ("train", "val"):
        history[f"{part}_dice"] = history[f"{part}_loss"] = 0.5
    made = {"parameters": 10**6, "seconds": 60, "cases": 3, "device": "a machine", "numerics": 1, "fingerprint": "x"}
    table = pd.DataFrame(each, columns=["case", "split", "region", "metric", "value"])
    return store.finish(experiment, history, table, made)
