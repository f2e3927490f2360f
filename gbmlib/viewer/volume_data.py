"""A case reduced to what a view in 3D needs (``viewer.volume_viewer``): a coarse grid in bytes, NIfTI in base64, a
picture and a sentence for whoever gets no 3D."""

from __future__ import annotations

import base64
import gzip
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from gbmlib.preprocess import resampling
from gbmlib.viewer import sprites

#: Millimetres between voxels, or more where the case has more.
STEP = 2.0

#: Voxels at most, so that image and labels stay under 400 kB in the page.
VOXELS = 600_000

#: Grey levels of the image. A view in 3D shows surfaces; more levels would double the bytes.
LEVELS = 63

#: The picture's views: the axis looked along, whether from its high end, and the axes (down, across) of the picture
#: with the directions in which they run.
VIEWS = {
    "the front": (1, True, ((0, -1), (2, -1))),
    "the left": (2, False, ((0, -1), (1, -1))),
    "above": (0, True, ((1, -1), (2, 1))),
}
SIDE = 340  # pixels of the longest side of a view
MARGIN = 8  # around each


@dataclass(frozen=True)
class Coarse:
    """A case on a coarse grid, cropped to what is there.

    Attributes:
        image: uint8 (z, y, x); 0 outside of the brain, at least 40 inside.
        labels: uint8 (z, y, x) by name.
        spacing: (z, y, x) in millimetres.
    """

    image: np.ndarray
    labels: dict[str, np.ndarray]
    spacing: tuple[float, float, float]


def coarsen(image: np.ndarray, labels: Mapping[str, np.ndarray], spacing: Sequence[float]) -> Coarse:
    """Average an image and its label maps (z, y, x) over voxels of :data:`STEP` millimetres, or larger ones where
    there would be more than :data:`VOXELS` of them.

    The image is averaged over its brain (what is not 0). A coarse voxel is labelled where half of it or more is, with
    the label that has the largest share; of equal shares the lowest label wins.
    """
    box = sprites.bounding_box([image, *labels.values()])
    image, labels = image[box], {name: label[box] for name, label in labels.items()}
    size = np.array(image.shape) * spacing
    step = max(STEP, float((size.prod() / VOXELS) ** (1 / 3)))
    shape = resampling.new_shape(image.shape, spacing, [max(step, edge) for edge in spacing])

    def average(volume: np.ndarray) -> np.ndarray:
        return resampling.resample_to(volume[None].astype(np.float32), shape, "area")[0]

    brain = average(image != 0)
    mean = average(image) / np.maximum(brain, 1e-6)
    inside = brain >= 0.5
    return Coarse(
        image=_grey(mean, inside),
        labels={name: _largest_share(label, average) for name, label in labels.items()},
        spacing=tuple(float(length / count) for length, count in zip(size, shape, strict=True)),
    )


