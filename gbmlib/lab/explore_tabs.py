"""Two of the panels of ``lab.explore_panels``: a case of one's own, and a training that is going on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets
import numpy as np

from gbmlib.cohorts import GLIOMA, CaseError, Cohort
from gbmlib.lab import explore, explore_case, explore_predict, explore_training
from gbmlib.lab.explore_training import Going, Training
from gbmlib.lab.explore_work import SHORT, STYLE, WIDE, Busy, Every, Status, Work, draw_curves, show_case, table
from gbmlib.study.records import Record, Store
from gbmlib.training.configuration import Experiment


class OwnPanel:
    """Files in, segmentation out."""

    def __init__(self, store: Store):
        self.store, self.named, self.result = store, {}, None
        self.runs = widgets.SelectMultiple(description="Runs", rows=5, layout=WIDE, style=STYLE)
        self.files = widgets.VBox()
        self.check_button = widgets.Button(description="Check the files")
        self.segment_button = widgets.Button(description="Segment", button_style="primary")
        values = list(explore_predict.CONVENTIONS)
        self.values = widgets.Dropdown(description="Label values", options=values, layout=WIDE, style=STYLE)
        self.path = widgets.Text(description="Save as", placeholder="…/segmentation.nii.gz", layout=WIDE, style=STYLE)
        self.replace = widgets.Checkbox(False, description="replace a file that is there", indent=False)
        self.save_button = widgets.Button(description="Save", disabled=True)
        self.status, self.numbers, self.pictures = Status(), widgets.HTML(), widgets.VBox()
        self.work = Work(self.status)
        self.widget = widgets.VBox(
            [
                widgets.HTML(
                    "A NIfTI file for each image that the run was trained on, all on one grid. A folder's files are "
                    "offered once you have typed its path. Several runs are averaged."
                ),
                *(self.runs, self.files),
                widgets.HBox([self.check_button, self.segment_button]),
                *(self.status.widget, self.work.widget, self.pictures, self.numbers, self.values, self.path),
                widgets.HBox([self.save_button, self.replace]),
            ]
        )
        self.runs.observe(lambda _: self._ask_for_files(), "value")
        self.check_button.on_click(lambda _: self.check())
        self.segment_button.on_click(lambda _: self.segment())
        self.save_button.on_click(lambda _: self.save())
        self.look()

    def look(self) -> None:
        """List the runs that can predict here."""
        with self.status.telling():
            usable = [record for record in self.store.all() if explore.usable(record, self.store)]
            self.named = explore.named(usable, self.store)
            before = self.runs.value
            self.runs.options = list(self.named)
            self.runs.value = tuple(name for name in before if name in self.named) or tuple(self.named)[:1]
            self._ask_for_files()
            if not self.named:
                self.status.say("No run with weights is here yet. The tab “A training” makes a small one in a minute.")

    def chosen(self) -> list[Record]:
        """The records that are chosen in the list."""
        return [self.named[name] for name in self.runs.value]

    def _ask_for_files(self) -> None:
        wanted = dict.fromkeys(name for record in self.chosen() for name in record.experiment.modalities)
        before = {field.description: field for field in self.files.children}
        self.files.children = [before.get(name) or _file_field(name) for name in wanted]
        self.values.disabled = any(explore.labels_of(record) != GLIOMA for record in self.chosen())

    def case(self) -> Cohort:
        """The files as a cohort of one case, checked.

        Raises:
            CaseError, Unsuited: everything that is wrong with the files; the runs are of several kinds.
        """
        records = self.chosen()
        if not records:
            raise explore_case.Unsuited("no run is chosen")
        files = {field.description: field.value for field in self.files.children}
        labels = explore.labels_of(records[0])
        kind = "CT" if explore.members(records[0].experiment)[0].normalisation.startswith("ct") else "MR"
        cohort, notes = explore_predict.own_case(files, list(files), labels, kind)
        explore_case.together(records, cohort)
        self.status.say("The files can be used. " + " ".join(notes))
        return cohort

    def check(self) -> None:
        """Say all that is wrong with the files."""
        with self.status.telling():
            self.case()

    def segment(self) -> None:
        """Check the files, and segment the case in the background."""
        self.save_button.disabled, self.result = True, None
        with self.status.telling():
            cohort, records = self.case(), self.chosen()
            case = cohort.cases[0]

            def then(label_map: np.ndarray) -> None:
                self.result = (cohort, label_map)
                self.save_button.disabled = False
                volumes = explore_predict.volumes(label_map, case, cohort, records[0].experiment.regions)
                self.numbers.value = table("What was found", volumes)
                show_case(self.pictures, cohort, case.id, records, None, {"prediction": label_map})

            self.work.start(
                f"Segmenting {case.id}",
                lambda tick: explore_predict.predict(records, self.store, cohort, case.id, tick),
                then,
            )

    def save(self) -> None:
        """Write the segmentation as NIfTI."""
        with self.status.telling():
            if self.result is None:
                raise CaseError("there is no segmentation yet; press Segment first")
            cohort, label_map = self.result
            convention = explore_predict.CONVENTIONS[self.values.value] if cohort.is_glioma else None
            case = cohort.cases[0]
            path = explore_predict.save(label_map, case, self.path.value, self.replace.value, convention)
            self.status.say(f"Saved as {path}, in the space of {case.reference.name}.")


def _file_field(modality: str) -> widgets.Combobox:
    """A field for a path, which offers the NIfTI files of the folder that is typed."""
    field = widgets.Combobox(
        description=modality, placeholder="path of a .nii or .nii.gz file", layout=WIDE, style=STYLE
    )

    def offer(change: dict) -> None:
        folder = Path(change["new"].strip()).expanduser() if change["new"].strip() else None
        if folder is not None and folder.is_dir():
            found = sorted([*folder.glob("*.nii"), *folder.glob("*.nii.gz")])
            field.options = [str(path) for path in found[:200]]

    field.observe(offer, "value")
    return field


class TrainingPanel:
    """What is being trained in the store, or was interrupted, by its checkpoints; and a small run to begin with."""

    def __init__(self, store: Store, profile: str, finished: Callable[[], None]):
        self.store, self.profile, self.finished = store, profile, finished
        self.training: Training | None = None
        self.drawn: tuple[str, int] = ("", 0)
        self.small_button = widgets.Button(description="Make a small run on phantoms", layout=SHORT)
        self.look_button = widgets.Button(description="Look again")
        self.stop_button = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.followed = widgets.Dropdown(description="Training", layout=WIDE, style=STYLE)
        self.status, self.curves = Status(), widgets.Output()
        self.every = Every(1, self.refresh)
        self.widget = widgets.VBox(
            [
                widgets.HTML(
                    "Runs of this store that are not finished, whoever trains them. A checkpoint is written at the end "
                    "of an epoch, at most once a minute (every second by those that are started here)."
                ),
                *(self.followed, widgets.HBox([self.small_button, self.look_button, self.stop_button])),
                *(self.status.widget, self.curves),
            ]
        )
        self.small_button.on_click(lambda _: self.begin(explore_training.small_run(self.profile)))
        self.look_button.on_click(lambda _: self.look())
        self.stop_button.on_click(lambda _: self.stop())
        self.followed.observe(lambda _: self.refresh(), "value")
        self.look()

    def look(self) -> None:
        """List what is going on, and follow it."""
        with self.status.telling():
            before, names = self.followed.value, [of.id for of in explore_training.going_on(self.store)]
            if self.training is not None and not self.training.over:
                names = list(dict.fromkeys([self.training.id, *names]))
            self.followed.options = names
            if names:
                self.followed.value = before if before in names else names[0]
                self.every.start()
            self.refresh()

    def begin(self, experiment: Experiment) -> None:
        """Train a run in the background, and follow it."""
        with self.status.telling():
            if self.training is not None and not self.training.over:
                raise Busy(f"{self.training.id} is being trained; wait for it, or press Stop.")
            if (record := self.store.local(experiment)) is not None:
                self.finished()
                self.status.say(f"{record.id} is there already; the other tabs have it.")
                return
            self.training = explore_training.start(experiment, self.store)
            self.stop_button.disabled = False
            self.look()

    def refresh(self) -> None:
        """Say where the training that is followed is, and draw its curve as far as it goes."""
        with self.status.telling():
            name = self.followed.value
            going = explore_training.look(self.store, name) if name else None
            ours = self.training if self.training is not None and self.training.id == name else None
            if ours is not None and ours.over:
                self._ended(ours)
            elif going is not None:
                self.status.say(str(going))
                self._draw(name, going)
            elif ours is not None:
                self.status.say(f"{name}: starting")
            elif name:
                self.every.end()
                self.finished()
                self.status.say(f"{name} is finished, or was moved away.")
            else:
                self.status.say("Nothing is being trained in this store.")

    def _draw(self, name: str, run: Going | Record) -> None:
        if self.drawn != (name, len(run.history)):
            self.drawn = (name, len(run.history))
            draw_curves(self.curves, [run] if len(run.history) else [])

    def _ended(self, training: Training) -> None:
        try:
            self.stop_button.disabled = True
            what, details = training.failure()
            if what:
                self.status.failed(what, details)
                return
            record = self.store.named(training.id)
            self._draw(training.id, record)
            self.finished()
            epochs = len(record.history)
            self.status.say(f"{training.id} is finished after {epochs} epochs; the other tabs have it now.")
        finally:
            self.every.end()

    def stop(self) -> None:
        """End the training that was started here."""
        with self.status.telling():
            if self.training is not None:
                self.training.stop()
        self.refresh()

    def close(self) -> None:
        """End watching, and the training that was started here."""
        self.every.end()
        if self.training is not None:
            self.training.stop()
