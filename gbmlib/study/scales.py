"""The experiments that the chapters show, at each scale of the study.

``demo`` is what a chapter trains unless told otherwise, on phantoms: it shows the machinery and gives no verdict.
``study`` trains on real cases at a reduced resolution, in CPU hours, until more training no longer helps; ``paper`` is
the scale of the papers, for a graphics card. ``short`` is what ``study`` was at first: the same cases, trained a
quarter as long or less, which decides little. ``test`` is as small as can be, for the tests of the chapters themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gbmlib import models
from gbmlib.cohorts import Cohort
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble
from gbmlib.training.losses import PAPER_VOXELS

PROFILES = ("test", "demo", "short", "study", "paper")

#: The scale whose verdicts count, and that commands run unless told otherwise.
DEFAULT = "study"

#: The scales whose records are published, the largest first, and the one whose came first.
PUBLISHED = ("paper", "study", "short")
FIRST = PUBLISHED[-1]

#: The scales whose networks are as they were first published; the others came later, and begin and average better.
AS_FIRST_PUBLISHED = ("test", "short")

#: The scales at which choices that are not about gliomas alone are asked of the hippocampus.
ON_HIPPOCAMPUS = ("study",)

#: The scales at which the V-Net with a normalisation stands beside the one as published.
NORMALISED_VNET = ("study",)

#: The fold and the seed of the runs that are trained twice as long, and at several rates.
PILOT = {"fold": 4, "seed": 0}

#: Which folds a chapter runs at each scale when nobody says.
FOLDS = {"test": (0,), "demo": (0,), **dict.fromkeys(("short", "study", "paper"), (0, 1, 2, 3, 4))}

#: What the chapter on the data looks at: finer phantoms than a laptop would train on.
LOOK = {
    "test": "phantom:cases=4,spacing=6,seed=0",
    "demo": "phantom:cases=16,spacing=1.5,seed=0",
    **dict.fromkeys(("short", "study", "paper"), "brats2018-19"),
}

#: The cohort of other hospitals that every network for gliomas is measured on (:func:`external`).
EXTERNAL = "brats2021-11"

#: How much smaller the output's initial weights are than Glorot's where each channel has a sigmoid, so that none begins
#: by marking everything (``models.blocks.small_output``): one short run in six, begun without it, lost a
#: channel. A softmax does without: begun so, a U-Net under Paper B's pipeline never told two classes apart.
OUTPUT_GAIN = 0.05

#: What each scale fixes; a chapter's parameters override it field by field.
SCALES: dict[str, dict[str, Any]] = {
    "test": {
        "cohort": "phantom:cases=4,spacing=6,seed=0",
        "spacing": 6,
        "patch_size": (32, 32, 32),
        "folds": 2,
        "epochs": 2,
        "learning_rate": 1e-3,
        "threads": 1,
    },
    "demo": {
        "cohort": "phantom:cases=16,spacing=3,seed=0",
        "spacing": 3,
        "patch_size": (48, 64, 48),
        "composition": "seconded",
        "folds": 4,
        "epochs": 16,
        "learning_rate": 2e-4,
        "warmup": 4,
    },
    "short": {
        "cohort": "brats2018-19",
        "spacing": 3,
        "patch_size": (48, 64, 48),
        "folds": 5,
        "epochs": 60,
        "learning_rate": 3e-5,
        "warmup": 10,
        "precision": "bfloat16",
    },
    "study": {
        "cohort": "brats2018-19",
        "spacing": 3,
        "cropping": "none",
        "composition": "seconded",
        "patch_size": (48, 48, 48),
        "folds": 5,
        "draws": "seed and fold",
        "epochs": 24,
        "batches": 60,
        "learning_rate": 1e-3,
        "warmup": 2,
        "precision": "bfloat16",
        "threads": 1,
    },
    # Sections 3.2.4, 4.2 and 5.1 of Adeniji and Liu: three crops of 144 x 144 x 128 (x, y, z) a case, taken once out of
    # the whole volume; a warm-up from 1e-6 to 1e-5 over ten epochs, at most 300 epochs, early stopping on the crops of
    # validation; its patience of ten is the code's. An epoch is the 780 steps of its 260 cases, however many there are.
    "paper": {
        "cohort": "brats2018-19",
        "spacing": None,
        "patch_size": (128, 144, 144),
        "folds": 5,
        "cropping": "none",
        "composition": "seconded",
        "draws": "seed and fold",
        "epochs": 300,
        "batches": 780,
        "crops": 3,
        "fixed_crops": True,
        "learning_rate": 1e-5,
        "warmup": 10,
        "patience": 10,
        "watched": "crops_loss",
        "precision": "bfloat16",
    },
}


#: What Adeniji and Liu's network has at each scale beside or in place of :data:`SCALES`. Its crop, 144 x 144 x 128 mm,
#: is 48 voxels a side at 3 mm, where the network needs multiples of 16. Whole volumes are predicted in tiles of that
#: size, although the network takes any: its group norms average over a whole tile, and larger ones hold more background
#: (the comparison "tile"). N of equation 5 stays the paper's, since at 3 mm the voxels of a patch are 24 times fewer,
#: which would weigh the KL term 24 times more. A processor has time for two of the paper's epochs of 780 steps: hence a
#: learning rate some hundred times the paper's.
PAPER_A: dict[str, dict[str, Any]] = {
    "test": {"warmup": 1},
    "demo": {
        "patch_size": (48, 48, 48),
        "epochs": 24,
        "learning_rate": 2e-3,
        "warmup": 2,
        "precision": "fast",
        "threads": 1,
    },
    "short": {
        "patch_size": (48, 48, 48),
        "epochs": 24,
        "learning_rate": 2e-3,
        "warmup": 4,
        "threads": 1,
    },
    "study": {"learning_rate": 2e-3},
    "paper": {},
}

#: Seeds that the comparisons of whole networks are repeated with.
SEEDS = {"test": (0,), "demo": (0,), "short": (0, 1), "study": (0,), "paper": (0,)}

#: The baseline as published has no normalisation, and learns at small rates alone; with instance norm it takes those of
#: the other networks.
VNET_RATES: dict[str, dict[str, float]] = {"study": {"none": 1e-4, "instance": 1e-3}}

#: Those that are trained twice as long at a scale. With instance norm 1,440 steps are too few: 2,880 raised Dice on the
#: pilot's fold from 0.692 to 0.743, and 5,760 by 0.015 more.
VNET_LONGER = {"study": ("instance",)}

#: Fewer filters where a reader waits for the result.
SMALLER = {"test": {"filters": 4}, "demo": {"filters": 8}}


def of_folds(fields: Mapping[str, Any], folds: Iterable[int]) -> list[dict[str, Any]]:
    """The fields of :class:`Experiment` for each fold; ``n_folds`` among them is how many folds there are in place of
    the scale's own number, and those beyond it are left out."""
    n_folds = fields.get("n_folds")
    fields = {name: value for name, value in fields.items() if name != "n_folds"}
    if n_folds is None:
        return [{**fields, "fold": fold} for fold in folds]
    if n_folds < 2:
        raise ValueError(f"{n_folds} folds: one to hold out and one to train on are the least")
    return [{**fields, "folds": n_folds, "fold": fold} for fold in folds if fold < n_folds]