def _grey(mean: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Bytes from 40 upwards inside, in :data:`LEVELS` levels, so that no dark part of a brain becomes a hole."""
    out = np.zeros(mean.shape, np.uint8)
    if inside.any():
        low, high = np.percentile(mean[inside], (1, 99.5))
        scaled = np.clip((mean[inside] - low) / (high - low), 0, 1) if high > low else np.ones(inside.sum())
        out[inside] = np.rint((40 / 255 + scaled * 215 / 255) * LEVELS).astype(np.uint8) * (255 // LEVELS)
    return out


def _largest_share(label: np.ndarray, average) -> np.ndarray:
    values = np.unique(label[label > 0])
    if not len(values):
        return np.zeros(average(label).shape, np.uint8)
    shares = np.stack([average(label == value) for value in values])
    return np.where(shares.sum(0) >= 0.5 - 1e-6, values[shares.argmax(0)], 0).astype(np.uint8)


def nifti(volume: np.ndarray, spacing: Sequence[float]) -> str:
    """A volume, uint8 (z, y, x), as gzipped NIfTI in base64, centred on the origin; the same bytes every time."""
    import nibabel

    steps = np.array(spacing[::-1], float)
    affine = np.diag([*steps, 1])
    affine[:3, 3] = -(np.array(volume.shape[::-1]) - 1) / 2 * steps
    image = nibabel.Nifti1Image(np.ascontiguousarray(volume.transpose(2, 1, 0)), affine)
    return base64.b64encode(gzip.compress(image.to_bytes(), 9, mtime=0)).decode()


# ----------------------------------------------------------------------------------------------- for whoever gets no 3D


def described(
    name: str, label: np.ndarray, names: Mapping[int, str], spacing: Sequence[float], image: np.ndarray | None
) -> str:
    """A sentence on a label map (z, y, x): the volume of each class and, where there is an image with a background of
    zeros, on which side of the brain it lies."""
    millilitres = float(np.prod(spacing)) / 1000
    volumes = [(names[v], np.count_nonzero(label == v) * millilitres) for v in sorted(names) if (label == v).any()]
    if not volumes:
        return f"The {name} is empty."
    parts = [f"{volume:.1f} ml {what}" for what, volume in volumes]
    listed = f"The {name} holds {', '.join(parts[:-1])}{' and ' if parts[:-1] else ''}{parts[-1]}"
    if image is None:
        return listed + "."
    columns = np.flatnonzero((image != 0).any(axis=(0, 1)))
    middle = (columns[0] + columns[-1]) / 2
    right = np.mean(np.nonzero(label)[2] > middle)
    side = f"{max(right, 1 - right):.0%} of it on the patient’s {'right' if right >= 0.5 else 'left'}"
    return f"{listed}, {side}."


def picture(coarse: Coarse, label: str | None, colours: Mapping[int, str]) -> str:
    """The brain as a shadow and a label map inside it, seen from the three :data:`VIEWS`, as JPEG in base64."""
    from PIL import Image

    panels = [_seen(coarse, None if label is None else coarse.labels[label], colours, *VIEWS[name]) for name in VIEWS]
    height = max(panel.height for panel in panels) + 2 * MARGIN
    sheet = Image.new("RGB", (sum(panel.width + 2 * MARGIN for panel in panels), height))
    left = MARGIN
    for panel in panels:
        sheet.paste(panel, (left, (height - panel.height) // 2))
        left += panel.width + 2 * MARGIN
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=85, optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _seen(coarse: Coarse, label: np.ndarray | None, colours: Mapping[int, str], axis: int, high: bool, sides):
    from PIL import Image

    (down, downwards), (across, rightwards) = sides
    steps = (coarse.spacing[axis], coarse.spacing[down], coarse.spacing[across])

    def turned(volume: np.ndarray) -> np.ndarray:
        """Depth from the viewer, rows from the top, columns from the left."""
        return volume.transpose(axis, down, across)[:: -1 if high else 1, ::downwards, ::rightwards]

    seen, light = _surface(turned(coarse.image) > 0, steps)
    pixels = np.repeat((seen * light * 110)[..., None], 3, -1)
    if label is not None:
        label = turned(label)
        hit, light = _surface(label > 0, steps)
        first = np.take_along_axis(label, (label > 0).argmax(0)[None], 0)[0]
        table = np.zeros((256, 3))
        for value, colour in colours.items():
            table[value] = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        pixels = np.where(hit[..., None], table[first] * light[..., None], pixels)
    scale = SIDE / max(np.array(coarse.image.shape) * coarse.spacing)
    size = [max(1, round(count * step * scale)) for count, step in zip(seen.shape[::-1], steps[:0:-1], strict=True)]
    return Image.fromarray(np.rint(pixels).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def _surface(mask: np.ndarray, steps: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Where a viewer's rays, along the first axis, hit a mask, and how bright its surface is there: the cosine of the
    angle at which it is seen."""
    hit = mask.any(0)
    depth = np.where(hit, mask.argmax(0), mask.shape[0]) * steps[0]
    rise, run = np.gradient(ndimage.gaussian_filter(depth, 1), steps[1], steps[2]) if min(hit.shape) > 1 else (0, 0)
    return hit, np.broadcast_to(0.25 + 0.75 / np.sqrt(1 + rise**2 + run**2), hit.shape)
