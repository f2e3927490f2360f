"""``python -m gbmlib.study brats:PATH [msd:PATH …]``: make the runs that the book shows, several side by side.

They are made in the order of their worth (``study.catalogue``). What is published or in the store is
not made again, and what was interrupted goes on. ``--list`` says what is there, what is next, and its hours.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

from gbmlib import cohorts
from gbmlib.study import run, scales
from gbmlib.study.catalogue import FAMILIES, Run, expected_seconds, families
from gbmlib.study.records import Store
from gbmlib.study.runner import to_do
from gbmlib.training.ensemble import Ensemble


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m gbmlib.study", description=__doc__.splitlines()[0])
    parser.add_argument("cohorts", nargs="+", help="phantom:…, brats:PATH or msd:PATH; several are worked on together")
    parser.add_argument("--profile", default=scales.DEFAULT, choices=scales.PROFILES)
    parser.add_argument("--only", nargs="+", choices=tuple(FAMILIES), help="these families; by default all")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, each with the threads it was given")
    parser.add_argument("--store", default="runs")
    parser.add_argument("--published", default="book/records", help="records that need not be made again")
    parser.add_argument("--list", action="store_true", help="say what there is to do, and do nothing")
    asked = parser.parse_args(arguments)
    if asked.workers < 1:
        parser.error(f"--workers is {asked.workers}, not at least 1")
    names = [cohorts.open_cohort(spec).name for spec in asked.cohorts]
    wanted = families(asked.profile, names, asked.only or ())
    if strange := [name for name in asked.only or () if not families(asked.profile, names, (name,))]:
        fitting = ", ".join(name for name in FAMILIES if families(asked.profile, names, (name,))) or "none"
        parser.error(f"--only {' '.join(strange)}: not at scale {asked.profile} for {', '.join(names)}; has {fitting}")
    store = Store(asked.store, published=asked.published)
    missing = to_do([one for runs in wanted.values() for one in runs], store)
    print(f"{sum(map(len, wanted.values()))} runs on {', '.join(names)}, {len(missing)} of them to do")
    if asked.list:
        _list(wanted, store)
        return
    # Spawned, not forked: a copy of a process whose torch has computed hangs.
    with ProcessPoolExecutor(asked.workers, multiprocessing.get_context("spawn")) as executor:
        run(missing, store, executor)


def _list(wanted: Mapping[str, Sequence[Run]], store: Store) -> None:
    """Each family with what it lacks, and hours of one process where records tell how long such runs take."""
    records, listed = store.all(), set()
    for name, runs in wanted.items():
        to_make = [one for one in to_do(runs, store) if one.id not in listed]
        listed |= {one.id for one in to_make}
        expected = [expected_seconds(one, records) for one in to_make]
        known = [seconds for seconds in expected if not math.isnan(seconds)]
        more = f" and {len(expected) - len(known)} runs that nothing tells of" if len(known) < len(expected) else ""
        hours = f", about {sum(known) / 3600:.1f} hours{more}" if expected else ""
        there = sum(store.get(one) is not None for one in runs)
        again = sum(store.get(one) is not None for one in to_make)
        weights = f", {again} of other families to be made again for their weights" if again else ""
        print(f"{name}: {there} of {len(runs)} are there{hours}{weights}")
        for one, seconds in zip(to_make, expected, strict=True):
            what = f"of {len(one.members)}" if isinstance(one, Ensemble) else f"{one.epochs} epochs  {one.options}"
            minutes = "" if math.isnan(seconds) else f"  {seconds / 60:.0f} min"
            print(f"  {one.id}  fold {one.fold}  seed {one.seed}{minutes}  {what}")


if __name__ == "__main__":
    main()