def vnet(profile: str, folds: Iterable[int] = (0,), norm: str = "none", **changes: Any) -> list[Experiment]:
    """The V-Net baseline, one run a fold; ``changes`` are fields of :class:`Experiment` and ``n_folds``, None keeps the
    scale's own.

    Features are forwarded by addition, as Adeniji and Liu (2019, section 2.1) describe the baseline they compare with.
    The small scales have fewer filters than the published 16.

    Args:
        norm: ``"none"`` as published, or ``"instance"``.
    """
    options = {"forwarding": "add", "norm": norm} | SMALLER.get(profile, {}) | _output_gain(profile)
    fields = {"model": "vnet", "options": options} | SCALES[profile]
    if norm in (rates := VNET_RATES.get(profile, {})):
        fields["learning_rate"] = rates[norm]
    fields |= {name: value for name, value in changes.items() if value is not None}
    runs = [Experiment(**one) for one in of_folds(_fitting(fields), folds)]
    longer = norm in VNET_LONGER.get(profile, ()) and not changes.get("epochs")
    return list(map(doubled, runs)) if longer else runs


def _output_gain(profile: str) -> dict[str, float]:
    """The initial output gain of networks with sigmoids; no option at scales that stay as first published."""
    return {} if profile in AS_FIRST_PUBLISHED else {"output_gain": OUTPUT_GAIN}


