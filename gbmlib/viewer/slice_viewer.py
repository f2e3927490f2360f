"""A slice viewer for one case: three linked planes with label maps, a probability to put a threshold on and other maps
over them. Volumes travel to the browser as sprites (``viewer.sprites``), cropped to the brain."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gbmlib.cohorts.case import Case
from gbmlib.evaluation import metrics
from gbmlib.viewer import arguments, sprites
from gbmlib.viewer.arguments import TRUTH
from gbmlib.viewer.colours import LABELS
from gbmlib.viewer.display import is_static
from gbmlib.viewer.output import StaticViewer, level, live_viewer

#: The colour map of maps: perceptually even, from dark to bright, for colour-blind readers too.
PALETTE = "inferno"

_TITLES = {"t1": "T1", "t1ce": "T1ce", "t2": "T2", "flair": "FLAIR", "ct": "CT", "mri": "MRI"}


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
    probability: np.ndarray | Mapping[str, np.ndarray] | None = None,
    threshold: float = 0.5,
    maps: Mapping[str, np.ndarray] | None = None,
    side_by_side: bool = False,
    in_turn: bool = False,
    title: str | None = None,
    mode: str | None = None,
) -> StaticViewer | Any:
    """Look at a case: an object that displays itself as the last expression of a cell.

    Args:
        case: a case, or modality -> volume (z, y, x) in canonical orientation (RAS+), which needs ``spacing``.
        truth: the gold standard, a label map (z, y, x); drawn as an outline.
        prediction: a label map (z, y, x); drawn as a fill, or switched off where there is a probability.
        overlays: further label maps by name; switched off to begin with, but the first where nothing else is predicted.
        names: label value to meaning; by default those of the case's cohort, of plain volumes the three of a glioma.
        modalities: which to carry, in this order; all by default. One more adds about 1.4 MB to a page, at 1 mm.
        spacing: (z, y, x) in millimetres, of plain volumes.
        position: voxel (z, y, x) to begin with; by default where the first label map has most of its voxels.
        probability: (z, y, x) in [0, 1], of all labels together, or by region: of ``WT``, ``TC`` and ``ET`` where the
            labels are the three of a glioma, or of a label's name. The reader moves a threshold, and what reaches it is
            drawn and, where there is a truth, measured over the whole case: Dice, precision and recall as
            ``evaluation.metrics`` has them, exactly at each position of the slider (multiples of 1/256).
        threshold: to begin with; taken to the nearest multiple of 1/256.
        maps: further maps by name, (z, y, x) in [0, 1], such as an uncertainty; one is shown at a time, in colours.
        side_by_side: in place of three planes, an axial picture for each of ``overlays``, which move together; with its
            Dice over the whole case where there is a truth, which is switched off to begin with.
        in_turn: one of ``overlays`` at a time, the last to begin with, and a slider that goes through them in their
            order, such as the epochs of a training; with its Dice over the whole case where there is a truth.
        title: shown above the pictures; by default the case's id.
        mode: ``"static"`` (HTML that needs no kernel) or ``"live"`` (a widget); by default as the place asks for.

    Returns:
        A :class:`StaticViewer`, or live a widget whose traits ``position``, ``modality``, ``region`` and ``threshold``
        follow the reader, and move the pictures when Python sets them. Both have ``save(path)``.

    Raises:
        ValueError: all that is wrong with the arguments, in one message.
        ImportError: live without anywidget.
    """
    problems: list[str] = []
    images, spacing = arguments.images_of(case, modalities, spacing, problems)
    names = arguments.names_of(case) if names is None else names
    shape = next(iter(images.values())).shape if images else None
    labels = arguments.labels_of(truth, prediction, overlays or {}, names, shape, problems)
    regions = arguments.probabilities_of(probability, names, shape, problems)
    shown_maps = arguments.unit_volumes(maps or {}, "map", shape, problems)
    problems += [*arguments.bad_threshold(threshold), *arguments.bad_mode(mode)]
    if (side_by_side or in_turn) and not overlays:
        problems.append(f"{'side_by_side' if side_by_side else 'in_turn'} needs overlays: label maps by name")
    if side_by_side and in_turn:
        problems.append("side_by_side and in_turn exclude each other")
    if position is not None and shape is not None:
        problems += arguments.misplaced(position, shape)
    arguments.refuse("the viewer cannot show this", problems)

    # An image without background (CT) is shown whole, as nothing in it says where the body ends.
    everywhere = [np.ones(shape, bool) for volume in images.values() if not sprites.has_background(volume)][:1]
    likely = {name: volume >= 0.5 for name, (volume, _) in regions.items()}
    box = sprites.bounding_box([*images.values(), *labels.values(), *likely.values(), *everywhere])
    colours = [LABELS[i % len(LABELS)] for i in range(len(names) + 1)]
    predicted = next((name for name in (reversed(labels) if in_turn else labels) if name != TRUTH), None)
    styles = {TRUTH: "outline", predicted: "off" if regions else "fill"}
    if side_by_side:
        styles = dict.fromkeys(overlays or (), "fill")
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
        "overlays": [
            {
                "name": name,
                "style": styles.get(name, "off"),
                "dice": None if name == TRUTH else _dice(volume, labels.get(TRUTH)),
                **_sprites(volume[box]),
            }
            for name, volume in labels.items()
        ],
        "classes": [
            {"value": int(value), "name": str(names[value]), "colour": colour}
            for value, colour in zip(sorted(names), colours, strict=False)
        ],
        "panels": _measured(overlays if side_by_side else (), labels, names),
        "turns": _measured(overlays if in_turn else (), labels, names),
        "truth": None if truth is None else list(labels).index(TRUTH),
        "prediction": None if predicted is None else list(labels).index(predicted),
        "probabilities": [_probability(name, volume, values, box) for name, (volume, values) in regions.items()],
        "colour": colours[-1],  # of what reaches the threshold
        "maps": [{"name": name, **_sprites(sprites.quantise_map(volume[box]))} for name, volume in shown_maps.items()],
        "palette": _palette() if shown_maps else "",
    }
    start = {
        "position": tuple(int(index) for index in (_fullest(labels | likely, box) if position is None else position)),
        "modality": next(iter(images)),
    }
    if regions:
        start |= {"region": next(iter(regions)), "threshold": level(threshold)}
    return (StaticViewer if is_static(mode) else live_viewer())(spec=spec, **start)


def _measured(shown: Iterable[str], labels: Mapping[str, np.ndarray], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Label maps by name, with their place among the overlays and their Dice."""
    place, truth = list(labels), labels.get(TRUTH)
    return [{"name": one, "overlay": place.index(one), "note": _scores(labels[one], truth, names)} for one in shown]


