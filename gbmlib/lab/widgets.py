"""What the panels share: a status line, work in the background, and places for pictures, curves and tables."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
from IPython import get_ipython

from gbmlib.cohorts import Cohort
from gbmlib.lab import runs
from gbmlib.pages import curves
from gbmlib.study.out_of_fold import Progress
from gbmlib.study.records import Record, Store
from gbmlib.viewer import slice_viewer

#: The looks of a field on a line of its own, of one that takes what others on its line leave, and of one that takes no
#: more than it needs.
FIELD = {"layout": {"width": "auto", "max_width": "60rem"}, "style": {"description_width": "7rem"}}
LONG = {"layout": {"flex": "1 1 auto", "width": "auto"}, "style": {"description_width": "7rem"}}
SHORT = {"layout": {"width": "auto"}}


class Stopped(Exception):
    """The reader stopped the work."""


class Busy(ValueError):
    """Something else is being worked on."""


#: Errors whose message tells a reader all; of others the traceback is shown too.
FORESEEN = (ValueError, FileNotFoundError, KeyError, PermissionError, Stopped)


class Status:
    """A line that says what goes on, and what went wrong; ``text`` is the line without markup."""

    def __init__(self) -> None:
        self.text, self.widget, self._block = "", widgets.HTML(), threading.local()

    def say(self, text: str) -> None:
        self.text = text
        self.widget.value = f'<div role="status">{_lines(text)}</div>' if text else ""

    def fail(self, text: str, details: str = "") -> None:
        """Show a failure, with its details folded away."""
        self.text = text
        details = details and f"<details><summary>Details</summary><pre>{html.escape(details)}</pre></details>"
        style = "border-left: 4px solid #D55E00; padding-left: 0.7em"
        self.widget.value = f'<div role="alert" style="{style}">{_lines(text)}{details}</div>'

    @contextlib.contextmanager
    def showing_errors(self) -> Iterator[None]:
        """Clear the line, and show errors of the block here; of a block within a block the outer one does both."""
        if getattr(self._block, "entered", False):
            yield
            return
        self._block.entered = True
        self.say("")
        try:
            yield
        except FORESEEN as error:
            self.fail(str(error.args[0] if isinstance(error, KeyError) and error.args else error))
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            self.fail(f"This was not foreseen. {type(error).__name__}: {error}", trace)
        finally:
            self._block.entered = False


class Work:
    """One piece of long work at a time, in a thread of its own: the kernel goes on answering, so it can be stopped with
    the button that stands beside a bar while it lasts."""

    def __init__(self, status: Status):
        self.status, self._stop, self._thread = status, threading.Event(), None
        self.bar = widgets.FloatProgress(0, min=0, max=1, layout=widgets.Layout(flex="1 1 8rem"))
        self.button = button("Stop", self.stop, icon="stop")
        self.widget = widgets.HBox([self.bar, self.button], layout=widgets.Layout(display="none", max_width="40rem"))

    def start(self, what: str, job: Callable[[Progress], Any], then: Callable[[Any], None]) -> None:
        """Do ``job(progress)`` in the background, then ``then(its result)`` where widgets may be touched.

        Raises:
            Busy: the last piece is not done.
        """
        if self._thread is not None and self._thread.is_alive():
            raise Busy("This panel is still at work; wait for it, or press Stop.")
        self._stop.clear()
        in_kernel, drawn = _caller(), time.monotonic()

        def progress(share: float) -> None:
            nonlocal drawn
            if self._stop.is_set():
                raise Stopped("Stopped; nothing was kept.")
            if time.monotonic() - drawn > 0.1:
                drawn = time.monotonic()
                in_kernel(lambda: setattr(self.bar, "value", share))

        def end(result: Any, error: BaseException | None) -> None:
            self.widget.layout.display = "none"
            with self.status.showing_errors():
                if error is not None:
                    raise error
                then(result)

        def work() -> None:
            result, error = None, None
            try:
                result = job(progress)
            except Exception as raised:
                error = raised
            in_kernel(lambda: end(result, error))

        self.bar.value, self.widget.layout.display = 0, "flex"
        self.status.say(f"{what} …")
        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the work to end; it does before its next step."""
        self._stop.set()

    def wait(self) -> None:
        """Until the work is done; for scripts, where no event loop hands over its end."""
        if self._thread is not None:
            self._thread.join()


class Repeater:
    """Calls something again and again, where widgets may be touched, until it is stopped."""

    def __init__(self, seconds: float, action: Callable[[], None]):
        self.seconds, self.action, self._end = seconds, action, threading.Event()
        self._end.set()

    @property
    def running(self) -> bool:
        return not self._end.is_set()

    def start(self) -> None:
        if not self.running:
            self._end, in_kernel = threading.Event(), _caller()
            threading.Thread(target=self._repeat, args=(self._end, in_kernel), daemon=True).start()

    def _repeat(self, end: threading.Event, in_kernel: Callable[[Callable[[], None]], None]) -> None:
        while not end.wait(self.seconds):
            done = threading.Event()

            def act(done: threading.Event = done) -> None:
                try:
                    if not end.is_set():
                        self.action()
                finally:
                    done.set()

            in_kernel(act)
            while not (done.wait(1) or end.is_set()):  # a busy kernel gets no heap of the same calls
                pass

    def stop(self) -> None:
        self._end.set()


