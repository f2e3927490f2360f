"""Connected components, and the post-processing that Isensee et al. (2018, section 2.5) learn from training labels.

Voxels are neighbours across faces (connectivity 6), also edges (18), or also corners (26). The paper does not say which
it means; the first public version of its code used SciPy's default, 6, nnU-Net v2 uses 26.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage

#: Of the first public code of the paper.
CONNECTIVITY = 6

#: How many axes two neighbours may differ along.
_AXES = {6: 1, 18: 2, 26: 3}


def components(mask: np.ndarray, connectivity: int = CONNECTIVITY) -> tuple[np.ndarray, int]:
    """Number the components of a boolean mask (z, y, x): int32 of its shape, 0 outside, and how many there are.

    Raises:
        ValueError: the mask is not boolean or has not three axes, or the connectivity is not 6, 18 or 26.
    """
    if connectivity not in _AXES:
        raise ValueError(f"connectivity is {connectivity}; voxels have 6, 18 or 26 neighbours")
    if mask.ndim != 3 or mask.dtype != bool:
        raise ValueError(f"the mask is {mask.dtype} of shape {mask.shape}; it needs to be boolean (z, y, x)")
    return ndimage.label(mask, ndimage.generate_binary_structure(3, _AXES[connectivity]))


def largest_component(mask: np.ndarray, connectivity: int = CONNECTIVITY) -> np.ndarray:
    """The component with most voxels, boolean (z, y, x); an empty mask stays empty.

    Among several of that size, the one whose first voxel comes first along z, then y, then x.

    Raises:
        ValueError: see :func:`components`.
    """
    out = np.zeros_like(mask)
    box = bounding_box(mask)
    numbers, count = components(mask[box], connectivity)
    if count:
        voxels = np.bincount(numbers.ravel())[1:]
        largest = np.flatnonzero(voxels == voxels.max()) + 1
        # The library's numbering need not follow the order of the voxels.
        first = numbers.ravel()[np.argmax(np.isin(numbers.ravel(), largest))]
        out[box] = numbers == first
    return out


def learn(label_maps: Iterable[np.ndarray], connectivity: int = CONNECTIVITY) -> tuple[int, ...]:
    """The classes that are never more than one component in the training labels, in ascending order.

    A class that no label holds is not among them.

    Args:
        label_maps: integers (z, y, x), 0 the background; any shapes. They are read once, one after the other.

    Raises:
        ValueError: no labels, or see :func:`components`.
    """
    seen: set[int] = set()
    several: set[int] = set()
    number = 0
    for number, label_map in enumerate(label_maps, 1):
        _check_labels(label_map, f"label {number}")
        values = {int(value) for value in np.unique(label_map)} - {0}
        seen |= values
        for value in sorted(values - several):
            mask = label_map == value
            if components(mask[bounding_box(mask)], connectivity)[1] > 1:
                several.add(value)
    if not number:
        raise ValueError("there are no labels to learn from")
    return tuple(sorted(seen - several))


def apply(label_map: np.ndarray, classes: Sequence[int], connectivity: int = CONNECTIVITY) -> np.ndarray:
    """Keep only the largest component of each of these classes; the rest of it becomes background (0).

    Returns a copy; other classes, and classes that do not occur, stay as they are.

    Raises:
        ValueError: the background among the classes, or see :func:`components`.
    """
    _check_labels(label_map, "the label map")
    if 0 in classes:
        raise ValueError("class 0 is the background, which has no component to keep; leave it out of classes")
    out = label_map.copy()
    for value in classes:
        mask = label_map == value
        out[mask & ~largest_component(mask, connectivity)] = 0
    return out


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds every voxel of a boolean mask of any number of axes; a box of no voxels if none."""
    box = [slice(None)] * mask.ndim
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        inside = np.flatnonzero(mask[tuple(box)].any(axis=others))
        if not len(inside):
            return (slice(0, 0),) * mask.ndim
        box[axis] = slice(int(inside[0]), int(inside[-1]) + 1)
    return tuple(box)


def _check_labels(label_map: np.ndarray, which: str) -> None:
    if label_map.ndim != 3 or not np.issubdtype(label_map.dtype, np.integer):
        raise ValueError(f"{which} is {label_map.dtype} of shape {label_map.shape}; it needs to be integers (z, y, x)")