def _scores(label: np.ndarray, truth: np.ndarray | None, names: Mapping[int, str]) -> str:
    """``Dice WT 0.86, TC 0.79, ET 0.81``: of a label map over the whole case; empty without a truth."""
    if truth is None:
        return ""
    regions = arguments.regions_of(names)
    dice = {name: metrics.dice(np.isin(label, values), np.isin(truth, values)) for name, values in regions.items()}
    return "Dice " + ", ".join(f"{name} {value:.2f}" for name, value in dice.items())


def _dice(label: np.ndarray, truth: np.ndarray | None) -> float | None:
    """Dice of all labels together, over the whole case; None without a truth, or where no label is one of the truth's,
    so that it says something else."""
    if truth is None or (label.any() and not np.isin(label[label > 0], truth[truth > 0]).any()):
        return None
    return metrics.dice(label > 0, truth > 0)


def _image(name: str, volume: np.ndarray, box: tuple[slice, ...]) -> dict[str, Any]:
    image = sprites.quantise(volume)
    fields = {field: getattr(image, field) for field in ("low", "high", "minimum", "maximum")}
    return {"name": name, "title": _TITLES.get(name, name), **fields, **_sprites(image.volume[box])}


def _probability(name: str, volume: np.ndarray, values: Sequence[int], box: tuple[slice, ...]) -> dict[str, Any]:
    """``outside``: how many voxels of each level lie outside of what is shown, as [level, voxels], so that the page
    counts every voxel of the case. There is no truth out there: the box holds all of it."""
    levels = sprites.quantise_probability(volume)
    beyond = np.bincount(levels.ravel(), minlength=256) - np.bincount(levels[box].ravel(), minlength=256)
    outside = [[int(level), int(beyond[level])] for level in np.flatnonzero(beyond) if level > 0]
    return {"name": name, "values": [int(v) for v in values], "outside": outside, **_sprites(levels[box])}


@functools.cache
def _palette() -> str:
    """The 256 colours of :data:`PALETTE`, six hexadecimal digits each."""
    from matplotlib import colormaps

    return np.rint(255 * colormaps[PALETTE](np.arange(256))[:, :3]).astype(np.uint8).tobytes().hex()


def _sprites(volume: np.ndarray) -> dict[str, Any]:
    return {"sheets": sprites.sheets(volume), "checksum": sprites.checksum(volume)}


def _fullest(labels: Mapping[str, np.ndarray], box: tuple[slice, ...]) -> list[int]:
    """Where to begin: on each axis the slice with most labelled voxels of the first label map that has any, or else the
    middle of the brain."""
    for label in labels.values():
        if label.any():
            counts = [np.count_nonzero(label, axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
            return [int(np.argmax(count)) for count in counts]
    return [(axis.start + axis.stop) // 2 for axis in box]
