"""What the browser gets of a viewer (``viewer.slice_viewer``): HTML that stands alone, or a widget with traits.

``slices.js`` decodes sprites and draws them, ``layers.js`` counts what a threshold decides and colours maps,
``viewer.js`` builds the viewer out of ``controls.js``, and ``controls.css`` and ``viewer.css`` dress it.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gbmlib.viewer import arguments, display, sprites
from gbmlib.viewer.arguments import misplaced


@dataclass(frozen=True)
class StaticViewer:
    """A viewer that needs no kernel: its HTML holds data and script, and works from a file and offline.

    Attributes:
        spec: what the script draws.
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
        return _fragment(self)

    def __repr__(self) -> str:
        return f"StaticViewer({self.spec['title']!r}, position={self.position}, modality={self.modality!r})"

    def save(self, path: str | Path) -> Path:
        """Write the viewer as a web page of its own, to share; whole or not at all."""
        return _save(path, self)


@functools.cache
def live_viewer() -> type:
    """The widget's class, made when it is first needed: reading the library takes no anywidget."""
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise ImportError(
            "the live viewer needs anywidget: pip install 'gbmlib[book]', or pass mode='static'"
        ) from error

    class LiveViewer(anywidget.AnyWidget):
        """The viewer in JupyterLab. ``position`` (z, y, x), ``modality`` and, with a probability, ``region`` and
        ``threshold`` can be read, set and observed."""

        _esm = _script() + "\nexport default { render };\n"
        _css = _style()
        spec = traitlets.Dict().tag(sync=True)
        position = traitlets.Any().tag(sync=True)
        modality = traitlets.Unicode().tag(sync=True)
        region = traitlets.Unicode(None, allow_none=True).tag(sync=True)
        threshold = traitlets.Float(None, allow_none=True).tag(sync=True)

        @traitlets.validate("position")
        def _check_position(self, proposal: Any) -> tuple[int, int, int]:
            if problems := misplaced(proposal["value"], tuple(self.spec["shape"])):
                raise traitlets.TraitError("; ".join(problems))
            return tuple(int(index) for index in proposal["value"])

        @traitlets.validate("modality")
        def _check_modality(self, proposal: Any) -> str:
            known = [image["name"] for image in self.spec["images"]]
            if proposal["value"] not in known:
                raise traitlets.TraitError(f"no modality {proposal['value']!r} in this viewer; it carries {known}")
            return proposal["value"]

        @traitlets.validate("region")
        def _check_region(self, proposal: Any) -> str:
            known = [region["name"] for region in self.spec["probabilities"]]
            if proposal["value"] not in known:
                raise traitlets.TraitError(
                    f"no probability of {proposal['value']!r} in this viewer; it carries {known}"
                )
            return proposal["value"]

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


def _script() -> str:
    return display.source("controls.js", "slices.js", "layers.js", "viewer.js")


def _style() -> str:
    return display.source("controls.css", "viewer.css")


def _fragment(viewer: Any) -> str:
    """HTML for one viewer. Every output of a page carries the script, so that each can stand alone; the first one that
    is read defines ``gbmViewer`` and the others use it."""
    start = {"position": list(viewer.position), "modality": viewer.modality}
    if viewer.region is not None:
        start |= {"region": viewer.region, "threshold": viewer.threshold}
    data = json.dumps({**viewer.spec, "start": start}, allow_nan=False).replace("<", "\\u003c")
    return (
        f"<style>{_style()}</style>\n"
        f'<div class="gbm-viewer gbm-room"><script type="application/json" class="gbm-viewer-data">{data}</script>'
        "</div>\n"
        f'<script>\nwindow.gbmViewer ??= (() => {{\n"use strict";\n{_script()}\nreturn {{ mount, mountAll }};\n}})();\n'
        "gbmViewer.mountAll();\n</script>"
    )


def _save(path: str | Path, viewer: Any) -> Path:
    return display.save_page(path, viewer.spec["title"] or "Slice viewer", _fragment(viewer))


def level(threshold: float) -> float:
    """The nearest threshold at which nothing is lost (``viewer.sprites.quantise_probability``)."""
    return min(max(round(threshold * sprites.LEVELS), 1), sprites.LEVELS - 1) / sprites.LEVELS
