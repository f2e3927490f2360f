"""The comparisons of Adeniji and Liu (2019): which change answers which question, as data.

A variant is a set of changes to ``study.scales.paper_a``; the first of a comparison is the network as
the paper's text has it, and differs from each other one in nothing but what is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gbmlib.study import scales
from gbmlib.training.configuration import Experiment


@dataclass(frozen=True)
class Comparison:
    """A question, what the paper says of it and where, and the variants that answer it.

    Attributes:
        variants: by label, changes to the paper's configuration; the first is that configuration itself.
    """

    name: str
    question: str
    claim: str
    place: str
    variants: Mapping[str, Mapping[str, Any]]

    @property
    def base(self) -> str:
        """The label of the paper's own variant."""
        return next(iter(self.variants))


VAE = Comparison(
    "vae",
    "Does the VAE branch reduce overfitting?",
    "The branch regularises the encoder and reduces overfitting.",
    "sections 2.3 and 6",
    {"with VAE": {}, "without VAE": {"vae": False}},
)

SE = Comparison(
    "se",
    "Does squeeze-excitation help?",
    "Squeeze-excitation layers were useful.",
    "sections 3.2.2 and 6",
    {"with SE": {}, "without SE": {"se": "none"}},
)

#: In the short runs the single choices and the ladder are screened: half the schedule and two folds.
SCREENING: dict[str, dict[str, Any]] = {"short": {"epochs": 12, "warmup": 3}}

#: At the study's scale choices that are not about gliomas are decided on the hippocampus, whose 260 cases give narrower
#: intervals: at 2 mm, exclusive labels, 8,000 steps. The patch, 32 x 64 x 32 mm, cuts a few voxels off an image of 36 x
#: 50 x 35 mm; one of 64 mm a side, which holds it whole and three quarters of nothing, takes 2.7 times as long. On the
#: pilot's fold Dice is 0.838 after 4,000 steps of either; after 8,000 it is 0.852 of this one, 0.848 of the other, and
#: 16,000 would add 0.006. Validation of 52 cases takes as long as 30 steps, so an epoch has 400.
HIPPOCAMPUS: dict[str, Any] = {"cohort": "msd-task04-hippocampus-260", "modalities": ("mri",), "regions": "labels"}
HIPPOCAMPUS |= {"flips": 0.5, "spacing": 2, "patch_size": (16, 32, 16), "epochs": 20, "warmup": 2, "batches": 400}

#: Choices that are about gliomas or their grid alone, and are decided there at every scale.
GLIOMAS_ALONE = ("normalisation", "crops", "mirroring", "tile")

#: The scales at which variants that lost channels are begun so that they do not.
TAMED = ("study", "paper")
SCREENED_SEEDS = {"study": (0,)}
SCREENED_FOLDS = {"test": (0,), "demo": (0,), "short": (0, 1), "study": (0, 1, 2, 3, 4), "paper": (0, 1)}

#: How much the higher learning rate of the 2 x 2 exceeds the lower: 1e-4 against 1e-5 in the paper.
HIGHER_RATE = 10


def rate_and_warmup(profile: str) -> Comparison:
    """Peak rate and warm-up, changed one at a time and together, at the rates of a scale."""
    rate = HIGHER_RATE * (scales.SCALES[profile] | scales.PAPER_A[profile])["learning_rate"]
    return Comparison(
        "rate_and_warmup",
        "Is it the lower peak rate or the warm-up that keeps training from diverging?",
        "Myronenko's rate of 1e-4 diverged; with a warm-up to 1e-5 training converged. Warm-up is essential.",
        "sections 3.2.4 and 6",
        {
            "low rate, warm-up": {},
            "low rate, no warm-up": {"warmup": 0},
            "high rate, warm-up": {"learning_rate": rate},
            "high rate, no warm-up": {"learning_rate": rate, "warmup": 0},
        },
    )


