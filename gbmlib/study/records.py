"""The store of runs: a small, self-describing record for each, complete or absent.

A record is a folder named by its run's id:

- ``config.json``: the full configuration;
- ``history.csv``: a line an epoch;
- ``cases.csv``: a line for each case, split and region, a column for each metric, empty where it was not measured;
- ``provenance.json``: commit, versions, device, times, peak memory, fingerprint of the data.

A store is a folder of one's own (``runs/``), where weights and predictions lie beside the record, and folders of
published records that are only read (``book/records/``).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

import gbmlib
from gbmlib.files import RECORDS, did_you_mean, written
from gbmlib.training import batches
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble, configuration

#: What ``cases.csv`` calls the cases of the cohort that a run trained on and those it did not; the cases of another
#: cohort go by that cohort's name.
TRAIN, HELD_OUT = "train", "held out"
WEIGHTS = "weights.safetensors"
PREDICTIONS, PROBABILITIES = "predictions", "probabilities"
OF_LINE = ("case", "split", "region")  # what a line of cases.csv is of
FILES = ("config.json", "history.csv", "cases.csv", "provenance.json")

#: Folders of a store and of published records, unless told otherwise.
RUNS, BOOK = "runs", RECORDS

#: Called with each record whose scores or history are read.
on_read: list[Callable[[Record], None]] = []


class RecordError(ValueError):
    """A record cannot be used; the message names the file and what to do."""


@dataclass(frozen=True)
class Record:
    """One finished run.

    Attributes:
        path: its folder.
        published: whether it comes from a folder of published records.
        regions: those whose scores are looked at (:meth:`of_regions`); None for all that were measured.
        store: where it was found, with the runs that it can be checked against; None for a folder by itself.
    """

    path: Path
    published: bool = False
    regions: tuple[str, ...] | None = None
    store: Store | None = field(default=None, compare=False, repr=False)

    @property
    def id(self) -> str:
        return self.path.name

    @cached_property
    def experiment(self) -> Experiment | Ensemble:
        """The configuration, validated; fields that came later have their defaults."""
        return configuration(_read_json(self.path / "config.json"))

    @property
    def history(self) -> pd.DataFrame:
        """A line an epoch: learning rate, training and validation losses and metrics."""
        self._note()
        return self._history

    @property
    def cases(self) -> pd.DataFrame:
        """Columns case, split (train, held out), region, metric, value."""
        self._note()
        return self._cases

    def _note(self) -> None:
        for reader in on_read:
            reader(self)

    @cached_property
    def _history(self) -> pd.DataFrame:
        return pd.read_csv(self.path / "history.csv")

    @cached_property
    def _cases(self) -> pd.DataFrame:
        # Names of cases may be digits alone, and a region may be called NA: text is read as text.
        wide = pd.read_csv(self.path / "cases.csv", dtype=str, keep_default_na=False).set_index(list(OF_LINE))
        if "metric" in wide:
            raise RecordError(f"record {self.path} is of an earlier form; move its folder away to run it again")
        table = wide.rename_axis(columns="metric").stack().rename("value").reset_index()
        table = table[table.value != ""].astype({"value": float}).reset_index(drop=True)
        return table if self.regions is None else table[table.region.isin(self.regions)]

    def of_regions(self, names: Iterable[str]) -> Record:
        """The same run with the scores of some regions alone; this record and its files stay complete.

        Raises:
            RecordError: it was not measured on one of them.
        """
        names, measured = tuple(names), list(self.cases.region.unique())
        if lacking := [name for name in names if name not in measured]:
            raise RecordError(f"record {self.path} has no scores of {', '.join(lacking)}; it has {', '.join(measured)}")
        return replace(self, regions=names)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Where, when and with what the record was made."""
        return _read_json(self.path / "provenance.json")

    @property
    def on_graphics_card(self) -> bool:
        """Whether it was computed on a graphics card: only a processor is named with its cores."""
        return not self.provenance["device"].endswith(" cores")

    @cached_property
    def data(self) -> dict[str, str]:
        """The digest of the data of each cohort that the run read, by the cohort's name."""
        fields = _read_json(self.path / "config.json")
        name = fields["cohort"] if "cohort" in fields else fields["members"][0]["cohort"]
        return {name: self.provenance.get("fingerprint")} | self.provenance.get("elsewhere", {})

    @property
    def weights(self) -> Path | None:
        """The trained weights, where this machine has them."""
        path = self.path / WEIGHTS
        return path if path.exists() else None

    def prediction(self, case_id: str) -> Path | None:
        """The predicted label map of a held-out case, where this machine has it."""
        path = self.path / PREDICTIONS / f"{case_id}.nii.gz"
        return path if path.exists() else None

    def probabilities(self, case_id: str) -> Path | None:
        """The predicted probabilities of a held-out case (``study.out_of_fold``), where this machine has them."""
        path = self.path / PROBABILITIES / f"{case_id}.npz"
        return path if path.exists() else None

    def stale(self, fingerprint: str | None = None) -> list[str]:
        """Reasons why the same run made today may give another record; empty where there are none.

        Args:
            fingerprint: that of the cohort at hand; None where the data is not here, and then it is not compared.
        """
        provenance, reasons = self.provenance, []
        if provenance["numerics"] != gbmlib.NUMERICS:
            reasons.append(f"made by version {provenance['numerics']} of the numerics, now {gbmlib.NUMERICS}")
        if fingerprint is not None and provenance["fingerprint"] != fingerprint:
            reasons.append(f"made from data {provenance['fingerprint']}, this data is {fingerprint}")
        return reasons


