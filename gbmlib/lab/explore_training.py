"""Runs that are going on: started in a process of their own, and looked at while they work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout
from safetensors import safe_open

from gbmlib.cohorts import open_cohort, place_of
from gbmlib.study.records import Store
from gbmlib.training.configuration import Experiment
from gbmlib.training.loop import CHECKPOINT

_UNFINISHED = ".unfinished"


def small_run(profile: str = "demo") -> Experiment:
    """A U-Net on coarse phantoms that learns something within half a minute on a laptop: to try everything out with."""
    return Experiment(
        model="unet",
        options={"filters": 8, "pools": (2, 2, 2)},
        cohort="phantom:cases=8,spacing=6,seed=0",
        spacing=6,
        patch_size=(32, 32, 32),
        folds=4,
        epochs=2 if profile == "test" else 12,
        learning_rate=1e-2,
        threads=1,
    )


# ---------------------------------------------------------------------------------------------------- looking at them


@dataclass(frozen=True)
class Going:
    """A run that is not finished.

    Attributes:
        id: its name.
        experiment: its configuration; None before the first checkpoint, which tells it.
        history: a line an epoch, as far as the last checkpoint has it.
        seconds: that each of these epochs took.
        running: whether a process works on it at this moment; otherwise it was interrupted, and can go on.
        age: seconds since the checkpoint was written; None without one.
    """

    id: str
    experiment: Experiment | None
    history: pd.DataFrame
    seconds: tuple[float, ...]
    running: bool
    age: float | None

    @property
    def remaining(self) -> float | None:
        """Seconds to the last epoch, at the pace of the last five; None where that cannot be told."""
        if self.experiment is None or not self.seconds:
            return None
        recent = self.seconds[-5:]
        return (self.experiment.epochs - len(self.seconds)) * sum(recent) / len(recent)

    def __str__(self) -> str:
        state = "running" if self.running else "interrupted; asked for again, it goes on from its checkpoint"
        if self.experiment is None:
            return f"{self.id}: {state}; no checkpoint yet (cases are prepared first)"
        words = [f"{self.id}: {state}", f"epoch {len(self.seconds)} of at most {self.experiment.epochs}"]
        if self.running and self.remaining is not None:
            words.append(f"about {_duration(self.remaining)} to go")
        return "; ".join([*words, f"as written {_duration(self.age or 0)} ago"])


def going_on(store: Store) -> list[Going]:
    """The unfinished runs of a store, those that a process works on first."""
    folders = sorted(store.path.glob(f"*{_UNFINISHED}")) if store.path.is_dir() else []
    found = [of for folder in folders if (of := look(store, folder.name.removesuffix(_UNFINISHED))) is not None]
    return sorted(found, key=lambda of: not of.running)


def look(store: Store, name: str) -> Going | None:
    """An unfinished run as its last checkpoint has it; None where there is no such run (any more)."""
    folder = store.path / f"{name}{_UNFINISHED}"
    if not folder.is_dir():
        return None
    path, running = folder / CHECKPOINT, _is_running(store.path / f".{name}.lock")
    try:
        age = time.time() - path.stat().st_mtime
        origin, history, seconds = _plain_part(path)
    except FileNotFoundError:
        return Going(name, None, pd.DataFrame(columns=["epoch"]), (), running, None)
    return Going(
        name, Experiment(**json.loads(origin["configuration"])), pd.DataFrame(history), tuple(seconds), running, age
    )


def _plain_part(path: Path) -> tuple[dict[str, Any], list[dict[str, float]], list[float]]:
    """Origin, history and seconds of a checkpoint, without its tensors: ``training.tensors`` keeps all that is no
    tensor as JSON in the file's head, so that a look costs the same for a large network as for a small one."""
    with safe_open(path, "pt") as file:
        tree = dict(json.loads(file.metadata()["tree"])["items"])
    return dict(tree["origin"]["items"]), [dict(row["items"]) for row in tree["history"]], tree["seconds"]


def _is_running(lock: Path) -> bool:
    """Whether a process holds the lock of a run; the system frees it if that process dies."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


# ------------------------------------------------------------------------------------------------------- starting them


@dataclass
class Training:
    """A process that trains a run.

    Attributes:
        id: the run.
        process: it; its output goes to ``log``.
    """

    id: str
    process: subprocess.Popen
    log: Path

    @property
    def over(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> None:
        """End it; the run goes on from its last checkpoint when it is asked for again."""
        if not self.over:
            self.process.terminate()
            self.process.wait(20)

    def failure(self) -> tuple[str, str]:
        """Why it failed, in a sentence and in full; two empty texts while it works, or where it did not fail."""
        if not self.process.poll():
            return "", ""
        if self.process.returncode < 0:
            return "The training was stopped; what its last checkpoint has is kept.", ""
        text = self.log.read_text(errors="replace").strip()
        last = text.splitlines()[-1] if text else "it left no message"
        return f"The training failed: {last.partition(': ')[2] or last}", text


def start(experiment: Experiment, store: Store) -> Training:
    """Train a run, and what it needs, in a process of its own, so that this one goes on answering its reader.

    The process belongs to this one's group: what interrupts or ends a notebook's kernel reaches it too.

    Raises:
        CaseError: the data of the run is not known here.
    """
    open_cohort(experiment.cohort)
    places = [place_of(name) for name in (experiment.cohort, *experiment.elsewhere)]
    handle, log = tempfile.mkstemp(prefix=f"{experiment.id}-", suffix=".log")
    configuration = experiment.model_dump_json(exclude_defaults=True)
    environment = os.environ | {"GBM_COHORTS": ";".join(place for place in places if not place.startswith("phantom:"))}
    with os.fdopen(handle, "w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gbmlib", "run", "--configuration", configuration, "--store", str(store.path)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
        )
    return Training(experiment.id, process, Path(log))
