"""How a viewer reaches its reader: as HTML that stands alone, or as a widget in JupyterLab."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gbmlib.viewer import arguments, display, sprites


@dataclass(frozen=True)
class Program:
    """The scripts and styles of one kind of viewer, which lie beside this file, in this order.

    The last script has ``mount``, ``mountAll`` for a page and ``render`` for JupyterLab.
    """

    kind: str
    scripts: tuple[str, ...]
    styles: tuple[str, ...]

    @property
    def module(self) -> str:
        """The script as anywidget wants it."""
        return display.source(*self.scripts) + "\nexport default { render };\n"

    @property
    def style(self) -> str:
        return display.source(*self.styles)

    def html(self, data: Mapping[str, Any], inside: str = "", argument: str = "") -> str:
        """HTML for one viewer of some data. Every output of a page carries the script, so that it can stand alone; the
        first one that is read defines a name for it, and the others use that."""
        text, name = json.dumps(data, allow_nan=False).replace("<", "\\u003c"), f"gbm{self.kind.capitalize()}"
        return (
            f"<style>{self.style}</style>\n"
            f'<div class="gbm-{self.kind} gbm-room">'
            f'<script type="application/json" class="gbm-{self.kind}-data">{text}</script>{inside}</div>\n'
            f'<script>\nwindow.{name} ??= (() => {{\n"use strict";\n{display.source(*self.scripts)}\n'
            f"return {{ mount, mountAll }};\n}})();\n{name}.mountAll({argument});\n</script>"
        )


SLICES = Program(
    "viewer",
    ("controls.js", "slices.js", "layers.js", "picture.js", "panel.js", "viewer.js"),
    ("controls.css", "viewer.css"),
)


def import_anywidget() -> tuple[Any, Any]:
    """The packages anywidget and traitlets, which reading the library does not take."""
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise ImportError("the live view needs anywidget: pip install 'gbmlib[book]', or pass mode='static'") from error
    return anywidget, traitlets


@dataclass(frozen=True)
class StaticViewer:
    """A viewer that needs no kernel: its HTML holds data and script, and works from a file and offline.

    Attributes:
        spec: the data that the script draws.
        position: voxel (z, y, x) to begin with.
        modality: the image to begin with.
        region, threshold: the probability to begin with and what it has to reach; None where none is carried.
    """

    spec: dict[str, Any]
    position: tuple[int, int, int]
    modality: str
    region: str | None = None
    threshold: float | None = None

    def _repr_html_(self) -> str:
        return _html(self)

    def __repr__(self) -> str:
        return f"StaticViewer({self.spec['title']!r}, position={self.position}, modality={self.modality!r})"

    def save(self, path: str | Path) -> Path:
        """Write the viewer as a web page of its own, to share; whole or not at all."""
        return _save(path, self)


@functools.cache
def live_viewer() -> type:
    """The widget's class, made when it is first needed."""
    anywidget, traitlets = import_anywidget()

    class LiveViewer(anywidget.AnyWidget):
        """The viewer in JupyterLab. ``position`` (z, y, x), ``modality`` and, with a probability, ``region`` and
        ``threshold`` can be read, set and observed."""

        _esm = SLICES.module
        _css = SLICES.style
        spec = traitlets.Dict().tag(sync=True)
        position = traitlets.Any().tag(sync=True)
        modality = traitlets.Unicode().tag(sync=True)
        region = traitlets.Unicode(None, allow_none=True).tag(sync=True)
        threshold = traitlets.Float(None, allow_none=True).tag(sync=True)

        @traitlets.validate("position")
        def _check_position(self, proposal: Any) -> tuple[int, int, int]:
            if problems := arguments.misplaced(proposal["value"], tuple(self.spec["shape"])):
                raise traitlets.TraitError("; ".join(problems))
            return tuple(int(index) for index in proposal["value"])

        @traitlets.validate("modality", "region")
        def _check_name(self, proposal: Any) -> str:
            trait, name = proposal["trait"].name, proposal["value"]
            known = [one["name"] for one in self.spec["images" if trait == "modality" else "probabilities"]]
            if name not in known:
                raise traitlets.TraitError(f"no {trait} {name!r} in this viewer; it carries {known}")
            return name

        @traitlets.validate("threshold")
        def _check_threshold(self, proposal: Any) -> float:
            problems = arguments.bad_threshold(proposal["value"])
            if not self.spec["probabilities"]:
                problems = ["this viewer carries no probability, so there is no threshold; pass view(probability=…)"]
            if problems:
                raise traitlets.TraitError("; ".join(problems))
            return level(proposal["value"])

        def __repr__(self) -> str:
            return f"LiveViewer({self.spec['title']!r}, position={self.position}, modality={self.modality!r})"

        def save(self, path: str | Path) -> Path:
            """Write the viewer, as it stands, as a web page of its own; whole or not at all."""
            return _save(path, self)

    return LiveViewer


def _html(viewer: Any) -> str:
    start = {"position": list(viewer.position), "modality": viewer.modality}
    if viewer.region is not None:
        start |= {"region": viewer.region, "threshold": viewer.threshold}
    return SLICES.html({**viewer.spec, "start": start})


def _save(path: str | Path, viewer: Any) -> Path:
    return display.save_page(path, viewer.spec["title"] or "Slice viewer", _html(viewer))


def level(threshold: float) -> float:
    """The nearest threshold at which nothing is lost (``viewer.sprites.quantise_probability``)."""
    return min(max(round(threshold * sprites.LEVELS), 1), sprites.LEVELS - 1) / sprites.LEVELS
