"""Made-up records of real configurations on phantoms, for the tests of what the published ones hold."""

from functools import cache

import pandas as pd

from gbmlib.study import catalogue, scales
from gbmlib.study.records import Store

COHORT = "phantom:cases=4,spacing=6,seed=0"
PAGES = {"page": "[{}](page.md)"}


def run(fold=0, seed=0, **changes):
    return scales.vnet("test", (fold,), cohort=COHORT, seed=seed, **changes)[0]


def families(monkeypatch, **makes):
    """Put families into the catalogue for a test, by name; each is on the page "page". Their names."""
    for name, make in makes.items():
        family = catalogue.Family(name, name, "page", make)
        monkeypatch.setitem(catalogue.FAMILIES, name, family)
        monkeypatch.setitem(catalogue.SETS, name, [family])
    # A cache of the test's own: a family may have the name of a real one.
    monkeypatch.setattr(catalogue, "_runs", cache(catalogue._runs.__wrapped__))
    return list(makes)


def put(store: Store, experiment, dice, minutes=3, device="X, 4 cores", **more):
    """Write a record of five epochs with a Dice for each held-out case, and two cases trained on."""
    rows = [(case, "held out", region, "dice", value) for case, value in dice.items() for region in ("WT", "TC", "ET")]
    rows += [(case, "held out", "oedema", "dice", 0.0) for case in dice]  # not a nested region: does not count
    rows += [(case, "train", "WT", "dice", 1.0) for case in ("t1", "t2")]
    made = {"seconds": 60 * minutes, "device": device, "cases": 4, "epoch_seconds": [1.0] * 5} | more
    return store.finish(
        experiment,
        pd.DataFrame({"epoch": range(5), "train_loss": 1.0}),
        pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"]),
        made,
    )
