"""What a run is: one validated, immutable configuration, and the name its hash gives it."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from gbmlib import models
from gbmlib.losses import LOSSES
from gbmlib.preprocess import RESAMPLING
from gbmlib.regions import SCHEMES
from gbmlib.schedules import SCHEDULES


def _three(value: Any) -> Any:
    """One number stands for all three axes."""
    return (value,) * 3 if isinstance(value, int | float) else value


def _as_json(value: Any) -> Any:
    """The value as it comes back from a file: tuples are lists."""
    return json.loads(json.dumps(value, default=str))


Spacing = Annotated[tuple[PositiveFloat, PositiveFloat, PositiveFloat], BeforeValidator(_three)]
Size = Annotated[tuple[PositiveInt, PositiveInt, PositiveInt], BeforeValidator(_three)]


class Experiment(BaseModel):
    """The configuration of one run: whatever changes a result is here, and nothing else.

    Attributes:
        model, options: the network's name and its options (:mod:`gbmlib.models`).
        cohort: a cohort's *name*, such as ``brats2018-19``; never a path.
        modalities: the input channels, in order.
        regions: ``"brats"`` (nested) or ``"labels"`` (exclusive).
        spacing: of the network's grid (z, y, x) in mm; None keeps each case's own.
        resampling: how volumes get there (:func:`gbmlib.preprocess.prepare`).
        patch_size: of training and of the tiles of inference (z, y, x) in voxels.
        elsewhere: names of further cohorts, every case of which the trained network is measured on.
        folds, fold: which part of the cases is held out (:func:`gbmlib.folds.split`).
        seed: of the weights, patches and augmentation.
        epochs, crops, batch_size: an epoch takes ``crops`` random patches of every training case.
        learning_rate, schedule, warmup: the peak, its course, and epochs of linear warm-up (:mod:`gbmlib.schedules`).
        loss: by name (:mod:`gbmlib.losses`).
        flips: probability of mirroring each axis.
        intensity: largest shift and relative scaling of each channel's intensities; 0 for none.
        patience: stop after so many epochs without a lower validation loss; None trains to the end. The weights are
            those of the last epoch in either case: choosing the best epoch on the held-out cases would flatter it.
        precision: ``"float32"``, or ``"bfloat16"`` for mixed precision.
        threads: of the CPU; sums are taken in another order with another number, so it is part of a run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    options: dict[str, Any] = Field(default_factory=dict)
    cohort: str
    modalities: tuple[str, ...] = ("t1ce", "flair")
    regions: Literal[SCHEMES] = "brats"
    spacing: Spacing | None = None
    resampling: Literal[RESAMPLING] = "average"
    patch_size: Size
    elsewhere: tuple[str, ...] = ()
    folds: Annotated[int, Field(ge=2)] = 5
    fold: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0)] = 0
    epochs: PositiveInt
    crops: PositiveInt = 1
    batch_size: PositiveInt = 1
    learning_rate: PositiveFloat
    schedule: Literal[tuple(SCHEDULES)] = "polynomial"
    warmup: Annotated[int, Field(ge=0)] = 0
    loss: Literal[tuple(LOSSES)] = "dice"
    flips: Annotated[float, Field(ge=0, le=1)] = 0.75
    intensity: Annotated[float, Field(ge=0, lt=1)] = 0.0
    patience: PositiveInt | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: PositiveInt = 2

    @model_validator(mode="before")
    @classmethod
    def _plain_options(cls, given: Any) -> Any:
        """Options as JSON has them, without those at their default: what means the same has one name."""
        if not isinstance(given, dict) or given.get("model") not in models.MODELS or not given.get("options"):
            return given
        defaults = models.options_of(given["model"])
        plain = {name: _as_json(value) for name, value in given["options"].items()}
        kept = {n: v for n, v in plain.items() if n not in defaults or v != _as_json(defaults[n])}
        return {**given, "options": kept}

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        faults = []
        if self.fold >= self.folds:
            faults.append(f"fold is {self.fold}; folds are counted from 0 to {self.folds - 1}")
        if not self.modalities or len(set(self.modalities)) < len(self.modalities):
            faults.append(f"modalities is {self.modalities}: name each input channel once")
        for name in (self.cohort, *self.elsewhere):
            if any(mark in name for mark in ("/", "\\")):
                faults.append(f"cohort {name!r} is a path; give the cohort's name (open_cohort(…).name)")
        try:
            # On torch's meta device a network has shapes and no memory: a wrong option shows here, at once.
            with torch.device("meta"):
                network = models.build(self.model, len(self.modalities) or 1, 1, **self.options)
            divisor = getattr(network, "divisor", 1)
            if any(size % divisor for size in self.patch_size):
                fits = tuple(-(-size // divisor) * divisor for size in self.patch_size)
                faults.append(f"patch_size {self.patch_size} must be divisible by {divisor}; the next is {fits}")
        except (ValueError, TypeError) as error:
            faults.append(str(error))
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def canonical(self) -> str:
        """The configuration as JSON, keys sorted, fields at their default left out.

        Leaving them out lets the library grow: a new field, at a default that does what was done before, changes no
        run's name. (The full configuration is in the record, and is compared when a record is looked up.)
        """
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))

    @property
    def id(self) -> str:
        """The run's name: the network and the first twelve digits of the SHA-256 of :attr:`canonical`."""
        return f"{self.model}-{hashlib.sha256(self.canonical.encode()).hexdigest()[:12]}"

    def changed(self, **changes: Any) -> Experiment:
        """This configuration with some fields changed, validated anew."""
        return Experiment(**{**self.model_dump(), **changes})
