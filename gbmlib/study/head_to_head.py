"""The factorial on which the two papers disagree: three networks, each under the pipelines of both.

Adeniji and Liu (2019, "Paper A") change an architecture; Isensee et al. (2018, "Paper B") keep a plain U-Net and change
all that is around it. Here every network is trained under both pipelines, on the same cases, folds and seeds. A
*pipeline* is the grid and its resampling, normalisation, patch, augmentation, loss with its regions, schedule and
inference. A *network* is the architecture with its own options; of the encoder-decoder with a VAE branch the branch and
the two terms of its loss are part, at the paper's weights whatever segmentation loss they are added to.

Three of the six cells are published elsewhere in the study and are the very same runs: the V-Net and Paper A's network
under pipeline A (``study.scales``), the planned 3D U-Net under pipeline B
(``study.nnunet``). The three others follow from three rules:

- *Everything that is not the network's comes from the pipeline's own run*, but for patch and rate, below. Pipeline A is
  that of Paper A's network, its penalty on the kernels included. (The V-Net under it keeps the baseline's chapter's
  schedule, which is longer, and has no penalty.)
- *The patch* is the nearest one that the network can take, rounded axis by axis; of two that are as near the larger. At
  3 mm both pipelines' patches fit every network as they are.
- *The learning rate* at the study's scale goes with the network: of those that were tried at home the best, or one
  within 0.002 Dice of it. In the short runs it is the pipeline's, but for networks that do not learn with it
  (:data:`OWN_RATE`): these keep their own, or the best one that was tried (:data:`TRIED_RATES`). Warm-up takes the same
  share of the epochs as at home.

At the study's scale all cells train on patches of one size and on equally many voxels, pipeline A on one patch a step
and pipeline B on two, and the V-Net is there twice: as published, and with the normalisation that the other networks
have. In the short runs the pipelines differ in their numbers of steps and of voxels, and so does the V-Net.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gbmlib.study import ablations, nnunet, nnunet_ablations, scales
from gbmlib.training.configuration import Experiment
from gbmlib.training.schedules import PLATEAUS

#: The V-Net, Paper A's encoder-decoder with its VAE branch, and the planned 3D U-Net.
NETWORKS = ("V-Net", "SegVAE", "U-Net")

#: Those that both papers put forward. The V-Net is older, and in the short runs so far behind that it answers for them.
WITHOUT_VNET = NETWORKS[1:]

#: The V-Net with instance norm, a fourth network at the scales that have it (``study.scales.NORMALISED_VNET``).
NORMALISED = "V-Net, normalised"
PIPELINES = ("A", "B")

#: Whose run a pipeline is taken from.
AT_HOME = {"A": "SegVAE", "B": "U-Net"}

#: The cells that other chapters publish.
PUBLISHED_ELSEWHERE = (("V-Net", "A"), ("SegVAE", "A"), ("U-Net", "B"))

#: Fields of a configuration that go with the network, wherever it is trained.
OF_NETWORK = ("model", "options", "reconstruction_weight", "kl_weight", "kl_voxels")

#: Networks that do not learn at a foreign pipeline's rate. On fold 2 of the study the V-Net, which has no
#: normalisation, diverged within 100 steps under pipeline B at its 3e-3, and at 3e-4 too. The two others learnt at the
#: foreign rate from the first epoch on: Paper A's network at 3e-3, the U-Net under pipeline A at 2e-3.
OWN_RATE = ("V-Net",)

#: Their rates where their own was not the best, by (network, pipeline) and scale. On fold 2 of the study the V-Net's
#: own 3e-5 was too small for the 400 steps of pipeline B: mean Dice of 0.40 over WT, TC and ET, 0.50 with 1e-4; it
#: diverged with 3e-4.
TRIED_RATES = {("V-Net", "B"): {"short": 1e-4}}

#: What the learning rate of each network at home is multiplied by, so that those of all are searched alike. The V-Net
#: as published diverged at three times its own (:data:`TRIED_RATES`) and is searched below it.
SEARCHED = (1 / 3, 1, 3)
SEARCHED_BELOW = (1 / 9, 1 / 3, 1)

#: Cells that are trained twice as long as the others at a scale, the shortest schedule at which training twice as long
#: changes nothing. With the others' 1,440 steps the U-Net under pipeline A was far from that: 2,880 raised its Dice on
#: the pilot's fold from 0.674 to 0.776.
LONGER = {"study": (("U-Net", "A"),)}

Cells = dict[tuple[str, str], list[Experiment]]


def named(cell: tuple[str, str]) -> str:
    """A network and a pipeline in words: ``V-Net under pipeline A``."""
    return " under pipeline ".join(cell)


def cells(
    profile: str, folds: Iterable[int] | None = None, seeds: Iterable[int] | None = None, **changes: Any
) -> Cells:
    """The runs of every cell, by (network, pipeline): a run for each fold and seed.

    Args:
        folds, seeds: None for the folds of the profile, and seed 0.
        changes: fields of ``training.configuration.Experiment`` for all cells, such as ``cohort`` or ``spacing``;
            ``regions`` and ``flips`` reach pipeline A alone: the other decides them itself. None keeps the scale's own.
    """
    folds = scales.FOLDS[profile] if folds is None else tuple(folds)
    seeds = (0,) if seeds is None else tuple(seeds)
    changes = {name: value for name, value in changes.items() if value is not None}
    patch = {"patch_size": scales.SCALES[profile]["patch_size"]} if profile in scales.NORMALISED_VNET else {}
    at_home = {
        "V-Net": [e for seed in seeds for e in scales.vnet(profile, folds, seed=seed, **changes)],
        "SegVAE": scales.paper_a(profile, folds, seeds, **changes),
        "U-Net": nnunet.glioma(profile, 3, folds, seeds, **patch | changes),
    }
    if profile in scales.NORMALISED_VNET:
        normalised = [e for seed in seeds for e in scales.vnet(profile, folds, norm="instance", seed=seed, **changes)]
        at_home[NORMALISED] = normalised
    longer = () if "epochs" in changes else LONGER.get(profile, ())
    crossed = _crossed(profile, at_home)
    return {cell: list(map(scales.doubled, runs)) if cell in longer else runs for cell, runs in crossed.items()}


def _crossed(profile: str, at_home: Mapping[str, Sequence[Experiment]]) -> Cells:
    """Every network under both pipelines, from its runs at home."""
    at_home_in_a = {cell[0] for cell in PUBLISHED_ELSEWHERE if cell[1] == "A"} | {NORMALISED}
    return {
        (network, pipeline): runs
        if (network, pipeline) in PUBLISHED_ELSEWHERE or (network in at_home_in_a and pipeline == "A")
        else [
            under(run, foreign, _rate(network, pipeline, profile, run))
            for run, foreign in zip(runs, at_home[AT_HOME[pipeline]], strict=True)
        ]
        for network, runs in at_home.items()
        for pipeline in PIPELINES
    }


def without_vnet(profile: str, **changes: Any) -> Cells:
    """:func:`cells` of the networks that both papers put forward."""
    return {cell: runs for cell, runs in cells(profile, **changes).items() if cell[0] in WITHOUT_VNET}


def of_hippocampus(profile: str) -> Cells:
    """:func:`without_vnet` for the 260 hippocampi, at the scales that ask choices of them, and on the grid of those.

    Each network is at home what the single choices start from (``ablations``, ``nnunet_ablations``), but that pipeline
    B averages over mirrorings, which is part of it, and shares the other's resampling, as for gliomas.
    """
    if profile not in scales.ON_HIPPOCAMPUS:
        return {}
    folds = scales.FOLDS[profile]
    at_home = {
        "SegVAE": scales.paper_a(profile, folds, **ablations.HIPPOCAMPUS),
        "U-Net": nnunet.hippocampus(profile, 3, folds, **nnunet_ablations.HIPPOCAMPUS, resampling="average"),
    }
    return _crossed(profile, at_home)


def by_label(profile: str, make: Callable[..., Cells] = cells, **changes: Any) -> dict[str, list[Experiment]]:
    """:func:`cells`, or :func:`of_hippocampus`, by :func:`named` label."""
    return {named(cell): runs for cell, runs in make(profile, **changes).items()}


def rates(profile: str, **changes: Any) -> dict[str, list[Experiment]]:
    """The search that makes the learning rates of the networks comparable, at the scales that have it: each network at
    home and at the schedule of most cells, on the pilot's fold, at several rates in ascending order, by its name."""
    if profile not in scales.NORMALISED_VNET:
        return {}
    of_study = {} if changes else of_hippocampus(profile)
    changes = {"epochs": scales.SCALES[profile]["epochs"]} | changes
    pilots = cells(profile, (scales.PILOT["fold"],), (scales.PILOT["seed"],), **changes)
    at_home = {cell[0]: pilots[cell][0] for cell in (*PUBLISHED_ELSEWHERE, (NORMALISED, "A")) if pilots.get(cell)}
    for pipeline, network in AT_HOME.items() if of_study else ():
        at_home[f"{network}, hippocampus"] = of_study[network, pipeline][scales.PILOT["fold"]]
    return {
        network: [
            run.changed(learning_rate=float(f"{factor * run.learning_rate:.2g}"))
            for factor in (SEARCHED_BELOW if network in OWN_RATE else SEARCHED)
        ]
        for network, run in at_home.items()
    }


