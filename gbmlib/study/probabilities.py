"""Predicted probabilities on disk: what an average over networks starts from.

A file holds one case on the grid of its network, with what the way back to native space needs. Half precision, as in
nnU-Net: probabilities are within 0.0005 of what was computed, and take half of the space before they are compressed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from gbmlib.preprocess.pipeline import Grid, Prepared, restore


def save(path: str | Path, probabilities: torch.Tensor | np.ndarray, grid: Grid | Prepared) -> None:
    """Write probabilities (channel, z, y, x) on a prepared grid; whole or not at all.

    Raises:
        ValueError: they are not on the grid.
    """
    path, volume = Path(path), torch.as_tensor(probabilities).detach().cpu()
    if tuple(volume.shape[1:]) != tuple(grid.shape):
        raise ValueError(f"case {grid.id}: probabilities of shape {tuple(volume.shape)} on a grid of {grid.shape}")
    said = {
        "id": grid.id,
        "box": [[part.start, part.stop] for part in grid.box],
        "native_shape": list(grid.native_shape),
        "axes": list(grid.axes),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, probabilities=volume.half().numpy(), grid=json.dumps(said))
    unfinished.replace(path)


def load(path: str | Path) -> tuple[np.ndarray, Grid]:
    """What :func:`save` wrote: probabilities (channel, z, y, x), float32, and their grid.

    Raises:
        ValueError: the file is damaged; names it.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            volume, said = file["probabilities"].astype(np.float32), json.loads(str(file["grid"]))
    except (BadZipFile, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); delete it, and it is computed anew") from error
    box = tuple(slice(*ends) for ends in said["box"])
    return volume, Grid(said["id"], volume.shape[1:], box, tuple(said["native_shape"]), tuple(said["axes"]))


def average(members: Sequence[tuple[np.ndarray, Grid]]) -> tuple[np.ndarray, Grid]:
    """The mean of several networks' probabilities for one case, and the grid that it is on.

    On their own grid where they share one; otherwise each is brought back to native space first, since networks of
    different spacing or order of axes have no other grid in common.

    Raises:
        ValueError: none, different cases, or different numbers of channels.
    """
    if not members:
        raise ValueError("there are no probabilities to average")
    first = members[0][1]
    kinds = {(grid.id, grid.native_shape, len(volume)) for volume, grid in members}
    if len(kinds) > 1:
        raise ValueError(f"only one case's probabilities, of the same classes, can be averaged, not {sorted(kinds)}")
    alike = all(grid == first for _, grid in members)
    total: np.ndarray | None = None
    for volume, grid in members:
        volume = volume if alike else restore(volume, grid)
        total = volume.astype(np.float32) if total is None else total + volume
    whole = tuple(slice(0, n) for n in first.native_shape)
    return total / len(members), first if alike else Grid(first.id, first.native_shape, whole, first.native_shape)
