"""A slice viewer for one case: three linked planes with label maps over them, in the book's pages and in JupyterLab.

Volumes travel to the browser as sprites (:mod:`gbmlib.sprites`), cropped to the brain: images in 254 steps, label maps
exactly. ``slices.js`` decodes and draws them, ``viewer.js`` builds the controls, ``viewer.css`` dresses them.
"""

from __future__ import annotations

import functools
import html
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gbmlib import sprites
from gbmlib.cohorts.case import Case
from gbmlib.cohorts.cohort import GLIOMA
from gbmlib.colours import LABELS
from gbmlib.display import is_static

TRUTH, PREDICTION = "gold standard", "prediction"
_TITLES = {"t1": "T1", "t1ce": "T1ce", "t2": "T2", "flair": "FLAIR", "ct": "CT", "mri": "MRI"}
_HERE = Path(__file__).parent


def view(
    case: Case | Mapping[str, np.ndarray],
    truth: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    *,
    overlays: Mapping[str, np.ndarray] | None = None,
    names: Mapping[int, str] | None = None,
    modalities: Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    position: Sequence[int] | None = None,
    title: str | None = None,
    mode: str | None = None,
) -> StaticViewer | Any:
    """Look at a case: an object that displays itself as the last expression of a cell.

    Args:
        case: a case, or modality -> volume (z, y, x) in canonical orientation (RAS+), which needs ``spacing``.
        truth: the gold standard, a label map (z, y, x); drawn as an outline.
        prediction: a label map (z, y, x); drawn as a fill.
        overlays: further label maps by name; switched off to begin with.
        names: label value to meaning; by default the three of the glioma convention.
        modalities: which to carry, in this order; all by default. One more adds about 1.4 MB to a page, at 1 mm.
        spacing: (z, y, x) in millimetres, of plain volumes.
        position: voxel (z, y, x) to begin with; by default where the first label map has most of its voxels.
        title: shown above the pictures; by default the case's id.
        mode: ``"static"`` (HTML that needs no kernel) or ``"live"`` (a widget); by default what
            :func:`gbmlib.display.is_static` says.

    Returns:
        A :class:`StaticViewer`, or live a widget whose traits ``position`` and ``modality`` follow the reader, and move
        the pictures when Python sets them. Both have ``save(path)``.

    Raises:
        ValueError: all that is wrong with the arguments, in one message.
        ImportError: live without anywidget.
    """
    problems: list[str] = []
    images, spacing = _images(case, modalities, spacing, problems)
    names = GLIOMA if names is None else names
    shape = next(iter(images.values())).shape if images else None
    labels = _labels(truth, prediction, overlays or {}, names, shape, problems)
    if position is not None and shape is not None:
        problems += _misplaced(position, shape)
    if mode not in (None, "static", "live"):
        problems.append(f"mode is {mode!r}; use 'static', 'live', or None for what the place asks for")
    if problems:
        raise ValueError("the viewer cannot show this:" + "".join(f"\n- {problem}" for problem in problems))

    # An image without background (CT) is shown whole, as nothing in it says where the body ends.
    whole = [np.ones(shape, bool) for volume in images.values() if not sprites.has_background(volume)][:1]
    box = sprites.bounding_box([*images.values(), *labels.values(), *whole])
    spec = {
        "title": str(getattr(case, "id", "") if title is None else title),
        "shape": list(shape),
        "spacing": spacing,
        "sprites": {
            "start": [axis.start for axis in box],
            "size": [axis.stop - axis.start for axis in box],
            **sprites.layout(tuple(axis.stop - axis.start for axis in box)),
        },
        "images": [_image(name, volume, box) for name, volume in images.items()],
        "overlays": [_overlay(name, volume, box) for name, volume in labels.items()],
        "classes": [
            {"value": int(value), "name": str(names[value]), "colour": LABELS[i % len(LABELS)]}
            for i, value in enumerate(sorted(names))
        ],
        "truth": None if truth is None else list(labels).index(TRUTH),
        "prediction": None if prediction is None else list(labels).index(PREDICTION),
    }
    start = tuple(int(index) for index in (_telling(labels, box) if position is None else position))
    static = mode == "static" or (mode is None and is_static())
    return (StaticViewer if static else _live_viewer())(spec=spec, position=start, modality=next(iter(images)))


# ------------------------------------------------------------------------------------------------ what the browser gets


