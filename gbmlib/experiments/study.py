"""The experiments that the chapters show, at each scale of the study.

``demo`` runs while the book is built, on the phantom cohort: it shows the machinery and gives no verdict. ``study``
runs real cases at a reduced resolution in CPU hours; ``paper`` is the scale of the papers, for a graphics card.
``test`` is as small as can be, for the tests of the chapters themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from gbmlib import models
from gbmlib.cohorts import Cohort
from gbmlib.configuration import Experiment
from gbmlib.losses import PAPER_VOXELS

PROFILES = ("test", "demo", "study", "paper")

#: Which folds a chapter runs at each scale when nobody says.
FOLDS = {"test": (0,), "demo": (0,), "study": (0, 1, 2, 3, 4), "paper": (0, 1, 2, 3, 4)}

#: What the chapter on the data looks at: finer phantoms than a laptop would train on.
LOOK = {
    "test": "phantom:cases=4,spacing=6,seed=0",
    "demo": "phantom:cases=16,spacing=1.5,seed=0",
    "study": "brats2018-19",
    "paper": "brats2018-19",
}

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
        "folds": 4,
        "epochs": 16,
        "learning_rate": 2e-4,
        "warmup": 4,
    },
    "study": {
        "cohort": "brats2018-19",
        "spacing": 3,
        "patch_size": (48, 64, 48),
        "folds": 5,
        "epochs": 60,
        "learning_rate": 3e-5,
        "warmup": 10,
        "precision": "bfloat16",
    },
    # Sections 3.2.4, 4.2 and 5.1 of Adeniji and Liu: three crops of 144 x 144 x 128 (x, y, z) a case, a warm-up from
    # 1e-6 to 1e-5 over ten epochs, at most 300 epochs with early stopping; its patience of ten is the code's.
    "paper": {
        "cohort": "brats2018-19",
        "spacing": None,
        "patch_size": (128, 144, 144),
        "folds": 5,
        "epochs": 300,
        "crops": 3,
        "learning_rate": 1e-5,
        "warmup": 10,
        "patience": 10,
        "precision": "bfloat16",
    },
}


def fast_precision() -> str:
    """Mixed precision where the processor computes in it, where it is faster; where it does not, it
    would only be emulated. For demonstrations alone: what a verdict rests on does not depend on the machine."""
    capable = getattr(torch.cpu, "get_capabilities", dict)()
    return "bfloat16" if capable.get("avx512_bf16") or capable.get("amx_bf16") else "float32"


#: What Adeniji and Liu's network has at each scale beside or in place of :data:`SCALES`. Its crop, 144 x 144 x 128 mm,
#: is 48 voxels a side at 3 mm, where the network needs multiples of 16. Whole volumes are predicted in tiles of that
#: size, although the network takes any: its group norms average over a whole tile, and larger ones hold more background
#: (the comparison "tile"). N of equation 5 stays the paper's, since at 3 mm the voxels of a patch are 24 times fewer,
#: which would weigh the KL term 24 times more. 24 epochs of 15 cases are 365
#: steps, where the paper takes 780 in each of its epochs: hence a learning rate two hundred times the paper's.
PAPER_A: dict[str, dict[str, Any]] = {
    "test": {"warmup": 1},
    "demo": {
        "patch_size": (48, 48, 48),
        "epochs": 10,
        "learning_rate": 2e-3,
        "warmup": 2,
        "precision": fast_precision(),
    },
    "study": {
        "patch_size": (48, 48, 48),
        "epochs": 24,
        "learning_rate": 2e-3,
        "warmup": 4,
        "threads": 1,
    },
    "paper": {},
}

#: Seeds that the comparisons of whole networks are repeated with.
SEEDS = {"test": (0,), "demo": (0,), "study": (0, 1), "paper": (0,)}

#: Fewer filters where a reader waits for the result.
SMALLER = {"test": {"filters": 4}, "demo": {"filters": 8}}


def vnet(profile: str, folds: Iterable[int] = (0,), **changes: Any) -> list[Experiment]:
    """The V-Net baseline, one run a fold; ``changes`` are fields of :class:`Experiment`, None keeps the scale's own.

    Features are forwarded by addition, as Adeniji and Liu (2019, section 2.1) describe the baseline they compare with.
    The small scales have fewer filters than the published 16.
    """
    options = {"forwarding": "add"} | SMALLER.get(profile, {})
    fields = {"model": "vnet", "options": options} | SCALES[profile]
    fields |= {name: value for name, value in changes.items() if value is not None}
    return [Experiment(**fields, fold=fold) for fold in folds]


def paper_a(
    profile: str, folds: Iterable[int] | None = None, seeds: Iterable[int] | None = None, **changes: Any
) -> list[Experiment]:
    """Adeniji and Liu's network and training (sections 3 to 5), a run for each fold and seed.

    Args:
        folds, seeds: None for those of the profile.
        changes: options of the network (:class:`gbmlib.models.autoencoder.SegVAE`) and fields of :class:`Experiment`
            alike; None keeps the scale's own.
    """
    chosen = {name: value for name, value in changes.items() if value is not None}
    known = models.options_of("segvae")
    fields = {"model": "segvae", "l2": 1e-5, "kl_voxels": PAPER_VOXELS} | SCALES[profile] | PAPER_A[profile]
    options = {"filters": 8} if profile in SMALLER else {}  # the least that its group norms can divide
    fields |= {name: value for name, value in chosen.items() if name not in known}
    fields["options"] = options | {name: value for name, value in chosen.items() if name in known}
    folds = FOLDS[profile] if folds is None else folds
    seeds = SEEDS[profile] if seeds is None else seeds
    return [Experiment(**fields | {"fold": fold, "seed": seed}) for seed in seeds for fold in folds]


def phantom_to_real() -> Experiment:
    """A V-Net that has seen phantoms alone, measured on the real cases: what the phantom has in common with them."""
    phantoms = "phantom:cases=60,spacing=3,seed=1"
    return vnet("study", folds=(0,), cohort=phantoms, elsewhere=("brats2018-19",), epochs=16)[0]


def asked(settings: Any, cohort: Cohort) -> dict[str, Any]:
    """The fields of :class:`Experiment` that a chapter's parameters and its cohort set, for :func:`vnet`.

    Where the parameters leave it open, the channels are T1ce and FLAIR if the cohort has them and all it has otherwise,
    and the regions are the nested ones for a glioma and the labels themselves for anything else.

    A tumour may lie anywhere, other anatomy has a front and a back: mirrored with the first paper's probability of
    0.75, it is seen the wrong way round three times out of four, and the network takes that for the rule (it exchanged
    the anterior and the posterior hippocampus of held-out cases). There each axis is mirrored with probability 0.5.
    """
    fields = {name: value for name, value in vars(settings).items() if name in Experiment.model_fields}
    fields["cohort"] = cohort.name
    usual = Experiment.model_fields["modalities"].default
    fields["modalities"] = settings.modalities or (usual if set(usual) <= set(cohort.modalities) else cohort.modalities)
    if fields.get("regions") is None:
        fields["regions"] = "brats" if cohort.is_glioma else "labels"
    if not cohort.is_glioma:
        fields["flips"] = 0.5
    return {name: value for name, value in fields.items() if name != "folds"}