def _fitting(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, with the composition of nested regions only where regions are nested."""
    return fields if fields.get("regions", "brats") == "brats" else {**fields, "composition": "innermost"}


def paper_a(
    profile: str, folds: Iterable[int] | None = None, seeds: Iterable[int] | None = None, **changes: Any
) -> list[Experiment]:
    """Adeniji and Liu's network and training (sections 3 to 5), a run for each fold and seed.

    Args:
        folds, seeds: None for those of the profile.
        changes: options of the network (``models.segvae.SegVAE``), fields of :class:`Experiment` and ``n_folds``
            alike; None keeps the scale's own.
    """
    chosen = {name: value for name, value in changes.items() if value is not None}
    names = models.options_of("segvae")
    fields = {"model": "segvae", "l2": 1e-5, "kl_voxels": PAPER_VOXELS} | SCALES[profile] | PAPER_A[profile]
    options = {"filters": 8} if profile in SMALLER else {}  # the least that its group norms can divide
    options |= _output_gain(profile)
    fields |= {name: value for name, value in chosen.items() if name not in names}
    fields["options"] = options | {name: value for name, value in chosen.items() if name in names}
    folds = FOLDS[profile] if folds is None else folds
    seeds = SEEDS[profile] if seeds is None else seeds
    return [Experiment(**one | {"seed": seed}) for seed in seeds for one in of_folds(_fitting(fields), folds)]


def doubled(experiment: Experiment) -> Experiment:
    """The same run trained twice as long: whether more training still helps."""
    return experiment.changed(epochs=2 * experiment.epochs, warmup=2 * experiment.warmup)


def external(runs: Sequence[Experiment]) -> dict[str, list[Ensemble]]:
    """The networks of all folds measured on :data:`EXTERNAL`, which none has seen: each by itself, and averaged."""
    members = {"single": [(run,) for run in runs], "averaged": [tuple(runs)]}
    return {kind: [Ensemble(members=group, elsewhere=EXTERNAL) for group in groups] for kind, groups in members.items()}


def phantom_to_real() -> Experiment:
    """A V-Net that has seen phantoms alone, measured on the real cases: what the phantom has in common with them."""
    phantoms = "phantom:cases=60,spacing=3,seed=1"
    return vnet("short", folds=(0,), cohort=phantoms, elsewhere=("brats2018-19",), epochs=16)[0]


def asked(settings: Any, cohort: Cohort) -> dict[str, Any]:
    """The fields of :class:`Experiment` that follow from a reader's parameters and the cohort.

    Where the parameters leave it open, the channels are T1ce and FLAIR if the cohort has them and all it has otherwise,
    and the regions are the nested ones for a glioma and the labels themselves for anything else. Computed tomography is
    normalised as such.

    A tumour may lie anywhere, other anatomy has a front and a back: mirrored with the first paper's probability of
    0.75, it is seen the wrong way round three times out of four, and the network takes that for the rule (it exchanged
    the anterior and the posterior hippocampus of held-out cases). There each axis is mirrored with probability 0.5.
    """
    names = {*Experiment.model_fields, "n_folds"} - {"folds"}  # which of them to run is asked elsewhere
    fields = {name: value for name, value in vars(settings).items() if name in names}
    fields["cohort"] = cohort.name
    usual = Experiment.model_fields["modalities"].default
    fitting = usual if set(usual) <= set(cohort.modalities) else cohort.modalities
    fields["modalities"] = tuple(settings.modalities or fitting)
    if ct := cohort.tomographic & set(fields["modalities"]):
        fields["normalisation"] = tuple("ct" if name in ct else "image" for name in fields["modalities"])
    if fields.get("regions") is None:
        fields["regions"] = "brats" if cohort.is_glioma else "labels"
    if not cohort.is_glioma:
        fields["flips"] = 0.5
    return {name: value for name, value in fields.items() if value is not None}