@dataclass(frozen=True)
class StaticViewer:
    """A viewer that needs no kernel: its HTML holds data and script, and works from a file and offline.

    Attributes:
        spec: what the script draws.
        position: voxel (z, y, x) to begin with.
        modality: the image to begin with.
    """

    spec: dict[str, Any]
    position: tuple[int, int, int]
    modality: str

    def _repr_html_(self) -> str:
        return _fragment(self.spec, self.position, self.modality)

    def __repr__(self) -> str:
        return f"StaticViewer({self.spec['title']!r}, position={self.position}, modality={self.modality!r})"

    def save(self, path: str | Path) -> Path:
        """Write the viewer as a web page of its own, to share; whole or not at all."""
        return _save(path, self.spec, self.position, self.modality)


@functools.cache
def _live_viewer() -> type:
    """The widget's class, made when it is first needed: reading the library takes no anywidget."""
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise ImportError(
            "the live viewer needs anywidget: pip install 'gbmlib[book]', or pass mode='static'"
        ) from error

    class LiveViewer(anywidget.AnyWidget):
        """The viewer in JupyterLab. ``position`` (z, y, x) and ``modality`` can be read, set and observed."""

        _esm = _script() + "\nexport default { render };\n"
        _css = (_HERE / "viewer.css").read_text(encoding="utf-8")
        spec = traitlets.Dict().tag(sync=True)
        position = traitlets.Any().tag(sync=True)
        modality = traitlets.Unicode().tag(sync=True)

        @traitlets.validate("position")
        def _check_position(self, proposal: Any) -> tuple[int, int, int]:
            if problems := _misplaced(proposal["value"], tuple(self.spec["shape"])):
                raise traitlets.TraitError("; ".join(problems))
            return tuple(int(index) for index in proposal["value"])

        @traitlets.validate("modality")
        def _check_modality(self, proposal: Any) -> str:
            known = [image["name"] for image in self.spec["images"]]
            if proposal["value"] not in known:
                raise traitlets.TraitError(f"no modality {proposal['value']!r} in this viewer; it carries {known}")
            return proposal["value"]

        def __repr__(self) -> str:
            return f"LiveViewer({self.spec['title']!r}, position={self.position}, modality={self.modality!r})"

        def save(self, path: str | Path) -> Path:
            """Write the viewer, as it stands, as a web page of its own; whole or not at all."""
            return _save(path, self.spec, self.position, self.modality)

    return LiveViewer


def _script() -> str:
    return "".join((_HERE / name).read_text(encoding="utf-8") for name in ("slices.js", "viewer.js"))


def _fragment(spec: Mapping[str, Any], position: Sequence[int], modality: str) -> str:
    """HTML for one viewer. Every output of a page carries the script, so that each can stand alone; the first one that
    is read defines ``gbmViewer`` and the others use it."""
    start = {"position": list(position), "modality": modality}
    data = json.dumps({**spec, "start": start}, allow_nan=False).replace("<", "\\u003c")
    style = (_HERE / "viewer.css").read_text(encoding="utf-8")
    return (
        f"<style>{style}</style>\n"
        f'<div class="gbm-viewer"><script type="application/json" class="gbm-viewer-data">{data}</script></div>\n'
        f'<script>\nwindow.gbmViewer ??= (() => {{\n"use strict";\n{_script()}\nreturn {{ mount, mountAll }};\n}})();\n'
        "gbmViewer.mountAll();\n</script>"
    )


