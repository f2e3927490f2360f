"""The panels of the chapter on exploring: look at a case, segment one of your own, watch a training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from ipywidgets import HTML, Checkbox, Combobox, Dropdown, HBox, Output, Tab, Text, VBox

from gbmlib.analysis.scores import typical_case
from gbmlib.cohorts import GLIOMA, CaseError, Cohort, open_cohort, own_files
from gbmlib.lab import runs, widgets
from gbmlib.lab.training import TrainingPanel, small_run
from gbmlib.pages import curves
from gbmlib.study import out_of_fold, run
from gbmlib.study.records import HELD_OUT, Record, Store
from gbmlib.viewer import view
from gbmlib.viewer.display import is_static

_NOTHING_RUN = (
    "No run here has anything to say of this data. Run a chapter first, such as make rerun "
    "NOTEBOOK=02_baseline_vnet, or open the tab “A training”, which makes a small run on phantoms in a minute."
)

#: The panels that are shown at the moment: a cell that is run again closes those that it showed before.
_shown: list[Panels] = []


def shown(store: Store, place: str | None = None, case_id: str | None = None, profile: str = "demo") -> list[Any]:
    """What a page shows of the panels: ``display(*shown(…))``. Live the panels themselves; in a page without a kernel,
    where a button would be dead, a picture of them: one case of :func:`small_run`, which is trained if the store lacks
    it, its numbers and its curve."""
    if not is_static():
        return [panels(store, place or "", case_id or "", profile)]
    (record,) = run([small_run(profile)], store)
    cohort = open_cohort(record.experiment.cohort)
    case = cohort[typical_case(record)]
    name = next(iter(runs.by_name([record], store, cohort.name)))
    chosen = {"Data": cohort.name, "Case": case.id, "Runs": name, "Overlays": "gold standard, prediction"}
    prediction, images = runs.kept_prediction([record], cohort, case.id), record.experiment.modalities
    return [
        pd.DataFrame({"chosen": chosen}),
        view(case, case.label(), prediction, names=cohort.labels, modalities=images, mode="static"),
        runs.recorded([record], cohort, case.id).round(3),
        curves.of_runs([record], "Dice and loss of the small run over its epochs, training against validation"),
    ]


def panels(store: Store, place: str = "", case_id: str = "", profile: str = "demo") -> Panels:
    """The panels on a store of runs; make them the last expression of a cell.

    They begin with a case of the data at ``place``, as ``lab.runs.open_data`` takes it; by default with that of your
    latest run whose data is known here. Profile ``"test"`` makes the small run smaller still.
    """
    while _shown:
        _shown.pop().close()
    _shown.append(Panels(store, place, case_id, profile))
    return _shown[0]


class Panels:
    """Three tabs ``case``, ``own`` and ``training``, each with a status line that shows whatever goes wrong."""

    def __init__(self, store: Store, place: str = "", case_id: str = "", profile: str = "demo"):
        self.training = TrainingPanel(store, profile, self._finished)
        self.case = CasePanel(store, place, case_id, self._train)
        self.own = OwnPanel(store)
        tabs = (self.case, self.own, self.training)
        titles = ("A case of a data set", "A case of your own", "A training")
        self.widget = Tab([tab.widget for tab in tabs], titles=titles, selected_index=0)

    def _train(self, record: Record) -> None:
        self.widget.selected_index = 2
        self.training.train(record.experiment)

    def _finished(self) -> None:
        self.case.open()
        self.own.list_runs()

    def close(self) -> None:
        """End what works or watches in the background."""
        self.training.close()
        for tab in (self.case, self.own):
            tab.work.stop()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self.widget._repr_mimebundle_(**kwargs)


class CasePanel:
    """Data, case, runs and overlays; viewer, numbers and curves follow."""

    def __init__(self, store: Store, place: str, case_id: str, train: Callable[[Record], None]):
        self.store, self.cohort, self.quiet = store, None, False
        self.records: list[Record] = []
        self.predictions: dict[tuple, np.ndarray] = {}  # made now, by data, case and runs
        known_places = runs.places(store, small_run().cohort)
        places = list(dict.fromkeys([place or known_places[0], *known_places]))
        self.place = Combobox(places[0], options=places, description="Data", **widgets.LONG)
        self.open_button = widgets.button("Open", self.open, tooltip="a folder, brats:PATH, msd:PATH or phantom:…")
        self.cases = Dropdown(description="Case", **widgets.FIELD)
        self.filter = Text(description="Runs with", placeholder="words, such as: u-net predict", **widgets.FIELD)
        self.runs = widgets.RunList(store, rows=7)
        overlays = ("gold standard", "prediction of the held-out case", "prediction made now")
        self.truth, self.kept, self.now = (
            Checkbox(True, description=name, indent=False, **widgets.SHORT) for name in overlays
        )
        self.predict_button = widgets.button("Predict now", self.predict, button_style="primary")
        self.train_button = widgets.button("Train this run here", lambda: train(self.runs.chosen[0]))
        self.status, self.notes, self.numbers = widgets.Status(), HTML(), HTML()
        self.work = widgets.Work(self.status)
        self.pictures, self.curves = VBox(), Output()
        self.widget = VBox(
            [
                HBox([self.place, self.open_button], layout={"max_width": "60rem"}),
                *(self.cases, self.filter, self.runs.widget),
                HTML("Several runs (Ctrl or Shift and click) are averaged: folds, seeds, networks."),
                HBox([self.truth, self.kept, self.now], layout={"flex_flow": "row wrap", "grid_gap": "0 1.5rem"}),
                HBox([self.predict_button, self.train_button]),
                *(self.status.widget, self.work.widget, self.notes, self.pictures, self.numbers, self.curves),
            ]
        )
        self.filter.observe(lambda _: self._list_runs(), "value")
        for control in (self.cases, self.runs.widget, self.truth, self.kept, self.now):
            control.observe(lambda _: self.show(), "value")
        self.open(case_id)

    def open(self, case_id: str = "") -> None:
        """Open the data that is named, list its cases and its runs, and show a case that the first run held out."""
        with self.status.showing_errors():
            with self._quietly():
                before = case_id or (self.cases.value if self.runs.chosen else "")  # without runs nothing was chosen
                self.cohort = runs.open_data(self.place.value)
                self.records = runs.records_for(self.cohort, self.store)
                self.cases.options = names = [case.id for case in self.cohort]
                self.runs.fill(self.records, self.cohort.name, self.filter.value)
                first = self.runs.chosen[:1]
                held = [name for name in names if first and runs.split_of(first[0], self.cohort, name) == HELD_OUT]
                self.cases.value = before if before in names else (held or names)[0]
            self.show()

    @contextlib.contextmanager
    def _quietly(self) -> Iterator[None]:
        """Controls that are changed inside show nothing yet."""
        self.quiet = True
        try:
            yield
        finally:
            self.quiet = False

    def _list_runs(self) -> None:
        with self._quietly():
            self.runs.fill(self.records, self.cohort.name if self.cohort else "", self.filter.value)
        self.show()

    def show(self) -> None:
        """Show the chosen case with the chosen overlays, what the chosen runs say of it, and their curves."""
        if self.quiet or self.cohort is None or not self.cases.value:
            return
        with self.status.showing_errors():
            records, case = self.runs.chosen, self.cohort[self.cases.value]
            available = runs.available(records, self.cohort, case.id, self.store)
            now = self.predictions.get(self._key())
            self.truth.disabled = not case.has_label
            self.kept.disabled, self.now.disabled = not available.kept, now is None
            self.predict_button.disabled = not available.predictable
            self.train_button.disabled = not records or runs.can_predict(records[0], self.store)
            notes = list(available.notes) if records else [_NOTHING_RUN]
            predictions, numbers = {}, []
            if self.kept.value and available.kept:
                predictions["prediction"] = runs.kept_prediction(records, self.cohort, case.id)
            if self.now.value and now is not None:
                predictions["predicted now" if predictions else "prediction"] = now
            recorded = runs.recorded(records, self.cohort, case.id)
            if len(recorded):
                numbers.append(("In the records, mean over runs" if len(records) > 1 else "In the record", recorded))
            elif records:
                notes.append("The records of these runs do not have this case.")
            if now is not None and case.has_label:
                scheme = records[0].experiment.regions
                numbers.append(("Predicted now", runs.measured(now, self.cohort, case.id, scheme)))
            self.notes.value = widgets.paragraphs(notes)
            self.numbers.value = "".join(widgets.table(title, rows) for title, rows in numbers)
            truth = case.label() if self.truth.value and case.has_label else None
            widgets.show_case(self.pictures, self.cohort, case.id, records, truth, predictions)
            widgets.draw_curves(self.curves, [record for record in records if len(record.history)])

    def _key(self) -> tuple:
        return self.cohort.name, self.cases.value, *(record.id for record in self.runs.chosen)

    def predict(self) -> None:
        """Predict the chosen case with the chosen runs, in the background."""
        with self.status.showing_errors():
            records, cohort, case_id, key = self.runs.chosen, self.cohort, self.cases.value, self._key()
            out_of_fold.expect_suitable(records, cohort)

            def then(label_map: np.ndarray) -> None:
                self.predictions[key] = label_map
                self.show()

            self.work.start(
                f"Predicting {case_id} with {len(records)} {'runs' if len(records) > 1 else 'run'}",
                lambda progress: out_of_fold.segment(records, self.store, cohort, case_id, progress),
                then,
            )


class OwnPanel:
    """Files in, segmentation out."""

    def __init__(self, store: Store):
        self.store, self.result, self.runs = store, None, widgets.RunList(store, rows=5)
        self.files = VBox()
        self.check_button = widgets.button("Check the files", self.check)
        self.segment_button = widgets.button("Segment", self.segment, button_style="primary")
        self.values = Dropdown(description="Label values", options=list(own_files.CONVENTIONS), **widgets.FIELD)
        self.path = Text(description="Save as", placeholder="…/segmentation.nii.gz", **widgets.FIELD)
        self.replace = Checkbox(False, description="replace a file that is there", indent=False)
        self.save_button = widgets.button("Save", self.save, disabled=True)
        self.status, self.numbers, self.pictures = widgets.Status(), HTML(), VBox()
        self.work = widgets.Work(self.status)
        self.widget = VBox(
            [
                HTML(
                    "A NIfTI file for each image that the run was trained on, all on one grid. A folder's files are "
                    "offered once you have typed its path. Several runs are averaged."
                ),
                *(self.runs.widget, self.files),
                HBox([self.check_button, self.segment_button]),
                *(self.status.widget, self.work.widget, self.pictures, self.numbers, self.values, self.path),
                HBox([self.save_button, self.replace]),
            ]
        )
        self.runs.widget.observe(lambda _: self._ask_for_files(), "value")
        self.list_runs()

    def list_runs(self) -> None:
        """List the runs that can predict here."""
        with self.status.showing_errors():
            records = [record for record in self.store.all() if runs.can_predict(record, self.store)]
            self.runs.fill(records)
            self._ask_for_files()
            if not records:
                self.status.say("No run with weights is here yet. The tab “A training” makes a small one in a minute.")

    def _ask_for_files(self) -> None:
        wanted = dict.fromkeys(name for record in self.runs.chosen for name in record.experiment.modalities)
        before = {field.description: field for field in self.files.children}
        self.files.children = [before.get(name) or widgets.file_field(name) for name in wanted]
        self.values.disabled = any(runs.labels_of(record) != GLIOMA for record in self.runs.chosen)

    def case(self) -> Cohort:
        """The files as a cohort of one case, checked; raises all that is wrong with them, or with the runs."""
        records = self.runs.chosen
        if not records:
            raise out_of_fold.UnsuitableRuns("no run is chosen")
        files = {field.description: field.value for field in self.files.children}
        ct = out_of_fold.tomographic(out_of_fold.members(records[0].experiment)[0])
        cohort = own_files.own_case(files, list(files), runs.labels_of(records[0]), ct)
        out_of_fold.expect_suitable(records, cohort)
        self.status.say(f"The files can be used. {runs.skull_warning(cohort)}")
        return cohort

    def check(self) -> None:
        """Say all that is wrong with the files."""
        with self.status.showing_errors():
            self.case()

    def segment(self) -> None:
        """Check the files, and segment the case in the background."""
        self.save_button.disabled, self.result = True, None
        with self.status.showing_errors():
            cohort, records = self.case(), self.runs.chosen
            case = cohort.cases[0]

            def then(label_map: np.ndarray) -> None:
                self.result, self.save_button.disabled = (cohort, label_map), False
                widgets.show_case(self.pictures, cohort, case.id, records, None, {"prediction": label_map})
                volumes = runs.volumes(label_map, case, cohort, records[0].experiment.regions)
                self.numbers.value = widgets.table("What was found", volumes)

            self.work.start(
                f"Segmenting {case.id}",
                lambda progress: out_of_fold.segment(records, self.store, cohort, case.id, progress),
                then,
            )

    def save(self) -> None:
        """Write the segmentation as NIfTI."""
        with self.status.showing_errors():
            if self.result is None:
                raise CaseError("there is no segmentation yet; press Segment first")
            cohort, label_map = self.result
            convention = own_files.CONVENTIONS[self.values.value] if cohort.is_glioma else None
            case = cohort.cases[0]
            path = own_files.save(label_map, case, self.path.value, self.replace.value, convention)
            self.status.say(f"Saved as {path}, in the space of {case.reference.name}.")