def _rate(network: str, pipeline: str, profile: str, at_home: Experiment) -> float | None:
    """The learning rate of a network that keeps its own under a foreign pipeline; None for all others."""
    if profile in scales.NORMALISED_VNET:
        return at_home.learning_rate
    tried = TRIED_RATES.get((network, pipeline), {})
    return tried.get(profile, at_home.learning_rate) if network in OWN_RATE else None


def under(network: Experiment, pipeline: Experiment, learning_rate: float | None = None) -> Experiment:
    """The network of one configuration, trained and applied as another one is.

    ``learning_rate``: None for the pipeline's. Any other comes with the share of warm-up that the network's own
    schedule has, as far as the pipeline's schedule knows any.
    """
    fields: dict[str, Any] = {name: getattr(network, name) for name in OF_NETWORK}
    # How an output begins goes with the loss: small under sigmoids, as it is under a softmax.
    gain = {name: pipeline.options[name] for name in ("output_gain",) if name in pipeline.options}
    fields["options"] = {name: value for name, value in network.options.items() if name != "output_gain"} | gain
    fields["patch_size"] = nearest(pipeline.patch_size, network.divisors[0])
    if learning_rate is not None:
        fields["learning_rate"] = learning_rate
        if pipeline.schedule not in PLATEAUS:
            fields["warmup"] = round(network.warmup * pipeline.epochs / network.epochs)
    return pipeline.changed(**fields)


def nearest(patch_size: Sequence[int], divisors: Sequence[int]) -> tuple[int, int, int]:
    """The patch (z, y, x) with each size rounded to a multiple of its divisor, halves up, at least one multiple."""
    return tuple(max(1, (2 * size + n) // (2 * n)) * n for size, n in zip(patch_size, divisors, strict=True))
