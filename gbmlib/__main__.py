"""The command line, ``python -m gbmlib COMMAND`` or ``gbm COMMAND``: thin functions over the library.

A fault of data or arguments is a line ``error: …`` with the remedy. Each command imports what it needs itself, so that
``pack`` runs where there is little more than PyTorch.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

SPEC = "brats:PATH, msd:PATH, nnunet:PATH, table:PATH.csv or phantom:…"


class _Parser(argparse.ArgumentParser):
    """Faults of arguments in a line, without the usage in front of it."""

    def error(self, message: str) -> None:
        self.exit(2, f"error: {message}; {self.prog} --help says what there is\n")


def _parser(command: Callable) -> _Parser:
    return _Parser(prog=f"python -m gbmlib {command.__name__}", description=command.__doc__)


def check(arguments: Sequence[str]) -> int:
    """Report all that is wrong with data sets; the exit status is 1 where there are errors."""
    from gbmlib import cohorts

    parser = _parser(check)
    parser.add_argument("spec", nargs="+", help=SPEC)
    parser.add_argument("--quiet", action="store_true", help="print no more than the counts")
    parser.add_argument("--json", action="store_true", help="print a list of reports for programs")
    args = parser.parse_args(arguments)
    reports = [cohorts.check(spec) for spec in args.spec]
    if args.json:
        print(json.dumps([report.as_json() for report in reports], indent=1))
    else:
        print("\n\n".join(report.summary if args.quiet else str(report) for report in reports))
    return 0 if all(report.ok for report in reports) else 1


def plan(arguments: Sequence[str]) -> None:
    """Plan the networks of nnU-Net for a data set, with the reason of each choice."""
    from gbmlib import cohorts, planner
    from gbmlib.study import nnunet

    parser = _parser(plan)
    parser.add_argument("data", help=f"{SPEC}, or the JSON file of a fingerprint")
    parser.add_argument("--spacing", type=float, nargs=3, metavar="MM", help="z, y, x, in place of the median")
    args = parser.parse_args(arguments)
    if args.data.endswith(".json"):
        fingerprint = planner.Fingerprint.read(args.data)
        print(planner.plan(nnunet.at_spacing(fingerprint, args.spacing)).explain())
    else:
        print(nnunet.plan_of(cohorts.open_cohort(args.data), args.spacing).explain())


def run(arguments: Sequence[str]) -> None:
    """Make the runs of the book, several side by side; what is published or in the store is not made again."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    from gbmlib import cohorts, study
    from gbmlib.study import catalogue, scales
    from gbmlib.study.records import Store
    from gbmlib.study.runner import listing, ready

    parser = _parser(run)
    parser.add_argument("cohorts", nargs="*", metavar="SPEC", help=f"{SPEC}; several are worked on together")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--only", nargs="+", metavar="FAMILY", help=f"of {', '.join(catalogue.SETS)}; by default all")
    which.add_argument("--claims", nargs="*", metavar="ID", help="what decides these claims; without ids, all claims")
    which.add_argument("--ids", nargs="+", metavar="RUN", help="the runs of these records, with weights, if not here")
    which.add_argument("--configuration", metavar="JSON", help="a run of your own: its fields, or a file of them")
    parser.add_argument("--profile", default=scales.DEFAULT, choices=scales.PROFILES, help="the scale")
    parser.add_argument("--modalities", nargs="+", metavar="NAME", help="input channels; by default those that fit")
    parser.add_argument("--spacing", type=float, metavar="MM", help="of the networks' grid")
    parser.add_argument("--folds", type=int, dest="n_folds", metavar="N", help="how many there are, not which to run")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, each with the threads it was given")
    parser.add_argument("--list", action="store_true", help="say what there is to do, and do nothing")
    _add_stores(parser)
    args = parser.parse_args(arguments)
    lists = (args.only, args.claims, args.ids, args.modalities)
    if eaten := [name for values in lists for name in values or () if ":" in name]:
        parser.error(f"{eaten[0]} is data and not a name; put it first, as in: run {eaten[0]} --only FAMILY")
    data = [cohorts.open_cohort(spec) for spec in args.cohorts]
    if args.workers < 1:
        parser.error(f"--workers is {args.workers}, not at least 1")
    if args.ids or args.configuration:  # with their weights, which are not published
        store, all_records = Store(args.store), Store(args.store, published=args.published)
        runs = [all_records.named(name).experiment for name in args.ids or ()] or [_configuration(args.configuration)]
        print(f"{len(ready(runs, store))} runs to do in {args.store}", flush=True)
        if not args.list:
            study.run(runs, store, checkpoint_seconds=1 if args.configuration else 60)
        return
    if not data:
        named = [catalogue.runs_of(name, args.profile).values() for name in args.only or ()]
        asked = [one for groups in named for runs in groups for one in runs]
        parser.error(f"name the data that the runs need, such as {catalogue.data(asked)}")
    store, wanted = Store(args.store, published=args.published), _wanted(parser, args, data)
    missing = ready([one for runs in wanted.values() for one in runs], store)
    names = ", ".join(cohort.name for cohort in data)
    print(f"{sum(map(len, wanted.values()))} runs on {names}, {len(missing)} of them to do", flush=True)
    if args.list:
        print(*listing(wanted, store), sep="\n")
        return
    # Spawned, not forked: a copy of a process whose torch has computed hangs.
    with ProcessPoolExecutor(args.workers, multiprocessing.get_context("spawn")) as executor:
        study.run(missing, store, executor)


