"""One case in 3D, to turn in the hand: the brain see-through, solid or cut open, and the labels inside it.

NiiVue draws it (WebGL 2), self-hosted: 2.3 MB that a page loads when its reader asks for 3D, and not before. The page
itself carries the volumes (``viewer.volume_data``), and a picture and a sentence for readers without 3D.
"""

from __future__ import annotations

import functools
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gbmlib.cohorts.case import Case
from gbmlib.viewer import arguments, display, output, sprites, volume_data
from gbmlib.viewer.colours import LABELS

#: NiiVue's bundle, below a page's ``data-content_root``; in a checkout the same file lies in ``book``.
NIIVUE = "_static/niivue/niivue.umd.js"
BUNDLE = Path(__file__).parents[2] / "book" / NIIVUE

#: What to show when nobody says: gadolinium outlines the core.
PREFERRED = "t1ce"


def volume(
    case: Case | Mapping[str, np.ndarray],
    truth: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    *,
    names: Mapping[int, str] | None = None,
    modality: str | None = None,
    spacing: Sequence[float] | None = None,
    title: str | None = None,
    mode: str | None = None,
) -> StaticVolume | Any:
    """Look at a case in 3D: an object that displays itself as the last expression of a cell.

    Args:
        case: a case, or modality -> volume (z, y, x) in canonical orientation (RAS+), which needs ``spacing``. Of an
            image without a background of zeros (CT) one would see a box: then the labels are shown alone.
        truth, prediction: label maps (z, y, x); one is shown at a time, the gold standard to begin with.
        names: label value to meaning; by default those of the case's cohort, of plain volumes the three of a glioma.
        modality: which image; by default T1ce, or else the first.
        spacing: (z, y, x) in millimetres, of plain volumes.
        title: shown above; by default the case's id.
        mode: ``"static"`` (HTML that needs no kernel) or ``"live"`` (a widget); by default as the place asks for.

    Returns:
        A :class:`StaticVolume`, or live a widget; both have ``save(path)``.

    Raises:
        ValueError: all that is wrong with the arguments, in one message.
        ImportError: live without anywidget.
    """
    problems: list[str] = []
    chosen = _modality(case, modality)
    images, spacing = arguments.images_of(case, None if chosen is None else (chosen,), spacing, problems)
    names = arguments.names_of(case) if names is None else names
    image = next(iter(images.values()), None)
    labels = arguments.labels_of(truth, prediction, {}, names, None if image is None else image.shape, problems)
    brain = image is not None and image.any() and sprites.has_background(image)
    if image is not None and not brain and not any(label.any() for label in labels.values()):
        what = "has no background of zeros" if image.any() else "is 0 everywhere"
        problems.append(f"image {chosen!r} {what} and no label is given, so that there is nothing to see in 3D")
    problems += arguments.bad_mode(mode)
    arguments.refuse("the view in 3D cannot show this", problems)

    coarse = volume_data.coarsen(image if brain else np.zeros_like(image), labels, spacing)
    maps = coarse.labels
    colours = {int(value): LABELS[i % len(LABELS)] for i, value in enumerate(sorted(names))}
    first = next(iter(labels), None)
    present = [value for value in colours if any((label == value).any() for label in labels.values())]
    seen = image if brain else None
    sentences = [volume_data.described(name, label, names, spacing, seen) for name, label in labels.items()]
    spec = {
        "title": str(getattr(case, "id", "") if title is None else title),
        "brain": bool(brain),
        "image": volume_data.nifti(coarse.image, coarse.spacing),
        "labels": [{"name": name, "nifti": volume_data.nifti(label, coarse.spacing)} for name, label in maps.items()],
        "classes": [{"value": value, "name": str(names[value]), "colour": colours[value]} for value in present],
        "centre": _centre(coarse.image if first is None else maps[first]),
        "picture": volume_data.picture(coarse, first, colours),
        "words": " ".join(sentences) or "The brain, without labels.",
        "megabytes": round(BUNDLE.stat().st_size / 1e6, 1) if BUNDLE.exists() else None,
    }
    return (StaticVolume if display.is_static(mode) else live_volume())(spec=spec)