def choices(profile: str) -> tuple[Comparison, ...]:
    """Every choice of sections 3 to 5.1 that a run can test, at one scale of the study."""
    fields = scales.SCALES[profile] | scales.PAPER_A[profile] | SCREENING.get(profile, {})
    filters = scales.paper_a(profile, folds=[0], seeds=[0])[0].options.get("filters", 16)
    tamed = {"init": "torch", "learning_rate": fields["learning_rate"] / 2} if profile in TAMED else {}
    large_output = {"He, Glorot, large output": {"output_gain": 1.0}} if profile in TAMED else {}
    return (
        rate_and_warmup(profile),
        Comparison(
            "down",
            "Max-pooling, average pooling or a strided convolution?",
            "Max-pooling is no worse than strides, with fewer parameters, and tends to beat average pooling.",
            "sections 3.2.5 and 5.1.2",
            {"max-pooling": {}, "average pooling": {"down": "average_pool"}, "strided": {"down": "stride"}},
        ),
        Comparison(
            "order",
            "Convolution, norm, ReLU, or norm, ReLU, convolution?",
            "The reordering has no clear disadvantage.",
            "sections 3.2.6 and 6",
            {"conv, norm, ReLU": {}, "norm, ReLU, conv": {"order": "norm-act-conv"} | tamed},
        ),
        Comparison(
            "filters",
            "Half the filters of the original, or all of them?",
            "Half the filters, 16 in place of 32, cost nothing.",
            "sections 3.2.1 and 6",
            {f"{filters} filters": {}, f"{2 * filters} filters": {"filters": 2 * filters}},
        ),
        Comparison(
            "blocks",
            "How many residual blocks?",
            "The number of blocks changes little.",
            "section 3.3",
            {
                "1, 2, 2, 4 blocks": {},
                "1, 1, 1, 1 blocks": {"blocks": (1, 1, 1, 1)},
                "2, 2, 2, 4 blocks": {"blocks": (2, 2, 2, 4)},
            },
        ),
        Comparison(
            "kernel",
            "Kernels of 3 or of 5?",
            "3 loses information more gradually than 5.",
            "section 5.1.2",
            {"kernel 3": {}, "kernel 5": {"kernel_size": 5}},
        ),
        Comparison(
            "norm",
            "Which normalisation, at one patch a step?",
            "Group normalisation with a group size of 8 is preferable to batch normalisation.",
            "section 5.1.2",
            {
                "8 groups": {},
                "groups of 8": {"norm": "groups_of_8"},
                "batch norm": {"norm": "batch"},
                "instance norm": {"norm": "instance"},
            },
        ),
        Comparison(
            "init",
            "Does the initialisation matter?",
            "He and Glorot initialisation is more stable.",
            "section 3.2.3",
            {"He, Glorot before sigmoids": {}, "Glorot uniform": {"init": "glorot"}} | large_output,
        ),
        Comparison(
            "up",
            "Linear, nearest or transposed upsampling?",
            "Linear upsampling is chosen over strided transposed convolutions, as they add parameters.",
            "section 5.1.2",
            {"linear": {}, "nearest": {"up": "nearest"}, "transposed": {"up": "transposed"}},
        ),
        Comparison(
            "crops",
            "One crop of a case or three, drawn anew or kept, at equal numbers of steps?",
            "Three crops make the model and the metrics less biased than one.",
            "sections 4.2 and 5.1.1",
            _crops(fields),
        ),
        Comparison(
            "normalisation",
            "Over what are intensities normalised?",
            "Image by image; pixel by pixel the model struggled to reach 10 % in early stages.",
            "sections 4.1 and 5.1.1",
            {
                "each image": {},
                "data set": {"normalisation": "dataset"},
                "voxel position": {"normalisation": "position"},
            },
        ),
        Comparison(
            "intensity",
            "Does a random shift and scaling of intensities help?",
            "It adds complexity and noise.",
            "section 4.1",
            {"none": {}, "up to 0.1": {"intensity": 0.1}},
        ),
        Comparison(
            "focal",
            "Does focal loss raise the precision?",
            "Added to the Dice loss, it should (future work).",
            "section 6",
            {"Dice": {}, "Dice and focal": {"loss": "dice_focal"}},
        ),
        Comparison(
            "mirroring",
            "Should an axis be mirrored three times out of four, or every other time?",
            "Probability 0.75 on each axis is sufficient augmentation.",
            "section 5.1.1",
            {"p = 0.75": {}, "p = 0.5": {"flips": 0.5}},
        ),
        Comparison(
            "tile",
            "Does it matter in how large tiles a volume is predicted?",
            "It predicts crops of the size of training alone; the network itself takes any size.",
            "section 5.1.1",
            {
                "as in training": {},
                "16 voxels larger": {"tile_size": tuple(size + 16 for size in fields["patch_size"])},
            },
        ),
    )