def _wanted(parser: _Parser, args: argparse.Namespace, data: Sequence) -> dict[str, list]:
    """The runs of the claims or families that are asked for, on data of the study or of a reader."""
    from functools import partial

    from gbmlib.study import catalogue, scales

    names = [cohort.name for cohort in data]
    changed = args.modalities or args.spacing is not None or args.n_folds is not None
    if args.claims is not None:
        from gbmlib.claims import evidence, ledger

        if changed:
            parser.error("--modalities, --spacing and --folds change families, not what decides a claim")
        return evidence.runs_of_claims(ledger.named(args.claims), args.profile, names)
    added = [cohort for cohort in data if cohort.name not in catalogue.COHORTS] or (data if changed else [])
    make = partial(catalogue.families, args.profile, names, **scales.asked(args, added[0]) if added else {})
    if strange := [name for name in args.only or () if not make((name,))]:
        fitting = ", ".join(name for name in catalogue.SETS if make((name,))) or "none"
        parser.error(f"--only {' '.join(strange)}: not at scale {args.profile} for {', '.join(names)}; has {fitting}")
    return make(args.only or ())


def segment(arguments: Sequence[str]) -> None:
    """Segment the cases of a data set with a trained network: NIfTI in the scanner's own space and label values."""
    from gbmlib.study import networks

    parser = _parser(segment)
    parser.add_argument("cohort", metavar="SPEC", help=f"{SPEC}; or a folder of NIfTI files, or one NIfTI file")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--network", dest="run", choices=networks.NAMED, help="by default what suits the data")
    which.add_argument("--run", help="the id of a run in the store")
    parser.add_argument("--to", required=True, metavar="FOLDER")
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="by default all")
    parser.add_argument("--view", action="store_true", help="write each as a page to look at, too")
    _add_stores(parser)
    args = parser.parse_args(arguments)
    for case, label_map in networks.segmented(args.cohort, args.cases, args.run, args.store, args.published):
        path = Path(args.to) / f"{case.id}.nii.gz"
        case.write(path, label_map)
        print(path, flush=True)
        if args.view:
            from gbmlib.viewer import view

            print(view(case, prediction=label_map, mode="static").save(path.with_name(f"{case.id}.html")), flush=True)


def verdicts(arguments: Sequence[str]) -> None:
    """Print each claim of the two papers with its verdict, effect and interval, from your runs and the published."""
    from gbmlib.claims import ledger
    from gbmlib.claims.verdicts import decide
    from gbmlib.study.records import Store

    parser = _parser(verdicts)
    parser.add_argument("ids", nargs="*", help="of claims; by default all")
    _add_stores(parser)
    args = parser.parse_args(arguments)
    chosen = ledger.named(args.ids)
    decisions = decide(ledger.together(chosen), Store(args.store, published=args.published))
    for verdict in (decisions[claim.id] for claim in chosen):
        effects = "; ".join(str(one.difference) for one in verdict.comparisons if one.difference)
        print(f"{verdict.claim.id}: {verdict.label}{f', {effects}' if effects else ''}. {verdict.why}".rstrip(" ."))


