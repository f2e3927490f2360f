"""The configuration of a run, validated and immutable, and the name that its hash gives it."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from gbmlib import models
from gbmlib.augment.nnunet import TRANSFORMS
from gbmlib.cohorts.regions import COMPOSITIONS, SCHEMES
from gbmlib.preprocess.normalise import NORMALISATION, schemes_of
from gbmlib.preprocess.pipeline import CROPPING, RESAMPLING
from gbmlib.training.losses import LOSSES, SOFTMAX
from gbmlib.training.patches import FOREGROUND
from gbmlib.training.schedules import PLATEAUS


def as_triplet(value: Any) -> Any:
    """A single number repeated for all three axes; anything else as it is."""
    return (value,) * 3 if isinstance(value, int | float) else value


def as_one(value: Any) -> Any:
    """The one value that all channels share, so that a run has one name; otherwise as it is."""
    alike = isinstance(value, list | tuple) and value and all(item == value[0] for item in value)
    return value[0] if alike else value


Spacing = Annotated[tuple[PositiveFloat, PositiveFloat, PositiveFloat], BeforeValidator(as_triplet)]
Size = Annotated[tuple[PositiveInt, PositiveInt, PositiveInt], BeforeValidator(as_triplet)]
Normalisation = Annotated[Literal[NORMALISATION] | tuple[Literal[NORMALISATION], ...], BeforeValidator(as_one)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Run(BaseModel):
    """Base of :class:`Experiment` and ``training.ensemble.Ensemble``: configurations that name a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def canonical(self) -> str:
        """The configuration as JSON, keys sorted, fields at their default left out.

        Leaving them out lets the library grow: a new field, at a default that does what was done before, changes no
        run's name.
        """
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))

    @property
    def id(self) -> str:
        """The run's name: its ``kind`` and the first twelve digits of the SHA-256 of :attr:`canonical`."""
        return f"{self.kind}-{hashlib.sha256(self.canonical.encode()).hexdigest()[:12]}"


