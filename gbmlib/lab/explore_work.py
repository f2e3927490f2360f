"""What the panels share: a line that tells, work in the background, and places for pictures and curves."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
from IPython import get_ipython

from gbmlib.cohorts import Cohort
from gbmlib.lab.explore_predict import Stopped
from gbmlib.pages import curves
from gbmlib.study.records import Record
from gbmlib.viewer import slice_viewer

#: What says in its message all that a reader needs.
PLAIN = (ValueError, FileNotFoundError, KeyError, PermissionError, Stopped)

#: The looks of fields that take what is there, and of their descriptions.
WIDE, STYLE = {"width": "auto", "max_width": "60rem"}, {"description_width": "7rem"}

#: Of fields that share a line: one that takes what the others leave, and those that take no more than they need.
LONG, SHORT = {"flex": "1 1 auto", "width": "auto"}, {"width": "auto"}

_FIGURE = "application/vnd.plotly.v1+json"


class Busy(ValueError):
    """Something else is being worked on."""


class Status:
    """A line that says what goes on, and what went wrong: in plain words, with the traceback where it was not foreseen.

    Attributes:
        text: what it says, without markup.
        widget: what is displayed.
    """

    def __init__(self) -> None:
        self.text, self.widget, self._inside = "", widgets.HTML(), threading.local()

    def say(self, text: str) -> None:
        self.text = text
        self.widget.value = f'<div role="status">{_lines(text)}</div>' if text else ""

    def wrong(self, error: BaseException) -> None:
        """Tell of an error."""
        if isinstance(error, PLAIN):
            self.failed(str(error.args[0] if isinstance(error, KeyError) and error.args else error))
        else:
            trace = "".join(traceback.format_exception(error))
            self.failed(f"This was not foreseen. {type(error).__name__}: {error}", trace)

    def failed(self, text: str, details: str = "") -> None:
        """Tell of a failure; its details are folded away."""
        self.text = text
        details = details and f"<details><summary>Details</summary><pre>{html.escape(details)}</pre></details>"
        style = "border-left: 4px solid #D55E00; padding-left: 0.7em"
        self.widget.value = f'<div role="alert" style="{style}">{_lines(text)}{details}</div>'

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Whatever goes wrong inside is told here; within another such block, there."""
        if getattr(self._inside, "now", False):
            yield
            return
        self._inside.now = True
        self.say("")
        try:
            yield
        except Exception as error:
            self.wrong(error)
        finally:
            self._inside.now = False


class Work:
    """One piece of long work at a time, in a thread of its own: the kernel goes on answering, so it can be stopped.

    Attributes:
        widget: a bar and a button, there while something is worked on.
    """

    def __init__(self, status: Status):
        self.status, self._stop, self._thread = status, threading.Event(), None
        self.bar = widgets.FloatProgress(0, min=0, max=1, layout=widgets.Layout(flex="1 1 8rem"))
        self.button = widgets.Button(description="Stop", icon="stop")
        self.button.on_click(lambda _: self.stop())
        self.widget = widgets.HBox([self.bar, self.button], layout=widgets.Layout(display="none", max_width="40rem"))

    def start(self, what: str, job: Callable[[Callable[[float], None]], Any], then: Callable[[Any], None]) -> None:
        """Do ``job(tick)`` in the background, then ``then(its result)`` where widgets may be touched.

        Raises:
            Busy: the last piece is not done.
        """
        if self._thread is not None and self._thread.is_alive():
            raise Busy("This panel is still at work; wait for it, or press Stop.")
        self._stop.clear()
        later, told = _here(), time.monotonic()

        def tick(share: float) -> None:
            nonlocal told
            if self._stop.is_set():
                raise Stopped("Stopped; nothing was kept.")
            if time.monotonic() - told > 0.1:
                told = time.monotonic()
                later(lambda: setattr(self.bar, "value", share))

        def end(result: Any, error: BaseException | None) -> None:
            self.widget.layout.display = "none"
            with self.status.telling():
                if error is not None:
                    raise error
                then(result)

        def work() -> None:
            result, error = None, None
            try:
                result = job(tick)
            except Exception as raised:
                error = raised
            later(lambda: end(result, error))

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