def choice(name: str, profile: str) -> Comparison:
    """:data:`VAE`, :data:`SE`, or one of :func:`choices`, by its name."""
    return next(one for one in (VAE, SE, *choices(profile)) if one.name == name)


def runs(
    comparison: Comparison,
    profile: str,
    folds: Iterable[int] | None = None,
    seeds: Iterable[int] | None = None,
    **changes: Any,
) -> dict[str, list[Experiment]]:
    """The experiments of each variant, by label.

    Args:
        folds, seeds: None for those of the profile: all of them for :data:`VAE` and :data:`SE`, and for anything else
            the two folds of a screening.
        changes: hold for all variants, and a variant's own go before them; None keeps the scale's own.
    """
    if comparison not in (VAE, SE):
        elsewhere = profile in scales.ON_HIPPOCAMPUS and changes.get("cohort") in (None, HIPPOCAMPUS["cohort"])
        on_hippocampus = elsewhere and comparison.name not in GLIOMAS_ALONE
        seeds = SCREENED_SEEDS.get(profile) if seeds is None else seeds
        folds, changes = screened(
            profile, folds, changes, HIPPOCAMPUS if on_hippocampus else SCREENING.get(profile, {})
        )
    folds, seeds = as_tuple(folds), as_tuple(seeds)
    return {
        label: scales.paper_a(profile, folds, seeds, **changes | dict(variant))
        for label, variant in comparison.variants.items()
    }


def rescued(**changes: Any) -> dict[str, list[Experiment]]:
    """The two variants whose short runs lost a channel, and their base, initialised so that none is lost; by label.

    The same schedule, folds and seeds, with an output that begins small. The original order of layers, whose residual
    stream nothing normalises, has smaller weights and half the rate: at all of it one run of four marked nothing.
    """
    begun = {"output_gain": scales.OUTPUT_GAIN, "composition": "seconded"} | changes
    original = {"order": "norm-act-conv", "init": "torch", "learning_rate": 1e-3}
    blocks = {"blocks": (2, 2, 2, 4)}
    variants = {"the paper's network": {}, "2, 2, 2, 4 blocks": blocks, "norm, ReLU, conv": original}
    folds, fields = screened(scales.FIRST, None, begun, SCREENING[scales.FIRST])
    return {label: scales.paper_a(scales.FIRST, folds, **fields | variant) for label, variant in variants.items()}


def screened(
    profile: str, folds: Iterable[int] | None, changes: Mapping[str, Any], screening: Mapping[str, Any]
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """The folds and changes of a screening; what the caller sets, not None, takes precedence."""
    chosen = {name: value for name, value in changes.items() if value is not None}
    return SCREENED_FOLDS[profile] if folds is None else tuple(folds), {**screening, **chosen}


def as_tuple(values: Iterable[int] | None) -> tuple[int, ...] | None:
    """The values as a tuple, which can be iterated once for each variant; None stays None."""
    return None if values is None else tuple(values)


def _crops(fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """One crop against three at equal numbers of steps: epochs and warm-up are a third as long, or three times.

    Where an epoch is a number of steps, one and three crops that are kept are compared, and both with new ones.
    """
    if fields.get("batches"):  # an epoch is a number of steps, however many crops there are
        three = {"crops": 3, "fixed_crops": True}
        new = {} if not fields.get("fixed_crops") else {"crops": 1, "fixed_crops": False}
        return {"1 crop, new": new, "1 crop, fixed": {"crops": 1, "fixed_crops": True}, "3 crops, fixed": three}

    def schedule(factor: float) -> dict[str, int]:
        return {name: max(1, round(fields[name] * factor)) for name in ("epochs", "warmup") if fields.get(name)}

    if fields.get("crops", 1) == 3:
        one = {"crops": 1} | schedule(3)
        return {"3 crops, new": {}, "1 crop, new": one, "3 crops, fixed": {"fixed_crops": True}}
    three = {"crops": 3} | schedule(1 / 3)
    return {"1 crop, new": {}, "3 crops, new": three, "3 crops, fixed": three | {"fixed_crops": True}}