class Experiment(Run):
    """The configuration of one run: whatever changes a result is here, and nothing else.

    Attributes:
        model, options: the network's name and its options (``models``).
        cohort: a cohort's *name*, such as ``brats2018-19``; never a path.
        modalities: the input channels, in order.
        regions: ``"brats"`` (nested) or ``"labels"`` (exclusive).
        composition: how nested channels become one label map (``cohorts.regions.to_labels``).
        spacing: of the network's grid (z, y, x) in mm; None keeps each case's own.
        resampling: how volumes get there (``preprocess.pipeline.prepare``).
        cropping: ``"brain"``: to the non-zero voxels' box; ``"none"``: the whole volume (Adeniji and Liu, section 4.2).
        normalisation: a scheme of ``preprocess.normalise``, or one for each channel where they differ.
        axes: the order in which the network sees the axes, such as (1, 0, 2) for slices across y.
        patch_size: of training (z, y, x) in voxels, in the order of ``axes``; (1, y, x) of a two-dimensional network.
        tile_size: of the tiles of inference; None for that of training.
        elsewhere: names of further cohorts; the trained network is also measured on all their cases.
        folds, fold: which part of the cases is held out (``cohorts.folds.split``).
        seed: of the weights, patches and augmentation.
        draws: ``"seed"``: all folds begin with the same weights; ``"seed and fold"``: each with its own.
        epochs, crops, batch_size: an epoch takes ``crops`` random patches of every training case.
        batches: instead, an epoch takes this many batches of patches drawn at random (nnU-Net: 250; the 780 of Adeniji
            and Liu), so that a schedule means the same on cohorts of any size.
        foreground: how many patches of a batch must hold foreground: ``"none"`` or ``"paper"``
            (``training.patches.forced``).
        validation_batches: an epoch is judged by this many batches of held-out patches instead of whole volumes.
        fixed_crops: the same patches in every epoch, as Adeniji and Liu (section 4.2) keep theirs; else drawn anew.
        learning_rate, schedule, warmup: the peak, the learning-rate schedule, and epochs of linear warm-up
            (``training.schedules``). A plateau schedule depends on the losses and ends the training by itself, at
            ``epochs`` at the latest.
        weight_decay, amsgrad: of Adam.
        loss: by name (``training.losses``); it also says whether channels exclude each other (a softmax).
        reconstruction_weight, kl_weight: of the terms that a VAE branch adds (equation 2 of Adeniji and Liu).
        kl_voxels: N of equation 5; None for the voxels of a patch.
        l2: weight of the sum of squared convolution kernels, added to the loss.
        augmentation: ``"simple"``, the first paper's: flips, mirroring and intensity, below; or the second paper's,
            ``"nnunet"`` (``augment.nnunet``).
        without: names of transforms that the second paper's augmentation leaves out.
        slicewise: whether the second paper's augmentation moves slices in their plane; None follows its rule.
        flips: probability of mirroring each axis.
        mirroring: ``"axes"``, each on its own, or ``"copy"``, what the first paper's code did
            (``augment.simple.draw_copy``).
        intensity: largest shift and relative scaling of each channel's intensities; 0 for none.
        patience: stop after this many epochs without a lower validation loss; None trains to the end. The weights are
            those of the last epoch in either case: choosing the best epoch on the held-out cases would flatter it.
        watched: the loss that patience watches: ``"val_loss"`` of volumes, ``"crops_loss"`` of crops (Adeniji and Liu).
        mirrored_inference: test-time augmentation: average the predictions of whole cases over all mirrorings.
        previous: the first network of a cascade, in fold 0. This network then gets that network's out-of-fold
            prediction of each case, a channel for each class beside the images (Isensee et al. 2018, section 2.2).
        precision: ``"float32"``, ``"bfloat16"`` for mixed precision, or ``"fast"`` for mixed precision where the device
            computes in it; that is for demonstrations, as results then depend on the machine.
        threads: of the CPU. Their number decides the order of sums, so it is part of a run.
    """

    model: str
    options: dict[str, Any] = Field(default_factory=dict)
    cohort: str
    modalities: tuple[str, ...] = ("t1ce", "flair")
    regions: Literal[SCHEMES] = "brats"
    composition: Literal[COMPOSITIONS] = "innermost"
    spacing: Spacing | None = None
    resampling: Literal[RESAMPLING] = "average"
    cropping: Literal[CROPPING] = "brain"
    normalisation: Normalisation = "image"
    axes: tuple[int, int, int] = (0, 1, 2)
    patch_size: Size
    tile_size: Size | None = None
    elsewhere: tuple[str, ...] = ()
    folds: Annotated[int, Field(ge=2)] = 5
    fold: NonNegativeInt = 0
    seed: NonNegativeInt = 0
    draws: Literal["seed", "seed and fold"] = "seed"
    epochs: PositiveInt
    crops: PositiveInt = 1
    fixed_crops: bool = False
    batch_size: PositiveInt = 1
    batches: PositiveInt | None = None
    foreground: Literal[FOREGROUND] = "none"
    validation_batches: PositiveInt | None = None
    learning_rate: PositiveFloat
    schedule: Literal[("polynomial", *PLATEAUS)] = "polynomial"
    warmup: NonNegativeInt = 0
    weight_decay: NonNegativeFloat = 0.0
    amsgrad: bool = False
    loss: Literal[tuple(LOSSES)] = "dice"
    reconstruction_weight: NonNegativeFloat = 0.1
    kl_weight: NonNegativeFloat = 0.1
    kl_voxels: PositiveInt | None = None
    l2: NonNegativeFloat = 0.0
    augmentation: Literal["simple", "nnunet"] = "simple"
    without: tuple[Literal[TRANSFORMS], ...] = ()
    slicewise: bool | None = None
    flips: Probability = 0.75
    mirroring: Literal["axes", "copy"] = "axes"
    intensity: Annotated[float, Field(ge=0, lt=1)] = 0.0
    patience: PositiveInt | None = None
    watched: Literal["val_loss", "crops_loss"] = "val_loss"
    mirrored_inference: bool = False
    previous: Experiment | None = None
    precision: Literal["float32", "bfloat16", "fast"] = "float32"
    threads: PositiveInt = 2

    @model_validator(mode="before")
    @classmethod
    def _plain_options(cls, fields: Any) -> Any:
        """Options as JSON has them, without those at their default, so that equal configurations have one name."""
        if not isinstance(fields, dict) or fields.get("model") not in models.MODELS or not fields.get("options"):
            return fields
        both = (models.options_of(fields["model"]), fields["options"])
        defaults, options = (json.loads(json.dumps(mapping, default=str)) for mapping in both)  # tuples become lists
        return fields | {"options": {n: v for n, v in options.items() if n not in defaults or v != defaults[n]}}

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        faults = []
        if self.fold >= self.folds:
            faults.append(f"fold is {self.fold}; folds are counted from 0 to {self.folds - 1}")
        if not self.modalities or len(set(self.modalities)) < len(self.modalities):
            faults.append(f"modalities is {self.modalities}: name each input channel once")
        for name in (self.cohort, *self.elsewhere):
            if "/" in name or "\\" in name:
                faults.append(f"cohort {name!r} is a path; give the cohort's name (open_cohort(…).name)")
        if sorted(self.axes) != [0, 1, 2]:
            faults.append(f"axes {self.axes}: they must be 0, 1 and 2 in some order, for z, y and x")
        if self.softmax and self.regions != "labels":
            faults.append(f"loss {self.loss!r} has classes that exclude each other; give it regions 'labels'")
        if self.batches is not None and self.crops != 1 and not self.fixed_crops:
            faults.append("batches draws cases at random, so crops counts nothing unless they are fixed_crops")
        if self.composition != "innermost" and self.regions != "brats":
            faults.append(f"composition {self.composition!r} is of nested regions; leave it out with {self.regions!r}")
        if self.watched == "crops_loss" and (self.patience is None or self.validation_batches is not None):
            faults.append("watched 'crops_loss' needs patience, and no validation_batches in place of the crops")
        if self.slicewise is False and self.is_2d:
            faults.append("slicewise is False, but a network of slices can move them in their plane alone")
        fields = ("without", "slicewise") if self.augmentation == "simple" else ("flips", "mirroring", "intensity")
        unread = [name for name in fields if getattr(self, name) != type(self).model_fields[name].default]
        if unread:
            faults.append(f"augmentation {self.augmentation!r} does not read {', '.join(unread)}; leave it out")
        if self.foreground != "none" and self.fixed_crops:
            faults.append("foreground chooses where patches lie, and fixed_crops keeps them; give one of the two")
        if self.schedule in PLATEAUS and self.warmup:
            faults.append(f"schedule {self.schedule!r} has no warmup; set it to 0")
        faults += self._cascade_faults() + self._network_faults()
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _cascade_faults(self) -> list[str]:
        first, faults = self.previous, []
        if first is None:
            return faults
        for name in ("cohort", "modalities", "folds", "regions"):
            if getattr(first, name) != getattr(self, name):
                faults.append(f"previous has {name} {getattr(first, name)}, this {getattr(self, name)}; share one")
        if first.fold:
            faults.append(f"previous is of fold {first.fold}; give fold 0, which stands for all of them")
        if first.previous is not None:
            faults.append("previous has a previous itself; a cascade has two networks")
        if not (self.softmax and first.softmax):
            faults.append("a cascade's networks have classes that exclude each other: give both a loss of a softmax")
        if self.augmentation == "simple":
            faults.append("previous needs augmentation 'nnunet', which disturbs its prediction")
        if self.elsewhere:
            faults.append("elsewhere: a cascade is measured on its own cohort alone; leave it out")
        return faults

    def _network_faults(self) -> list[str]:
        """Options or sizes that the network cannot take, or a normalisation that is not of its channels."""
        try:
            schemes_of(self.normalisation, len(self.modalities))
            training, inference = self.divisors
        except (ValueError, TypeError) as error:
            return [str(error)]
        faults = []
        sizes = (("patch_size", self.patch_size, training), ("tile_size", self.tile_size, inference))
        for name, size, divisor in sizes:
            if size is not None and any(n % by for n, by in zip(size, divisor, strict=True)):
                fitting = tuple(-(-n // by) * by for n, by in zip(size, divisor, strict=True))
                alike = divisor[0] if len(set(divisor)) == 1 else divisor
                faults.append(f"{name} {size} must be divisible by {alike}; the next is {fitting}")
        return faults

    @property
    def dependencies(self) -> tuple[Experiment, ...]:
        """The runs that must come first: a cascade learns from the out-of-fold predictions of its first network."""
        if self.previous is None:
            return ()
        return tuple(self.previous.changed(fold=fold) for fold in range(self.folds))

    @property
    def drawn_from(self) -> int:
        """The seed of the process: of the initial weights, the order and place of patches, and the augmentation."""
        return self.seed if self.draws == "seed" else self.seed * self.folds + self.fold

    @property
    def softmax(self) -> bool:
        """Whether channels exclude each other, with the background as one more."""
        return self.loss in SOFTMAX

    @property
    def is_2d(self) -> bool:
        """Whether the network sees single slices."""
        return self.patch_size[0] == 1

    @property
    def divisors(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """The number that each size (z, y, x) of a training patch, and of a tile, must be divisible by."""
        options = json.dumps(self.options, sort_keys=True)
        return _divisors(self.model, len(self.modalities) or 1, self.patch_size, options)

    @property
    def tile(self) -> tuple[int, int, int]:
        """The size (z, y, x) of the tiles of inference."""
        return self.tile_size or self.patch_size

    @property
    def kind(self) -> str:
        return self.model

    def changed(self, **changes: Any) -> Experiment:
        """This configuration with some fields changed, validated anew."""
        return Experiment(**{**self.model_dump(), **changes})


@lru_cache(maxsize=1024)
def _divisors(model: str, channels: int, patch_size: tuple[int, int, int], options: str) -> tuple:
    """As :attr:`Experiment.divisors`, ``options`` as JSON; raises ValueError where the network cannot take them."""
    with models.shapes_only():  # a wrong option shows here, at once
        network = models.build(model, channels, 1, patch_size, **json.loads(options))
    return as_triplet(getattr(network, "training_divisor", network.divisor)), as_triplet(network.divisor)
