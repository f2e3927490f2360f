"""How long a run will take on a graphics card: a simple model, so that nothing is begun that cannot be finished.

Networks as small as these keep a card idle: a step takes as long as the host needs to launch its kernels, or, where
several processes share the card, as long as all of them compute. Around the training, cases are prepared, predicted and
measured, which is the host's work.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from math import prod
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from gbmlib import models
from gbmlib.cohorts import Cohort, open_cohort
from gbmlib.cohorts.folds import split
from gbmlib.evaluation.sliding_window import tile_starts
from gbmlib.preprocess.normalise import statistics_kind
from gbmlib.study.predicting import prepare
from gbmlib.study.records import Store
from gbmlib.study.runner import Run
from gbmlib.training import batches
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble
from gbmlib.training.validation import SLICES


@dataclass(frozen=True)
class Card:
    """What a card and its host can do. The defaults are for an H100 and 16 cores, where 31 trainings, 16 side by side,
    took 0.9 to 2.5 times as long as they say; the smoke test measures the first four (``study.pack.smoke``).

    Attributes:
        step: seconds in which the host launches a training step.
        forward: the same for a forward pass.
        float32, bfloat16: floating-point operations a second that convolutions of few channels reach.
        begin: seconds until a new process computes.
        case: seconds to open and hand over a prepared case.
        judged: seconds to compute the metrics of one case, whatever its size.
        voxel: seconds to restore and measure a voxel in native space.
    """

    step: float = 0.015
    forward: float = 0.004
    float32: float = 10e12
    bfloat16: float = 40e12
    begin: float = 12.0
    case: float = 0.02
    judged: float = 0.02
    voxel: float = 5e-8

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Card:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the file cannot be read, or holds something else.
        """
        try:
            content = json.loads(Path(path).read_text())
            return cls(**{field.name: float(content[field.name]) for field in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} does not hold what a card can do ({error}); the smoke test writes it") from error


def seconds(run: Run, store: Store, card: Card, processes: int = 1) -> float:
    """How long a run is expected to take on a card that as many processes share, once its process has begun.

    Its cohorts must be known to this process; one prepared case of each is looked at.
    """
    if isinstance(run, Ensemble):
        return _of_ensemble(run, store, card, processes)
    cohort = open_cohort(run.cohort)
    held_in, held_out = split(cohort, run.folds, run.fold)
    shape = _shape(run, cohort, store)
    work = forward_operations(run.model, json.dumps(run.options, sort_keys=True), len(run.modalities), run.patch_size)
    step = max(card.step, processes * 3 * work * run.batch_size / getattr(card, run.precision))
    forward = _forward(run, card, processes)
    if run.validation_batches:
        judging = run.validation_batches * run.batch_size * forward
    else:
        judging = len(held_out) * (_passes(run, shape) * forward + card.judged)
    training = run.epochs * (batches.per_epoch(run, len(held_in)) * step + judging)
    total = training + (len(held_in) + len(held_out)) * card.case
    for name in (run.cohort, *run.elsewhere):
        total += _measuring(run, open_cohort(name), shape, card, forward)
    return total


def _of_ensemble(ensemble: Ensemble, store: Store, card: Card, processes: int) -> float:
    cohort = open_cohort(ensemble.cohort)
    if ensemble.elsewhere is None and ensemble.mirrored is None:  # the members kept what they predicted
        held_out = split(cohort, ensemble.folds, ensemble.fold)[1]
        return len(held_out) * (card.judged + card.voxel * prod(cohort[held_out[0]].shape))
    other = cohort if ensemble.elsewhere is None else open_cohort(ensemble.elsewhere)
    total = 0.0
    for member in ensemble.members:
        shape = _shape(member, other, store)
        total += _measuring(member, other, shape, card, _forward(member, card, processes))
    return total


def _measuring(run: Experiment, cohort: Cohort, shape: Sequence[int], card: Card, forward: float) -> float:
    mirrorings = (4 if run.is_2d else 8) if run.mirrored_inference else 1
    each = card.judged + card.voxel * prod(cohort.cases[0].shape) + mirrorings * _passes(run, shape) * forward
    return len(cohort) * each


def _forward(run: Experiment, card: Card, processes: int) -> float:
    options = json.dumps(run.options, sort_keys=True)
    work = forward_operations(run.model, options, len(run.modalities), run.tile)
    return max(card.forward, processes * work / getattr(card, run.precision))


def _passes(run: Experiment, shape: Sequence[int]) -> int:
    """Forward passes over a whole prepared case."""
    tiles = prod(len(tile_starts(size, tile, 0.5)) for size, tile in zip(shape, run.tile, strict=True))
    return -(-tiles // SLICES) if run.tile[0] == 1 else tiles


def _shape(run: Experiment, cohort: Cohort, store: Store) -> tuple[int, ...]:
    """The shape of a cohort's first case on the grid of a run."""
    case = cohort.with_modalities(run.modalities).cases[0]
    if statistics_kind(run.normalisation) is None:
        return prepare(run, case, None, store.prepared).shape
    native = [case.shape[axis] * case.spacing[axis] for axis in run.axes]
    spacing = [(run.spacing or case.spacing)[axis] for axis in run.axes]
    return tuple(round(length / step) for length, step in zip(native, spacing, strict=True))


@lru_cache(maxsize=512)
def forward_operations(model: str, options: str, channels: int, patch_size: tuple[int, int, int]) -> int:
    """Floating-point operations of a forward pass over one patch; ``options`` as JSON.

    Counted on torch's meta device, where nothing is computed.
    """
    with models.shapes_only():
        network = models.build(model, channels, 3, patch_size, **json.loads(options))
        images = torch.empty((1, channels, *patch_size))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    return counter.get_total_flops()