def download(arguments: Sequence[str]) -> None:
    """Fetch a task of the Medical Segmentation Decathlon; a download that was interrupted goes on."""
    from gbmlib.cohorts import download as archives

    parser = _parser(download)
    parser.add_argument("source", choices=["msd"], help="the Medical Segmentation Decathlon")
    parser.add_argument("task", nargs="?", help="such as Task01_BrainTumour")
    parser.add_argument("--to", metavar="PATH", help="the folder of data sets; the task becomes a folder in it")
    parser.add_argument("--address", default=archives.ADDRESS, help="of a mirror, without the archive's name")
    parser.add_argument("--list", action="store_true", help="say which tasks there are, and how large")
    args = parser.parse_args(arguments)
    if args.list:
        for name, archive in archives.TASKS.items():
            print(f"{name:<19} {archives.amount(archive.size):>8}  {archive.holds}")
        return
    if args.task is None or args.to is None:
        parser.error("name a task and a folder, as in: msd Task04_Hippocampus --to data; --list says what there is")
    place = Path(args.to) / args.task
    if archive := archives.TASKS.get(args.task):
        if archives.is_there(args.task, args.to):
            print(f"{place} is there already; nothing to do")
            return
        print(f"{args.task}: about {archives.amount(archive.size)}; licence {archives.LICENCE}", flush=True)
    archives.decathlon(args.task, args.to, args.address)
    print(f"{place} is there. Check it with: python -m gbmlib check msd:{place}")


def records(arguments: Sequence[str]) -> None:
    """List the runs of a store, or publish some of them: their records, without weights."""
    from gbmlib.study.records import BOOK, RUNS, Store

    parser = _parser(records)
    parser.add_argument("--publish", nargs="+", metavar="RUN", help="ids; by default all runs are listed")
    parser.add_argument("--to", default=BOOK, metavar="FOLDER")
    parser.add_argument("--store", default=RUNS)
    args = parser.parse_args(arguments)
    store = Store(args.store)
    for record in [store.named(name) for name in args.publish or ()]:
        print(store.publish(record, args.to).path)
    for record in () if args.publish else store.all():
        one = record.experiment
        print(f"{record.id}  {one.cohort}  {one.regions}  fold {one.fold}/{one.folds}  seed {one.seed}")


def facts(arguments: Sequence[str]) -> None:
    """Measure what the book shows of data that cannot be shared, and publish it."""
    from gbmlib.analysis import cohort_summary, uncertainty_members
    from gbmlib.preprocess import fingerprint
    from gbmlib.study.records import BOOK, RUNS

    parser = _parser(facts)
    parser.add_argument("cohort", metavar="SPEC", help=SPEC)
    parser.add_argument("--uncertainty", action="store_true", help="of the runs of crossvalidation in the store alone")
    parser.add_argument("--to", default=BOOK, metavar="FOLDER")
    parser.add_argument("--store", default=RUNS)
    args = parser.parse_args(arguments)
    if not args.uncertainty:
        print(fingerprint.publish(args.cohort, args.to), *cohort_summary.publish(args.cohort, args.to), sep="\n")
    else:
        print(*uncertainty_members.publish(args.cohort, args.store, args.to), sep="\n")


def pack(arguments: Sequence[str]) -> None:
    """Bring missing runs to a machine that is lent for minutes, bare and offline, and their records home."""
    from gbmlib.study.pack import command

    command.do(command.add_to(_parser(pack)).parse_args(arguments))


COMMANDS = {one.__name__: one for one in (check, plan, run, segment, verdicts, download, records, facts, pack)}


def _add_stores(parser: _Parser) -> None:
    from gbmlib.study.records import BOOK, RUNS

    parser.add_argument("--store", default=RUNS, help="the folder of your own runs")
    parser.add_argument("--published", default=BOOK, help="the folder of published records")


def _configuration(text: str):
    """The run of a configuration as JSON, or as a file of it."""
    from gbmlib.training.ensemble import configuration

    return configuration(json.loads(text if text.lstrip().startswith("{") else Path(text).read_text()))


def _in_a_line(error: Exception) -> str:
    """What an error says; of a configuration each field that is wrong."""
    if not hasattr(error, "errors"):  # of pydantic
        return str(error)
    faults = ((".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")) for one in error.errors())
    return "; ".join(": ".join(filter(None, fault)) for fault in faults)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status: 2 where the command line itself is wrong, 1 for all other faults."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name not in COMMANDS:
        lines = [f"  {one:<10} {command.__doc__.splitlines()[0]}" for one, command in COMMANDS.items()]
        if name in ("-h", "--help"):
            print("usage: python -m gbmlib COMMAND …; COMMAND --help says more\n", *lines, sep="\n")
            return 0
        print(f"error: no command {name!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return COMMANDS[name](rest) or 0
    except ModuleNotFoundError as error:
        print(f"error: this needs the package {error.name}: pip install 'gbmlib[book]'", file=sys.stderr)
    except ExceptionGroup as group:
        errors = dict.fromkeys(f"error: {_in_a_line(error)}" for error in group.exceptions)
        print(*errors, group.message, sep="\n", file=sys.stderr)
    except (ValueError, OSError, RuntimeError) as error:  # of data, records, downloads, trainings
        print(f"error: {_in_a_line(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