def _modality(case: Any, modality: str | None) -> str | None:
    """The image to show; whether there is one is checked with everything else."""
    modalities = tuple(case) if isinstance(case, Mapping) else getattr(case, "modalities", ())
    return modality or (PREFERRED if PREFERRED in modalities else next(iter(modalities), None))


def _centre(volume: np.ndarray) -> list[float]:
    """Where the middle of a mask lies, (z, y, x) as shares of the volume; the volume's middle where it is empty."""
    where = np.nonzero(volume)
    if not len(where[0]):
        return [0.5, 0.5, 0.5]
    return [round(float((at.mean() + 0.5) / size), 4) for at, size in zip(where, volume.shape, strict=True)]


PROGRAM = output.Program("volume", ("controls.js", "volume_view.js"), ("controls.css", "volume_view.css"))


@dataclass(frozen=True)
class StaticVolume:
    """A view in 3D that needs no kernel and works offline: from the book's own NiiVue, or, saved, from the page's."""

    spec: dict[str, Any]

    def _repr_html_(self) -> str:
        return _html(self.spec)

    def __repr__(self) -> str:
        return f"StaticVolume({self.spec['title']!r})"

    def save(self, path: str | Path) -> Path:
        """Write a web page of its own, NiiVue included, to share; whole or not at all."""
        return _save(path, self.spec)


@functools.cache
def live_volume() -> type:
    """The widget's class, made when it is first needed."""
    anywidget, traitlets = output.import_anywidget()

    class LiveVolume(anywidget.AnyWidget):
        """The view in JupyterLab. NiiVue comes from the kernel when the reader asks for 3D."""

        _esm = PROGRAM.module
        _css = PROGRAM.style
        spec = traitlets.Dict().tag(sync=True)

        def __init__(self, **traits: Any):
            super().__init__(**traits)
            self.on_msg(lambda _, content, __: content == "niivue" and self.send(_bundle()))

        def __repr__(self) -> str:
            return f"LiveVolume({self.spec['title']!r})"

        def save(self, path: str | Path) -> Path:
            """Write a web page of its own, NiiVue included; whole or not at all."""
            return _save(path, self.spec)

    return LiveVolume


_MISSING = (
    f"{NIIVUE} is not beside the library; work in a checkout of the study, where it lies in the folder book, "
    "or look at the slices with gbmlib.viewer.view"
)


def _bundle() -> dict[str, str]:
    """NiiVue for the widget, or what to do where there is none."""
    return {"script": BUNDLE.read_text(encoding="utf-8")} if BUNDLE.exists() else {"problem": _MISSING}


def _html(spec: Mapping[str, Any]) -> str:
    words, views = html.escape(spec["words"], quote=True), list(volume_data.VIEWS)
    picture = (
        # The class dark-light keeps the book's dark mode from putting a light sheet behind the picture.
        f'<img class="gbm-volume-picture dark-light" alt="The case seen from {", ".join(views[:-1])} and from '
        f'{views[-1]}. {words}" src="data:image/jpeg;base64,{spec["picture"]}">'
    )
    return PROGRAM.html({key: spec[key] for key in spec if key != "picture"}, picture, f'"{NIIVUE}"')


def _save(path: str | Path, spec: Mapping[str, Any]) -> Path:
    """Raises :class:`FileNotFoundError`: NiiVue is not beside the library."""
    if not BUNDLE.exists():
        raise FileNotFoundError(f"cannot save the view in 3D: {_MISSING}")
    held = BUNDLE.read_text(encoding="utf-8").replace("</script", "<\\/script")
    page = f'<script type="text/plain" class="gbm-niivue-held">{held}</script>\n{_html(spec)}'
    return display.save_page(path, spec["title"] or "View in 3D", page)
