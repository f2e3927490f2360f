"""``python -m gbmlib pack``: make a pack, run what it holds within a time, take the records in."""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gbmlib.cohorts import open_cohort
from gbmlib.files import RECORDS
from gbmlib.study import catalogue, scales
from gbmlib.study.pack import expected, making, running, shards, smoke
from gbmlib.study.records import Record, Store
from gbmlib.study.runner import Run, described, to_do
from gbmlib.training.configuration import Experiment

#: What the library needs besides PyTorch, NumPy, SciPy, pandas and scikit-learn, with what these packages need.
NEEDED = ("nibabel", "pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions")
NEEDED += ("safetensors", "filelock", "tqdm")

#: Seconds kept for writing the last records when time is up.
CLOSING = 3


def in_order_of_worth(profile: str, cohorts: Sequence[str], only: Sequence[str] = ()) -> list[Run]:
    """The catalogue's runs on some cohorts, by name, at a scale, the most worth first.

    What is made of trained networks follows the last of them at once: weights are too large to come home, so it cannot
    be made later.
    """
    runs = {run.id: run for family in catalogue.families(profile, cohorts, only).values() for run in family}
    place = {name: number for number, name in enumerate(runs)}
    last = {
        name: max((place.get(need.id, -1) for need in run.dependencies), default=place[name])
        for name, run in runs.items()
    }
    return [runs[name] for name in sorted(runs, key=lambda name: (last[name], place[name]))]


def do(args: argparse.Namespace) -> None:
    """Do what the arguments ask (:func:`add_to`); see ``study.pack``."""
    {"make": _make, "wheels": _wheels, "list": _list, "smoke": _smoke, "run": _run, "take": _take}[args.what](args)