def _caller() -> Callable[[Callable[[], None]], None]:
    """How another thread has something done in this one: by the kernel's event loop, or at once where there is none.

    A loop that runs outside a kernel is another library's (a browser driver's, say) and may not turn while one waits.
    """
    if getattr(get_ipython(), "kernel", None) is not None:
        with contextlib.suppress(RuntimeError):
            return asyncio.get_running_loop().call_soon_threadsafe
    return lambda action: action()


# ------------------------------------------------------------------------------------------------------------ choosing


class RunList:
    """A list to choose runs from."""

    def __init__(self, store: Store, rows: int):
        self.store, self.by_name = store, {}
        self.widget = widgets.SelectMultiple(description="Runs", rows=rows, **FIELD)

    @property
    def chosen(self) -> list[Record]:
        return [self.by_name[name] for name in self.widget.value if name in self.by_name]

    def fill(self, records: Sequence[Record], data: str = "", words: str = "") -> None:
        """List the runs whose names (``lab.runs.by_name``) hold all words; what was chosen stays so."""
        before, by_name = {record.id for record in self.chosen}, runs.by_name(records, self.store, data)
        wanted = words.lower().split()
        self.by_name = {name: one for name, one in by_name.items() if all(word in name.lower() for word in wanted)}
        self.widget.options = list(self.by_name)
        still = [name for name, record in self.by_name.items() if record.id in before]
        self.widget.value = tuple(still or list(self.by_name)[:1])


def button(text: str, action: Callable[[], None], **looks: Any) -> widgets.Button:
    """A button that does something."""
    widget = widgets.Button(description=text, **looks)
    widget.on_click(lambda _: action())
    return widget


def file_field(modality: str) -> widgets.Combobox:
    """A field for a path, which offers the NIfTI files of the folder that is typed."""
    field = widgets.Combobox(description=modality, placeholder="path of a .nii or .nii.gz file", **FIELD)

    def offer(change: dict) -> None:
        folder = Path(change["new"].strip()).expanduser() if change["new"].strip() else None
        if folder is not None and folder.is_dir():
            paths = sorted([*folder.glob("*.nii"), *folder.glob("*.nii.gz")])
            field.options = [str(path) for path in paths[:200]]

    field.observe(offer, "value")
    return field


# ------------------------------------------------------------------------------------------- pictures, curves, tables


def show_case(
    place: widgets.VBox,
    cohort: Cohort,
    case_id: str,
    records: Sequence[Record],
    truth: np.ndarray | None,
    predictions: Mapping[str, np.ndarray],
) -> None:
    """Put a viewer of a case into its place; where it replaces one of the same case, it opens where that one stood.

    Args:
        predictions: label maps (z, y, x) by name; ``"prediction"`` is drawn as a fill, others are off to begin with.
    """
    taken = dict.fromkeys(name for record in records for name in record.experiment.modalities)
    modalities = [name for name in taken if name in cohort.modalities] or list(cohort.modalities)[:2]
    before = place.children[0] if place.children else None
    title = f"{cohort.name}, {case_id}"
    same = before is not None and before.spec["title"] == title
    viewer = slice_viewer.view(
        cohort.with_modalities(modalities)[case_id],
        truth,
        predictions.get("prediction"),
        overlays={name: label_map for name, label_map in predictions.items() if name != "prediction"},
        names=cohort.labels,
        position=before.position if same else None,
        title=title,
        mode="live",
    )
    if same and before.modality in modalities:
        viewer.modality = before.modality
    place.children = [viewer]
    if before is not None:
        before.close()


def draw_curves(place: widgets.Output, trainings: Sequence[Any]) -> None:
    """Draw Dice and loss over the epochs of runs (with a ``history``) into their place; nothing where there is none."""
    place.outputs = ()
    if trainings:
        figure = curves.of_runs(trainings, "Dice and loss over epochs, training against validation")
        plot = json.loads(getattr(figure, "figure", figure).to_json())
        data = {"application/vnd.plotly.v1+json": plot, "text/plain": "Dice and loss over epochs"}
        place.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)


def paragraphs(texts: Sequence[str]) -> str:
    """Notes as HTML."""
    return "".join(f"<p style='margin: 0.4em 0; max-width: 60rem'>{_lines(text)}</p>" for text in texts)


def table(title: str, rows: pd.DataFrame) -> str:
    """A table as HTML that scrolls by itself where it is too wide."""
    head = f"<p style='margin: 0.6em 0 0'><b>{html.escape(title)}</b></p>"
    style = "<style>.gbm-numbers :is(td, th) { padding: 0 0.8em; line-height: 1.6; text-align: right }</style>"
    body = rows.to_html(float_format="{:.3f}".format, border=0, classes="gbm-numbers")
    return f"{head}{style}<div style='overflow-x: auto'>{body}</div>"


def _lines(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
