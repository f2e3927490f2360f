"""Runs that are not finished: trained in a process of their own, and watched in a panel while they train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
from filelock import FileLock, Timeout
from safetensors import safe_open

from gbmlib.cohorts import open_cohort, place_of
from gbmlib.lab.widgets import FIELD, SHORT, Busy, Repeater, Status, button, draw_curves
from gbmlib.study.records import Record, Store
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


@dataclass(frozen=True)
class UnfinishedRun:
    """A run that is not finished.

    Attributes:
        id: its name.
        experiment: its configuration; None before the first checkpoint.
        history: a row an epoch, up to the last checkpoint.
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


def unfinished_runs(store: Store) -> list[UnfinishedRun]:
    """The unfinished runs of a store, those that a process works on first."""
    folders = sorted(store.path.glob(f"*{_UNFINISHED}")) if store.path.is_dir() else []
    runs = (unfinished_run(store, folder.name.removesuffix(_UNFINISHED)) for folder in folders)
    return sorted(filter(None, runs), key=lambda run: not run.running)


def unfinished_run(store: Store, name: str) -> UnfinishedRun | None:
    """An unfinished run as its last checkpoint has it; None where there is no such run (any more).

    A checkpoint keeps all that is no tensor as JSON in its head (``training.tensors``), which is read alone: so a look
    costs the same for a large network as for a small one.
    """
    folder = store.path / f"{name}{_UNFINISHED}"
    if not folder.is_dir():
        return None
    running = _is_locked(store.path / f".{name}.lock")
    try:
        age = time.time() - (folder / CHECKPOINT).stat().st_mtime
        with safe_open(folder / CHECKPOINT, "pt") as file:
            tree = dict(json.loads(file.metadata()["tree"])["items"])
    except FileNotFoundError:
        return UnfinishedRun(name, None, pd.DataFrame(columns=["epoch"]), (), running, None)
    experiment = Experiment(**json.loads(dict(tree["origin"]["items"])["configuration"]))
    history = pd.DataFrame([dict(row["items"]) for row in tree["history"]])
    return UnfinishedRun(name, experiment, history, tuple(tree["seconds"]), running, age)


def _is_locked(lock: Path) -> bool:
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


@dataclass
class TrainingProcess:
    """A process that trains a run, and the file that its output goes to."""

    id: str
    process: subprocess.Popen
    log: Path

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> None:
        """End it; the run goes on from its last checkpoint when it is asked for again."""
        if not self.ended:
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


def start(experiment: Experiment, store: Store) -> TrainingProcess:
    """Train a run, and what it needs, in a process of its own, so that this one goes on answering its reader.

    The process belongs to this one's group: what interrupts or ends a notebook's kernel reaches it too.

    Raises:
        CaseError: the data of the run is not known here.
    """
    open_cohort(experiment.cohort)
    places = [place_of(name) for name in (experiment.cohort, *experiment.elsewhere)]
    handle, log = tempfile.mkstemp(prefix=f"{experiment.id}-", suffix=".log")
    configuration = experiment.model_dump_json(exclude_defaults=True)
    with os.fdopen(handle, "w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gbmlib", "run", "--configuration", configuration, "--store", str(store.path)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | {"GBM_COHORTS": ";".join(place for place in places if not place.startswith("phantom:"))},
        )
    return TrainingProcess(experiment.id, process, Path(log))


class TrainingPanel:
    """The unfinished runs of a store, which of them is watched, and a small run to begin with."""

    def __init__(self, store: Store, profile: str, finished: Callable[[], None]):
        self.store, self.finished = store, finished
        self.training: TrainingProcess | None = None
        self.drawn: tuple[str, int] = ("", 0)
        self.small_button = button("Make a small run on phantoms", lambda: self.train(small_run(profile)), **SHORT)
        self.list_button = button("Look again", self.list_runs)
        self.stop_button = button("Stop", self.stop, icon="stop", disabled=True)
        self.watched = widgets.Dropdown(description="Training", **FIELD)
        self.status, self.curves = Status(), widgets.Output()
        self.repeater = Repeater(1, self.refresh)
        self.widget = widgets.VBox(
            [
                widgets.HTML(
                    "Runs of this store that are not finished, whoever trains them. A checkpoint is written at the end "
                    "of an epoch, at most once a minute (every second by those that are started here)."
                ),
                *(self.watched, widgets.HBox([self.small_button, self.list_button, self.stop_button])),
                *(self.status.widget, self.curves),
            ]
        )
        self.watched.observe(lambda _: self.refresh(), "value")
        self.list_runs()

    def list_runs(self) -> None:
        """List the unfinished runs, and watch one."""
        with self.status.showing_errors():
            before, names = self.watched.value, [run.id for run in unfinished_runs(self.store)]
            if self.training is not None and not self.training.ended:
                names = list(dict.fromkeys([self.training.id, *names]))
            self.watched.options = names
            if names:
                self.watched.value = before if before in names else names[0]
                self.repeater.start()
            self.refresh()

    def train(self, experiment: Experiment) -> None:
        """Train a run in the background, and watch it."""
        with self.status.showing_errors():
            if self.training is not None and not self.training.ended:
                raise Busy(f"{self.training.id} is being trained; wait for it, or press Stop.")
            if (record := self.store.local(experiment)) is not None:
                self.finished()
                self.status.say(f"{record.id} is there already; the other tabs have it.")
                return
            self.training = start(experiment, self.store)
            self.stop_button.disabled = False
            self.list_runs()

    def refresh(self) -> None:
        """Say how far the watched training is, and draw its curve."""
        with self.status.showing_errors():
            name = self.watched.value
            run = unfinished_run(self.store, name) if name else None
            training = self.training if self.training is not None and self.training.id == name else None
            if training is not None and training.ended:
                self._end(training)
            elif run is not None:
                self.status.say(str(run))
                self._draw(run)
            elif training is not None:
                self.status.say(f"{name}: starting")
            elif name:
                self.repeater.stop()
                self.finished()
                self.status.say(f"{name} is finished, or was moved away.")
            else:
                self.status.say("Nothing is being trained in this store.")

    def _draw(self, run: UnfinishedRun | Record) -> None:
        if self.drawn != (run.id, len(run.history)):
            self.drawn = (run.id, len(run.history))
            draw_curves(self.curves, [run] if len(run.history) else [])

    def _end(self, training: TrainingProcess) -> None:
        try:
            self.stop_button.disabled = True
            failure, details = training.failure()
            if failure:
                self.status.fail(failure, details)
                return
            record = self.store.named(training.id)
            self._draw(record)
            self.finished()
            epochs = len(record.history)
            self.status.say(f"{training.id} is finished after {epochs} epochs; the other tabs have it now.")
        finally:
            self.repeater.stop()

    def stop(self) -> None:
        """End the training that was started here."""
        with self.status.showing_errors():
            if self.training is not None:
                self.training.stop()
        self.refresh()

    def close(self) -> None:
        """End watching, and the training that was started here."""
        self.repeater.stop()
        if self.training is not None:
            self.training.stop()