def add_to(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the arguments of all that a pack is for."""
    commands = parser.add_subparsers(dest="what", required=True)
    make = commands.add_parser("make", help="pack the missing runs, and of their cohorts what they need")
    make.add_argument("pack")
    make.add_argument("--prepared", nargs="+", default=[], metavar="SPEC", help="cohorts whose cases travel prepared")
    make.add_argument("--whole", nargs="+", default=[], metavar="SPEC", help="cohorts whose images travel")
    make.add_argument("--profile", default=scales.DEFAULT, choices=scales.PROFILES)
    make.add_argument("--only", nargs="+", default=[], choices=tuple(catalogue.SETS), help="these families")
    make.add_argument("--published", default=RECORDS, help="runs that are there are not packed")
    wheels = commands.add_parser("wheels", help="fetch the packages that a bare machine with PyTorch lacks")
    wheels.add_argument("--to", default="wheels")
    wheels.add_argument("--python", default="3.12", help="of that machine; it is taken for Linux on x86-64")
    wheels.add_argument("--names", nargs="+", default=NEEDED, help="the packages")
    for name, what in {"list": "what would run in a time", "run": "run what fits into a time"}.items():
        command = commands.add_parser(name, help=what)
        command.add_argument("pack")
        command.add_argument("--seconds", type=float, default=600)
        command.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) - 2))
        command.add_argument("--store", default="runs")
        command.add_argument("--published", default=RECORDS, help="runs that are there are not made again")
        command.add_argument("--card", help="what the smoke test measured; by default reasoned for an H100")
    command.add_argument("--out", required=True, help="folder for the finished records: at most eight files")
    command.add_argument("--beside", action="store_true", help="also weights and predictions, as far as they fit")
    command.add_argument("--device", help="by default the graphics card if there is one")
    test = commands.add_parser("smoke", help="half a minute: what the card can do, and whether it is right")
    test.add_argument("pack")
    test.add_argument("--store", default="runs")
    test.add_argument("--seconds", type=float, default=30)
    test.add_argument("--processes", type=int, help="also the steps a second of so many side by side, and of fewer")
    test.add_argument("--device", help="by default the graphics card if there is one")
    test.add_argument("--card", default="card.json", help="where to write what was measured")
    take = commands.add_parser("take", help="take the records in that came home")
    take.add_argument("folder")
    take.add_argument("--to", default=RECORDS)
    take.add_argument("--beside", action="store_true", help="also weights and predictions that came along")
    return parser


def _make(args: argparse.Namespace) -> None:
    names = [open_cohort(spec).name for spec in (*args.prepared, *args.whole)]
    # Weights that lie here do not travel, so only published records count as made.
    published = Store(Path(args.pack).parent / "no runs of one's own", args.published)
    missing = to_do(in_order_of_worth(args.profile, names, args.only), published)
    left_out = making.make(args.pack, missing, args.prepared, args.whole)
    for why in dict.fromkeys(left_out.values()):
        print(f"left out: {sum(other == why for other in left_out.values())} runs: {why}")
    size = Path(args.pack).stat().st_size / 2**20
    print(f"{args.pack}: {len(missing) - len(left_out)} runs on {', '.join(names)}, {size:.1f} MB")


def _wheels(args: argparse.Namespace) -> None:
    versions = [f"{name}=={importlib.metadata.version(name)}" for name in args.names]
    platforms = [f"--platform={name}_x86_64" for name in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")]
    kind = ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={args.python}"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", *kind, *platforms, f"--dest={args.to}"]
    if subprocess.run([*pip, *versions], check=False).returncode:
        raise ValueError(f"pip could not fetch all of {', '.join(versions)} for Python {args.python}; see above")
    files = sorted(Path(args.to).glob("*.whl"))
    print(f"{args.to}: {len(files)} wheels, {sum(file.stat().st_size for file in files) / 2**20:.1f} MB")


def _prepared(args: argparse.Namespace) -> tuple[list[Run], Store, dict[str, float], float]:
    """A pack's runs in order of worth, the store it was unpacked into, the expected seconds of what is missing, and
    those until a process computes."""
    if args.processes < 1:
        raise ValueError(f"--processes is {args.processes}, not at least 1")
    store = Store(args.store, args.published)
    runs = making.unpack(args.pack, store)
    card = expected.Card.load(args.card) if args.card else expected.Card()
    times = {run.id: expected.seconds(run, store, card, args.processes) for run in to_do(runs, store)}
    return runs, store, times, card.begin


def _list(args: argparse.Namespace) -> None:
    runs, store, times, begin = _prepared(args)
    missing = to_do(runs, store)
    ends = running.planned(missing, times, args.seconds, args.processes, begin)
    for run in missing:
        when = f"ends at {ends[run.id]:5.0f} s" if run.id in ends else "does not fit   "
        print(f"{times[run.id]:5.0f} s  {when}  {described(run)}")
    total, fitting = sum(times.values()), sum(times[name] for name in ends)
    print(
        f"{len(missing)} of {len(runs)} runs are missing, {total:.0f} s of one process; in {args.seconds:.0f} s of "
        f"{args.processes}: {len(ends)} runs, {fitting:.0f} s"
    )


def _run(args: argparse.Namespace) -> None:
    began = time.monotonic()
    runs, store, times, begin = _prepared(args)
    home = shards.Shards(Path(args.out))
    for run in runs:  # made before, by a command that was cut off
        if (record := store.local(run)) is not None:
            home.add(record)
    attempts: list[running.Attempt] = []

    def on_end(attempt: running.Attempt, record: Record | None) -> None:
        attempts.append(attempt)
        if record is not None:
            home.add(record)
        _write(attempts, home.folder / "runs.csv")
        print(
            f"{time.monotonic() - began:5.0f} s  {attempt.outcome} in {attempt.taken:.0f} s  {described(attempt.run)}"
        )
        print(attempt.error, end="", flush=True)

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes; a run sets its own number in training
    left = args.seconds - (time.monotonic() - began) - CLOSING
    running.run_within(runs, store, left, args.processes, times, begin, args.device, on_end)
    for run in runs if args.beside else ():
        if (record := store.local(run)) is not None:
            home.add_beside(record)
    if home.left_out:
        print(f"no room in {args.out} for {', '.join(home.left_out)}; they are in {args.store}")
    outcomes = [attempt.outcome for attempt in attempts]
    print(", ".join(f"{outcomes.count(name)} {name}" for name in (running.FINISHED, running.STOPPED, running.FAILED)))


def _write(attempts: Sequence[running.Attempt], path: Path) -> None:
    """Write the outcome of each run as a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["run", "outcome", "expected", "taken", "error"])
        for attempt in attempts:
            error = attempt.error.strip().splitlines()[-1:]
            seconds = (f"{attempt.expected:.1f}", f"{attempt.taken:.1f}")
            table.writerow([attempt.run.id, attempt.outcome, *seconds, *(error or [""])])


def _smoke(args: argparse.Namespace) -> None:
    runs = making.unpack(args.pack, Store(args.store))
    table, card = smoke.measure(runs, args.device, args.seconds)
    print(table.to_string(index=False))
    card.save(args.card)
    if args.processes:
        first = next(run for run in runs if isinstance(run, Experiment))
        print(smoke.side_by_side(first, args.device, args.processes).to_string(index=False))


def _take(args: argparse.Namespace) -> None:
    became = shards.take(args.folder, args.to, args.beside)
    for name, what in became.items():
        print(f"{name}  {what}")
    if refused := [name for name, what in became.items() if what.startswith("refused")]:
        raise ValueError(f"{len(refused)} of {len(became)} records were refused; see above")
