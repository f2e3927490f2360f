"""Pictures of volumes: cuts through cases, and maps.

Rows of a cut run upwards; the patient's left, or the back, is on the right, as in every picture of the study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from gbmlib.cohorts import Case
from gbmlib.preprocess import pipeline
from gbmlib.viewer import colours


def planes(case: Case, position: Sequence[int] | None = None) -> plt.Figure:
    """Every modality of a case in three planes: axial above, coronal and sagittal below.

    The layout of figure 2 of Adeniji and Liu (2019), in radiological convention: the patient's left is on the right.
    Cropped to what is not zero.

    Args:
        position: voxel (z, y, x); by default where the label has most voxels in each direction, or the middle.
    """
    images = case.images()
    box = pipeline.nonzero_box(images, case.id)
    place = position if position is not None else _most_labelled(case)
    z, y, x = (voxel - side.start for voxel, side in zip(place, box, strict=True))
    images = images[(slice(None), *box)]
    dz, dy, dx = case.spacing
    figure = plt.figure(figsize=(4.4 * len(images), 5.6), layout="constrained")
    panels = np.atleast_1d(figure.subfigures(1, len(images)))
    for panel, image, name in zip(panels, images, case.modalities, strict=True):
        axes = panel.subplot_mosaic([["axial", "axial"], ["coronal", "sagittal"]], height_ratios=[1.25, 1])
        cuts = {"axial": (image[z], dy / dx), "coronal": (image[:, y], dz / dx), "sagittal": (image[:, :, x], dz / dy)}
        for plane, (cut, aspect) in cuts.items():
            _show(axes[plane], cut, _window(image), plane, 9, aspect=aspect)
        panel.suptitle(f"{name}  ({case.id})", fontsize=10)
    return figure


def volumes(tables: dict[str, pd.DataFrame]) -> plt.Figure:
    """Volumes of the regions, a point a case, for one or more cohorts (``analysis.cohort_summary.summary``)."""
    long = pd.concat(
        table.melt("case", [c for c in table if c.endswith("_ml") and c != "brain_ml"], "region", "ml").assign(
            cohort=name
        )
        for name, table in tables.items()
    )
    long["region"] = long["region"].str.removesuffix("_ml")
    figure, axis = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    order = list(dict.fromkeys(long["region"]))
    style = {"dodge": True, "jitter": 0.2, "alpha": 0.75, "palette": colours.SPARE[: len(tables)]}
    sns.stripplot(long, x="ml", y="region", hue="cohort", order=order, ax=axis, **style)
    # Linear below 1 ml, so that a region that is absent stands at 0.
    axis.set(xlabel="volume (ml)", ylabel="", xscale="symlog", xlim=(-0.3, None))
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    sns.despine(figure)
    return figure


def thicknesses(case: Case, spacings: Sequence[Sequence[float]], modality: int = 0) -> plt.Figure:
    """A sagittal cut of a case on grids of several spacings (z, y, x) in mm: what a network is given of it.

    The front is on the left. The cut goes through most of the label, if there is one.
    """
    label = pipeline.prepare(case).label
    labelled = label is not None and label.any()
    share = (label > 0).sum((0, 1)).argmax() / label.shape[2] if labelled else 0.5
    figure, axes = plt.subplots(1, len(spacings), figsize=(3 * len(spacings), 3), layout="constrained", squeeze=False)
    for axis, spacing in zip(axes[0], spacings, strict=True):
        images = pipeline.prepare(case, spacing).images[modality]
        cut, window = images[:, :, int(share * images.shape[2])], _window(images)
        cut = np.where(cut == 0, window[0], cut)  # the normalised background lies at the mean of the brain
        _show(axis, cut, window, f"{spacing[0]:g} mm slices", 10, aspect=spacing[0] / spacing[1])
    return figure


def maps(
    case: Case,
    rows: Mapping[str, Mapping[str, np.ndarray]],
    mask: np.ndarray,
    modality: int = 0,
    position: int | None = None,
) -> plt.Figure:
    """Maps over an axial slice of a case, a row a network and a column a map; the gold standard is outlined.

    Args:
        rows: network -> map -> volume (z, y, x) in native space.
        mask: bool (z, y, x), what is outlined.
        modality: which of the case's images lies below.
        position: z of the slice; by default that with most of the mask.
    """
    z = int(mask.sum((1, 2)).argmax()) if position is None else position
    image, outline = case.images()[modality], mask[z, :, ::-1]
    rows = rows or {"no network finds this region": {}}
    columns = list(dict.fromkeys(name for volumes in rows.values() for name in volumes)) or [""]
    size = (2.4 * len(columns), 3.0 * len(rows))
    figure, axes = plt.subplots(len(rows), len(columns), figsize=size, layout="constrained", squeeze=False)
    top, bottom, left, right = _box(image[z] != 0)
    aspect = case.spacing[1] / case.spacing[2]
    for line, (network, volumes) in zip(axes, rows.items(), strict=True):
        for axis, name in zip(line, columns, strict=True):
            _show(axis, image[z], _window(image), f"{network}\n{name}", 12, aspect=aspect)
            if name in volumes:
                heat = volumes[name][z, :, ::-1]
                heat = heat / heat.max() if heat.max() > 0 else heat
                # The stronger, the less of the image shines through.
                axis.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.75 * heat**0.5, origin="lower", aspect=aspect)
            if outline.any():
                axis.contour(outline, [0.5], colors="#56B4E9", linewidths=1)
            axis.set(xlim=(image.shape[2] - right, image.shape[2] - 1 - left), ylim=(top, bottom - 1))
    return figure


def _show(axis: Any, cut: np.ndarray, window: tuple[float, float], title: str, size: int, aspect: float = 1) -> None:
    """A cut in grey; its columns are turned round, as the arrays run from the right to the left or the front back."""
    axis.imshow(cut[:, ::-1], cmap="gray", vmin=window[0], vmax=window[1], origin="lower", aspect=aspect)
    axis.set_title(title, fontsize=size)
    axis.set_axis_off()


def _window(image: np.ndarray) -> tuple[float, float]:
    """The grey values between which an image is drawn; its background does not count."""
    inside = image[image != 0]
    return tuple(np.percentile(inside, [0.5, 99.5])) if inside.size else (0, 1)


def _most_labelled(case: Case) -> tuple[int, int, int]:
    label = case.label() if case.has_label else np.zeros(case.shape, bool)
    if not label.any():
        return tuple(size // 2 for size in case.shape)
    return tuple(int((label > 0).sum(axis=axes).argmax()) for axes in ((1, 2), (0, 2), (0, 1)))


def _box(filled: np.ndarray) -> tuple[int, int, int, int]:
    """First and behind the last row, then column, with anything in them."""
    ends = [np.flatnonzero(filled.any(axis)) for axis in (1, 0)]
    return tuple(int(end) for side in ends for end in ((side[0], side[-1] + 1) if side.size else (0, 1)))
