"""The panels of the chapter on exploring, for JupyterLab: look at a case, segment one of your own, watch a training.

Thin: what they show comes from ``lab.explore``, ``lab.explore_predict`` and ``lab.explore_training``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd

from gbmlib.analysis.scores import typical_case
from gbmlib.cohorts import CaseError, open_cohort, place_of
from gbmlib.lab import explore, explore_case, explore_predict
from gbmlib.lab.explore_tabs import OwnPanel, TrainingPanel
from gbmlib.lab.explore_training import small_run
from gbmlib.lab.explore_work import LONG, SHORT, STYLE, WIDE, Status, Work, draw_curves, paragraphs, show_case, table
from gbmlib.pages import curves
from gbmlib.study import run
from gbmlib.study.records import HELD_OUT, Record, Store
from gbmlib.viewer import view
from gbmlib.viewer.display import is_static

_NOTHING_RUN = (
    "No run here has anything to say of this data. Run a chapter first, such as make rerun "
    "NOTEBOOK=02_baseline_vnet, or open the tab “A training”, which makes a small run on phantoms in a minute."
)

#: The panels that are shown at the moment: a cell that is run again closes those that it showed before.
_shown: list[Panels] = []


class Panels:
    """Three tabs, each with a status line where anything that goes wrong is told.

    Attributes:
        case, own, training: the tabs.
        widget: what is displayed.
    """

    def __init__(self, store: Store, place: str = "", case_id: str = "", profile: str = "demo"):
        self.training = TrainingPanel(store, profile, self._finished)
        self.case = CasePanel(store, place, case_id, self._train)
        self.own = OwnPanel(store)
        tabs = (self.case, self.own, self.training)
        titles = ("A case of a data set", "A case of your own", "A training")
        self.widget = widgets.Tab([tab.widget for tab in tabs], titles=titles, selected_index=0)

    def _train(self, record: Record) -> None:
        self.widget.selected_index = 2
        self.training.begin(record.experiment)

    def _finished(self) -> None:
        self.case.open()
        self.own.look()

    def close(self) -> None:
        """End what works or watches in the background."""
        self.training.close()
        for tab in (self.case, self.own):
            tab.work.stop()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self.widget._repr_mimebundle_(**kwargs)


def shown(store: Store, place: str | None = None, case_id: str | None = None, profile: str = "demo") -> list[Any]:
    """What a page has of the panels: ``display(*shown(…))``. Live the panels themselves; in a page without a kernel,
    where a button would be dead, a picture of them: one case, one run, its numbers and its curve.

    The run of the picture is ``lab.explore_training.small_run``, which is made if the store lacks it.
    """
    if not is_static():
        return [panels(store, place or "", case_id or "", profile)]
    (record,) = run([small_run(profile)], store)
    cohort = open_cohort(record.experiment.cohort)
    case = cohort[typical_case(record)]
    name = next(iter(explore.named([record], store, cohort.name)))
    chosen = {"Data": cohort.name, "Case": case.id, "Runs": name, "Overlays": "gold standard, prediction"}
    predicted = explore_case.kept([record], cohort, case.id)
    return [
        pd.DataFrame({"chosen": chosen}),
        view(
            case, case.label(), predicted, names=cohort.labels, modalities=record.experiment.modalities, mode="static"
        ),
        explore_case.recorded([record], cohort, case.id).round(3),
        curves.of_runs([record], "Dice and loss of the small run over its epochs, training against validation"),
    ]


def panels(store: Store, place: str = "", case_id: str = "", profile: str = "demo") -> Panels:
    """The panels on a store of runs; make them the last expression of a cell.

    Args:
        place: the data to begin with, as ``lab.explore.open_data`` takes it; by default that of your latest run
            whose data is known here.
        case_id: the case to begin with.
        profile: ``"test"`` makes the small run smaller still.
    """
    while _shown:
        _shown.pop().close()
    _shown.append(Panels(store, place, case_id, profile))
    return _shown[0]


class CasePanel:
    """Data, case, runs and overlays; viewer, numbers and curves follow."""

    def __init__(self, store: Store, place: str, case_id: str, train: Callable[[Record], None]):
        self.store, self.train, self.cohort, self.named = store, train, None, {}
        self.records: list[Record] = []
        self.silent = False
        self.made: dict[tuple, np.ndarray] = {}
        places = list(dict.fromkeys([place or _first_place(store), small_run().cohort, *_places(store)]))
        self.place = widgets.Combobox(places[0], options=places, description="Data", layout=LONG, style=STYLE)
        self.open_button = widgets.Button(
            description="Open", tooltip="open a folder, brats:PATH, msd:PATH or phantom:…"
        )
        self.cases = widgets.Dropdown(description="Case", layout=WIDE, style=STYLE)
        self.filter = widgets.Text(
            description="Runs with", placeholder="words, such as: u-net predict", layout=WIDE, style=STYLE
        )
        self.runs = widgets.SelectMultiple(description="Runs", rows=7, layout=WIDE, style=STYLE)
        self.truth = widgets.Checkbox(True, description="gold standard", indent=False, layout=SHORT)
        self.kept = widgets.Checkbox(True, description="prediction of the held-out case", indent=False, layout=SHORT)
        self.now = widgets.Checkbox(True, description="prediction made now", indent=False, layout=SHORT)
        self.predict_button = widgets.Button(description="Predict now", button_style="primary")
        self.train_button = widgets.Button(description="Train this run here")
        self.status, self.notes, self.numbers = Status(), widgets.HTML(), widgets.HTML()
        self.work = Work(self.status)
        self.pictures, self.curves = widgets.VBox(), widgets.Output()
        self.widget = widgets.VBox(
            [
                widgets.HBox([self.place, self.open_button], layout={"max_width": "60rem"}),
                *(self.cases, self.filter, self.runs),
                widgets.HTML("Several runs (Ctrl or Shift and click) are averaged: folds, seeds, networks."),
                widgets.HBox(
                    [self.truth, self.kept, self.now], layout={"flex_flow": "row wrap", "grid_gap": "0 1.5rem"}
                ),
                widgets.HBox([self.predict_button, self.train_button]),
                *(self.status.widget, self.work.widget, self.notes, self.pictures, self.numbers, self.curves),
            ]
        )
        self.open_button.on_click(lambda _: self.open())
        self.predict_button.on_click(lambda _: self.predict())
        self.train_button.on_click(lambda _: self._train())
        self.filter.observe(lambda _: self._narrow(), "value")
        for control in (self.cases, self.runs, self.truth, self.kept, self.now):
            control.observe(lambda _: self.show(), "value")
        self.open(case_id)

    def open(self, case_id: str = "") -> None:
        """Open the data that is named, list its cases and its runs, and show the first."""
        with self.status.telling():
            with self._silently():
                chosen = case_id or (self.cases.value if self.runs.value else "")  # without runs nothing was chosen
                self.cohort = explore.open_data(self.place.value)
                self.records = explore.records_for(self.cohort, self.store)
                names = [case.id for case in self.cohort]
                self.cases.options = names
                self._list_runs()
                self.cases.value = chosen if chosen in names else self._first_case(names)
            self.show()

    @contextlib.contextmanager
    def _silently(self) -> Iterator[None]:
        """Controls that are changed inside show nothing yet."""
        self.silent = True
        try:
            yield
        finally:
            self.silent = False

    def _first_case(self, names: Sequence[str]) -> str:
        """The first case that the first run held out, as that has most to show."""
        first = self.chosen()[:1]
        held = [name for name in names if first and explore_case.part_of(first[0], self.cohort, name) == HELD_OUT]
        return (held or list(names))[0]

    def _list_runs(self) -> None:
        """The runs whose names hold all words of the filter; what was chosen and is still there stays so."""
        words, before = self.filter.value.lower().split(), {record.id for record in self.chosen()}
        every = explore.named(self.records, self.store, self.cohort.name if self.cohort else "")
        self.named = {name: record for name, record in every.items() if all(word in name.lower() for word in words)}
        self.runs.options = list(self.named)
        kept = [name for name, record in self.named.items() if record.id in before]
        self.runs.value = tuple(kept or list(self.named)[:1])

    def _narrow(self) -> None:
        with self._silently():
            self._list_runs()
        self.show()

    def chosen(self) -> list[Record]:
        """The records that are chosen in the list."""
        return [self.named[name] for name in self.runs.value if name in self.named]

    def show(self) -> None:
        """Show the chosen case with the chosen overlays, what the chosen runs say of it, and their curves."""
        if self.silent or self.cohort is None or not self.cases.value:
            return
        with self.status.telling():
            records, case = self.chosen(), self.cohort[self.cases.value]
            offer = explore_case.offer(records, self.cohort, case.id, self.store)
            made = self.made.get(self._key())
            self.truth.disabled, self.kept.disabled, self.now.disabled = (
                not case.has_label,
                not offer.kept,
                made is None,
            )
            self.predict_button.disabled = not offer.now
            self.train_button.disabled = not (records and not explore.usable(records[0], self.store))
            notes = list(offer.notes) if records else [_NOTHING_RUN]
            found, numbers = {}, []
            if self.kept.value and offer.kept:
                found["prediction"] = explore_case.kept(records, self.cohort, case.id)
            if self.now.value and made is not None:
                found["predicted now" if found else "prediction"] = made
            if made is not None and case.has_label:
                scheme = records[0].experiment.regions
                numbers.append(("Predicted now", explore_case.measured(made, self.cohort, case.id, scheme)))
            recorded = explore_case.recorded(records, self.cohort, case.id)
            if len(recorded):
                numbers.insert(0, ("In the records, mean over runs" if len(records) > 1 else "In the record", recorded))
            elif records:
                notes.append("The records of these runs do not have this case.")
            self.notes.value = paragraphs(notes)
            self.numbers.value = "".join(table(title, of) for title, of in numbers)
            truth = case.label() if self.truth.value and case.has_label else None
            show_case(self.pictures, self.cohort, case.id, records, truth, found)
            draw_curves(self.curves, [record for record in records if len(record.history)])

    def _key(self) -> tuple:
        return self.cohort.name, self.cases.value, *(record.id for record in self.chosen())

    def predict(self) -> None:
        """Predict the chosen case with the chosen runs, in the background."""
        with self.status.telling():
            records, cohort, case_id, key = self.chosen(), self.cohort, self.cases.value, self._key()
            explore_case.together(records, cohort)

            def then(label_map: np.ndarray) -> None:
                self.made[key] = label_map
                self.show()

            self.work.start(
                f"Predicting {case_id} with {len(records)} {'runs' if len(records) > 1 else 'run'}",
                lambda tick: explore_predict.predict(records, self.store, cohort, case_id, tick),
                then,
            )

    def _train(self) -> None:
        with self.status.telling():
            self.train(self.chosen()[0])


def _places(store: Store) -> list[str]:
    """Where the data of one's runs lies, as far as it is known here: of one's own runs first."""
    found = []
    for name in dict.fromkeys(record.experiment.cohort for record in store.all()):
        try:
            found.append(place_of(name))
        except CaseError:
            continue
    return found


def _first_place(store: Store) -> str:
    """The data to begin with: of the latest run of one's own whose data is known here, or else that of a small run."""
    own = [record for record in store.all() if not record.published]
    for record in sorted(own, key=lambda record: record.provenance.get("began", ""), reverse=True):
        with contextlib.suppress(CaseError):
            return place_of(record.experiment.cohort)
    return small_run().cohort