def _save(path: str | Path, spec: Mapping[str, Any], position: Sequence[int], modality: str) -> Path:
    path = Path(path)
    title = html.escape(spec["title"] or "Slice viewer")
    page = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<style>body { max-width: 72rem; margin: 0 auto; padding: 0.5rem; background: #15181c; }</style>\n"
        f"</head>\n<body>\n{_fragment(spec, position, modality)}\n</body>\n</html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(page, encoding="utf-8")
    unfinished.replace(path)
    return path


def _image(name: str, volume: np.ndarray, box: tuple[slice, ...]) -> dict[str, Any]:
    image = sprites.quantise(volume)
    return {
        "name": name,
        "title": _TITLES.get(name, name),
        "low": image.low,
        "high": image.high,
        "minimum": image.minimum,
        "maximum": image.maximum,
        **_sprites(image.volume[box]),
    }


def _overlay(name: str, volume: np.ndarray, box: tuple[slice, ...]) -> dict[str, Any]:
    style = {TRUTH: "outline", PREDICTION: "fill"}.get(name, "off")
    return {"name": name, "style": style, **_sprites(volume[box])}


def _sprites(volume: np.ndarray) -> dict[str, Any]:
    return {"sheets": sprites.sheets(volume), "checksum": sprites.checksum(volume)}


def _telling(labels: Mapping[str, np.ndarray], box: tuple[slice, ...]) -> list[int]:
    """Where to begin: on each axis the slice with most labelled voxels of the first label map that has any, or else the
    middle of the brain."""
    for label in labels.values():
        if label.any():
            counts = [np.count_nonzero(label, axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
            return [int(np.argmax(count)) for count in counts]
    return [(axis.start + axis.stop) // 2 for axis in box]


# ------------------------------------------------------------------------------------------------ what may be asked for


def _images(
    case: Case | Mapping[str, np.ndarray],
    modalities: Sequence[str] | None,
    spacing: Sequence[float] | None,
    problems: list[str],
) -> tuple[dict[str, np.ndarray], list[float]]:
    """The volumes to show, by modality, and their spacing; what is wrong with them goes to ``problems``."""
    plain = isinstance(case, Mapping)
    if not plain and not isinstance(case, Case):
        problems.append(f"case is a {type(case).__name__}; pass a gbmlib Case, or a mapping of modality to volume")
        return {}, []
    known = tuple(case) if plain else case.modalities
    wanted = known if modalities is None else ((modalities,) if isinstance(modalities, str) else tuple(modalities))
    if unknown := [name for name in wanted if name not in known]:
        problems.append(f"modalities: no {unknown} in this case; it has {list(known)}")
    if not wanted:
        problems.append("case: there is no image to show")
    if plain == (spacing is None):
        problems.append(
            "spacing is missing: plain volumes need their (z, y, x) in millimetres"
            if plain
            else "spacing is the case's own; leave the argument out"
        )
    spacing = [float(step) for step in (case.spacing if not plain else spacing if spacing is not None else (1, 1, 1))]
    if len(spacing) != 3 or not all(math.isfinite(step) and step > 0 for step in spacing):
        problems.append(f"spacing is {spacing}; it takes three positive numbers (z, y, x) in millimetres")
    volumes = case if plain else dict(zip(known, case.images(), strict=True))
    images = {name: np.asarray(volumes[name]) for name in dict.fromkeys(wanted) if name in known}
    shape = next((volume.shape for volume in images.values()), None)
    for name, volume in images.items():
        if volume.ndim != 3 or 0 in volume.shape:
            problems.append(f"image {name!r} has shape {volume.shape}; a volume has three axes (z, y, x)")
        elif volume.shape != shape:
            problems.append(f"image {name!r} has shape {volume.shape}, the first image {shape} (z, y, x)")
        elif not np.isfinite(volume).all():
            problems.append(f"image {name!r} holds {np.count_nonzero(~np.isfinite(volume))} voxels that are no number")
    return (images if shape is not None and len(shape) == 3 else {}), spacing


def _labels(
    truth: np.ndarray | None,
    prediction: np.ndarray | None,
    overlays: Mapping[str, np.ndarray],
    names: Mapping[int, str],
    shape: tuple[int, int, int] | None,
    problems: list[str],
) -> dict[str, np.ndarray]:
    """The label maps to show, uint8 (z, y, x), by name; what is wrong with them goes to ``problems``."""
    if wrong := [value for value in names if not (isinstance(value, int | np.integer) and 0 < value < 256)]:
        problems.append(f"names: {wrong} cannot be label values; those are whole numbers from 1 to 255")
    if taken := [name for name in overlays if name in (TRUTH, PREDICTION)]:
        problems.append(f"overlays: {taken} are the names of truth= and prediction=; pass them there")
    given = {TRUTH: truth, PREDICTION: prediction, **{k: v for k, v in overlays.items() if k not in taken}}
    labels = {}
    for name, label in given.items():
        if label is None:
            continue
        label = np.asarray(label)
        if shape is not None and label.shape != shape:
            problems.append(f"label map {name!r} has shape {label.shape}, the case {shape} (z, y, x)")
            continue
        if unknown := [value for value in np.unique(label).tolist() if value != 0 and value not in names]:
            problems.append(
                f"label map {name!r} holds {unknown[:8]}, which names= does not explain; it knows {dict(names)}"
            )
            continue
        labels[name] = label.astype(np.uint8)
    return labels


def _misplaced(position: Any, shape: tuple[int, int, int]) -> list[str]:
    """What is wrong with a voxel position in a volume of this shape."""
    try:
        indices = [int(index) for index in position]
        whole = len(indices) == 3 and all(index == given for index, given in zip(indices, position, strict=True))
    except (TypeError, ValueError):
        whole = False
    if not whole:
        return [f"position is {position!r}; it takes three whole numbers, voxel (z, y, x)"]
    if not all(0 <= index < size for index, size in zip(indices, shape, strict=True)):
        return [f"position {tuple(indices)} lies outside of the volume, whose shape is {tuple(shape)} (z, y, x)"]
    return []
