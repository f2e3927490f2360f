"""Made-up records of runs, and groups of them, for tests of comparisons."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

METRICS = ("loss", "dice", "precision", "recall", "accuracy")


def record(fold, seed, rows, losses=(1.0,), folds=2, on=("val",), **fields):
    history = pd.DataFrame({"epoch": range(len(losses))})
    for part in on:
        history[f"{part}_loss"] = losses
        for number, name in enumerate(METRICS[1:], 1):
            history[f"{part}_{name}"] = number / 10
    cases = pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"])
    experiment = SimpleNamespace(**{"fold": fold, "seed": seed, "folds": folds, "cohort": "some"} | fields)
    provenance = {"parameters": 1_500_000, "seconds": 90 + 60 * seed}
    return SimpleNamespace(
        id=f"run-{fold}-{seed}", cases=cases, history=history, experiment=experiment, provenance=provenance
    )


def rows(case, value, split="held out", regions=("WT",)):
    values = np.broadcast_to(value, len(regions))
    return [(case, split, r, m, v) for r, v in zip(regions, values, strict=True) for m in METRICS[1:]]


#: Dice of eight cases: enough for Wilcoxon's test to decide a small family.
BASE = dict(zip("abcdefgh", (0.5, 0.7, 0.2, 0.85, 0.45, 0.75, 0.3, 0.8), strict=True))
HELD = {0: "abef", 1: "cdgh"}


def group(change=0.0, seeds=(0,), regions=("WT",), folds=(0, 1), trained=0.95):
    """Eight cases, four held out in each of two folds; ``change`` (or one a case) is added to the Dice of each."""
    by = change if isinstance(change, dict) else dict.fromkeys(BASE, change)
    return [
        record(
            fold,
            seed,
            [row for case in HELD[fold] for row in rows(case, BASE[case] + by[case], regions=regions)]
            + [row for case in HELD[1 - fold] for row in rows(case, trained, "train", regions)],
        )
        for fold in folds
        for seed in seeds
    ]