class Every:
    """Calls something again and again, where widgets may be touched, until told to end."""

    def __init__(self, seconds: float, action: Callable[[], None]):
        self.seconds, self.action, self._end = seconds, action, threading.Event()
        self._end.set()

    @property
    def on(self) -> bool:
        return not self._end.is_set()

    def start(self) -> None:
        if not self.on:
            self._end, later = threading.Event(), _here()
            threading.Thread(target=self._beat, args=(self._end, later), daemon=True).start()

    def _beat(self, end: threading.Event, later: Callable[[Callable[[], None]], None]) -> None:
        while not end.wait(self.seconds):
            done = threading.Event()

            def act(done: threading.Event = done) -> None:
                try:
                    if not end.is_set():
                        self.action()
                finally:
                    done.set()

            later(act)
            while not (done.wait(1) or end.is_set()):  # a busy kernel is not given a heap of the same
                pass

    def end(self) -> None:
        self._end.set()


def _here() -> Callable[[Callable[[], None]], None]:
    """How a thread has something done in this one: by the event loop of the kernel, or at once where there is none.

    A loop that runs outside a kernel is another library's (a browser driver's, say) and may not turn while one waits.
    """
    if getattr(get_ipython(), "kernel", None) is not None:
        with contextlib.suppress(RuntimeError):
            return asyncio.get_running_loop().call_soon_threadsafe
    return lambda action: action()


# ------------------------------------------------------------------------------------------------- pictures and words


def show_case(
    place: widgets.VBox,
    cohort: Cohort,
    case_id: str,
    records: Sequence[Record],
    truth: np.ndarray | None,
    predicted: Mapping[str, np.ndarray],
) -> None:
    """Put a viewer of a case into its place; where it replaces one of the same case, it opens where that one stood.

    Args:
        predicted: label maps (z, y, x) by name; ``"prediction"`` is drawn as a fill, others are off to begin with.
    """
    taken = dict.fromkeys(name for record in records for name in record.experiment.modalities)
    modalities = [name for name in taken if name in cohort.modalities] or list(cohort.modalities)[:2]
    case = cohort.with_modalities(modalities)[case_id]
    before = place.children[0] if place.children else None
    title = f"{cohort.name}, {case_id}"
    same = before is not None and before.spec["title"] == title
    made = slice_viewer.view(
        case,
        truth,
        predicted.get("prediction"),
        overlays={name: of for name, of in predicted.items() if name != "prediction"},
        names=cohort.labels,
        position=before.position if same else None,
        title=title,
        mode="live",
    )
    if same and before.modality in modalities:
        made.modality = before.modality
    place.children = [made]
    if before is not None:
        before.close()


def draw_curves(place: widgets.Output, records: Sequence[Any]) -> None:
    """Draw Dice and loss over epochs into their place; nothing where there is no record."""
    place.outputs = ()
    if records:
        figure = curves.of_runs(records, "Dice and loss over epochs, training against validation")
        figure = getattr(figure, "figure", figure)
        data = {_FIGURE: json.loads(figure.to_json()), "text/plain": "Dice and loss over epochs"}
        place.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)


def paragraphs(texts: Sequence[str]) -> str:
    """Notes as HTML."""
    return "".join(f"<p style='margin: 0.4em 0; max-width: 60rem'>{_lines(text)}</p>" for text in texts)


def table(title: str, of: pd.DataFrame) -> str:
    """A table as HTML that scrolls by itself where it is too wide."""
    head = f"<p style='margin: 0.6em 0 0'><b>{html.escape(title)}</b></p>"
    style = "<style>.gbm-numbers :is(td, th) { padding: 0 0.8em; line-height: 1.6; text-align: right }</style>"
    body = of.to_html(float_format="{:.3f}".format, border=0, classes="gbm-numbers")
    return f"{head}{style}<div style='overflow-x: auto'>{body}</div>"


def _lines(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
