"""The pack itself: runs in order of worth, and of their cohorts what these runs need, in one file."""

from __future__ import annotations

import hashlib
import json
import lzma
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from gbmlib.cohorts import CaseError, Cohort, open_cohort, packed
from gbmlib.files import written
from gbmlib.preprocess.normalise import statistics_kind
from gbmlib.study.predicting import prepare
from gbmlib.study.records import Store
from gbmlib.study.runner import Run
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble, configuration

#: What a pack holds: cohorts, cases prepared for the runs, and the runs' configurations in order of worth.
DATA, PREPARED, RUNS = "data", "prepared", "runs.json"

#: Beside what was unpacked: the digest of the pack, written last.
UNPACKED = "unpacked.txt"


def make(path: str | Path, runs: Iterable[Run], prepared: Sequence[str], whole: Sequence[str]) -> dict[str, str]:
    """Write a pack, whole or not at all.

    Args:
        runs: in order of worth, each after those that it needs.
        prepared: specs of cohorts whose cases travel prepared for the runs.
        whole: specs of cohorts whose images travel. That is smaller where a network works on the data's own grid, and
            it is needed where images are normalised by statistics of the training cases.

    Returns:
        Why runs were left out, by their ids.

    Raises:
        CaseError: a cohort that cannot be opened, or does not come from files.
        ValueError: no run can be made with these cohorts.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as name:
        folder = Path(name)
        originals = {}
        for spec, is_whole in [*((spec, False) for spec in prepared), *((spec, True) for spec in whole)]:
            original = open_cohort(spec)
            originals[original.name] = original
            packed.write(original, folder / DATA / original.name, is_whole)
        wanted, left_out = [], {}
        for run in tqdm(list(runs), "preparing", unit="run", leave=False):
            lacking = [need.id for need in run.dependencies if need.id in left_out]
            why = f"it needs {lacking[0]}, which is left out" if lacking else _add(run, originals, folder)
            if why:
                left_out[run.id] = why
            else:
                wanted.append(run.model_dump(mode="json"))
        if not wanted:
            raise ValueError(f"nothing to pack: {next(iter(left_out.values()), 'no run is missing')}")
        (folder / RUNS).write_text(json.dumps(wanted) + "\n")
        with written(path) as unfinished, tarfile.open(unfinished, "w:xz") as archive:
            for item in (RUNS, DATA, PREPARED):
                if (folder / item).exists():
                    archive.add(folder / item, item, filter=_anonymous)
    return left_out


def _add(run: Run, originals: dict[str, Cohort], folder: Path) -> str:
    """Prepare the cases that a run needs, once for all runs; returns why it cannot be packed, or an empty text."""
    for name, experiment in cases_of(run):
        if name.startswith("phantom:"):
            return "phantoms are grown where they are used, from an anatomy that does not travel"
        if name not in originals:
            return f"cohort {name} is not packed"
        travelling = packed.cohort(str(folder / DATA / name)).with_modalities(experiment.modalities)
        if travelling.cases[0].whole:
            continue
        if statistics_kind(experiment.normalisation):
            return f"normalisation {experiment.normalisation!r} needs the images of {name}: pack it whole"
        try:
            prepare(experiment, travelling.cases[0], None, folder / PREPARED)
        except CaseError:  # not prepared for this one yet
            for case in originals[name].with_modalities(experiment.modalities):
                if case.has_label:
                    prepare(experiment, case, None, folder / PREPARED)
    return ""


def cases_of(run: Run) -> list[tuple[str, Experiment]]:
    """The cohorts that a run uses, by name, each with the configuration that it is prepared for."""
    if isinstance(run, Ensemble):
        names = [run.cohort, *([run.elsewhere] if run.elsewhere else [])]
        return [(name, member) for member in run.members for name in names]
    return [(name, run) for name in (run.cohort, *run.elsewhere)]


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """An entry without owner and time, so that a pack depends on its content alone; None for the cache's locks."""
    if entry.name.endswith(".lock"):
        return None
    entry.mtime = entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def unpack(path: str | Path, store: Store) -> list[Run]:
    """Unpack a pack into a store, make its cohorts known to this process, and give its runs in order of worth.

    What was unpacked before from the same pack stays.

    Raises:
        FileNotFoundError: there is no such pack.
        ValueError: the file is no pack, or was cut short.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no pack {path}; make it first (python -m gbmlib pack make)")
    digest, mark = hashlib.sha256(path.read_bytes()).hexdigest(), store.path / UNPACKED
    if not mark.exists() or mark.read_text() != digest:
        mark.unlink(missing_ok=True)
        store.path.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(path, "r:xz") as archive:
                archive.extractall(store.path, filter="data")
        except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
            raise ValueError(f"{path} is no pack, or was cut short ({error}); copy it again") from error
        mark.write_text(digest)
    for folder in sorted((store.path / DATA).iterdir()):
        open_cohort(f"packed:{folder}")
    return [configuration(fields) for fields in json.loads((store.path / RUNS).read_text())]