class Store:
    """Runs in a folder, and published records to read.

    Args:
        path: the folder of one's own runs; made when first written to.
        published: folders of published records, looked in after ``path``.
    """

    def __init__(self, path: str | Path = "runs", published: str | Path | Iterable[str | Path] = ()):
        self.path = Path(path)
        self.published = [Path(published)] if isinstance(published, str | Path) else [Path(p) for p in published]

    @property
    def folders(self) -> list[Path]:
        """All folders with records, one's own first."""
        return [self.path, *self.published]

    @property
    def prepared(self) -> Path:
        """The folder of prepared cases that runs share (``preprocess.cache``)."""
        return self.path / "prepared"

    def get(self, experiment: Experiment | Ensemble) -> Record | None:
        """The record of a configuration, or None.

        Raises:
            RecordError: a record of this name holds another configuration, or lacks a file.
        """
        for folder in self.folders:
            path = folder / experiment.id
            if path.is_dir():
                record = Record(path, published=folder != self.path, store=self)
                _verify(record, experiment)
                return record
        return None

    def local(self, experiment: Experiment | Ensemble) -> Record | None:
        """The record of a configuration that was run here, with what it predicted; a published one does not count."""
        record = self.get(experiment)
        return None if record is None or record.published else record

    def named(self, name: str) -> Record:
        """The record of an id.

        Raises:
            RecordError: there is none.
        """
        for folder in self.folders:
            if (folder / name / "provenance.json").exists():
                return Record(folder / name, folder != self.path, store=self)
        near = did_you_mean(name, (record.id for record in self.all()))
        raise RecordError(f"there is no record {name} in {', '.join(map(str, self.folders))}{near}")

    def all(self) -> list[Record]:
        """Every record, one's own first; a published one that is also one's own counts once."""
        records: dict[str, Record] = {}
        for folder in self.folders:
            for path in sorted(folder.glob("*/provenance.json")):
                if not path.parent.name.startswith(".") and not path.parent.name.endswith(".unfinished"):
                    records.setdefault(path.parent.name, Record(path.parent, folder != self.path, store=self))
        return list(records.values())

    def unfinished(self, experiment: Experiment | Ensemble) -> Path:
        """The folder in which a run works until its record is complete."""
        path = self.path / f"{experiment.id}.unfinished"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def lock(self, experiment: Experiment | Ensemble) -> FileLock:
        """Held while a run works, so that no two processes do the same one; the system frees it if they die."""
        self.path.mkdir(parents=True, exist_ok=True)
        return FileLock(self.path / f".{experiment.id}.lock")

    def finish(
        self,
        experiment: Experiment | Ensemble,
        history: pd.DataFrame,
        cases: pd.DataFrame,
        provenance: dict[str, Any],
    ) -> Record:
        """Write the record into the unfinished folder, then give the folder its final name in one step."""
        folder = self.unfinished(experiment)
        _write_json(folder / "config.json", experiment.model_dump(mode="json"))
        # 17 significant digits give every float back bit for bit.
        history.to_csv(folder / "history.csv", index=False, float_format="%.17g", lineterminator="\n")
        lines = cases.assign(value=cases.value.map("{:.17g}".format)).set_index([*OF_LINE, "metric"])
        lines.value.unstack(sort=False).to_csv(folder / "cases.csv", lineterminator="\n")
        _write_json(folder / "provenance.json", provenance)
        final = self.path / experiment.id
        os.replace(folder, final)
        return Record(final, store=self)

    def publish(self, record: Record, folder: str | Path) -> Record:
        """Copy a record's small files to a folder of published records, whole or not at all."""
        final = Path(folder) / record.id
        with written(final) as unfinished:
            unfinished.mkdir()
            for name in FILES:
                shutil.copyfile(record.path / name, unfinished / name)
        return Record(final, published=True)


def _verify(record: Record, experiment: Experiment | Ensemble) -> None:
    missing = [name for name in FILES if not (record.path / name).exists()]
    if missing:
        raise RecordError(f"record {record.path} lacks {missing}; move the folder away to run it again")
    theirs, ours = (run.model_dump(mode="json") for run in (record.experiment, experiment))
    if theirs != ours:
        differ = {name: (theirs[name], ours[name]) for name in ours if theirs[name] != ours[name]}
        raise RecordError(f"record {record.path} holds another configuration (there, asked): {differ}; move it away")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read ({error}); move its folder away to run it again") from error


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def steps_of(record: Record) -> int:
    """The number of optimiser steps of a run, from its epochs and the cases that it trained on."""
    training = record.cases.case[record.cases.split == TRAIN].nunique()
    return len(record.history) * batches.per_epoch(record.experiment, training)


def voxels_of(record: Record) -> int:
    """How many voxels of training patches a run saw."""
    return steps_of(record) * record.experiment.batch_size * prod(record.experiment.patch_size)
