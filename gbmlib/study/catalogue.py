"""All runs that the book shows: chapters, claims, the command line, the honesty page and packs read them here.

A *family* answers one question. Half of it decides nothing, so families are run whole, the most valuable first.
Families of single choices form a set, ``choices/kernel`` and ``choices/norm`` the set ``choices``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from gbmlib.files import did_you_mean
from gbmlib.study import ablations, code_differences, cross_validation, head_to_head, nnunet, nnunet_ablations, scales
from gbmlib.study.records import BOOK, RUNS, Record, Store
from gbmlib.study.runner import Run, cohorts_of
from gbmlib.training.configuration import Experiment

Runs = Mapping[Any, Sequence[Run]]

#: The cohorts that the published runs were made on. Any other takes the place of the gliomas.
COHORTS = ("brats2018-19", scales.EXTERNAL, nnunet.HIPPOCAMPUS_COHORT)


@dataclass(frozen=True, eq=False)
class Family:
    """Runs that answer one question.

    Attributes:
        name: as the command line and ``book/claims.yml`` call it.
        title: as tables call it; those of a set share one. Empty for what other families hold already.
        chapter: the notebook that shows it.
        make: from a scale to the runs of each variant, by label.
        gliomas: whether ``make`` also takes the ``cohort`` of a reader in place of the study's gliomas.
        comparison: what the paper says of a single choice; None for other families.
    """

    name: str
    title: str
    chapter: str
    make: Callable[..., Runs]
    gliomas: bool = True
    comparison: ablations.Comparison | None = None

    @property
    def set(self) -> str:
        """The set that it belongs to, or its own name."""
        return self.name.partition("/")[0]


def _twice(profile: str) -> Runs:
    """The cells of both heads to heads trained twice as long, on the pilot's fold: whether their schedules suffice."""
    cells = {"gliomas": head_to_head.by_label(profile)} if profile in scales.NORMALISED_VNET else {}
    cells |= {"hippocampus": head_to_head.by_label(profile, head_to_head.of_hippocampus)} if cells else {}
    return {
        f"{label}, {where}": [scales.doubled(run) for run in runs if run.fold == scales.PILOT["fold"]]
        for where, of in cells.items()
        for label, runs in of.items()
    }


def _external(profile: str) -> Runs:
    """Every network of the head to head on another cohort, single and averaged over its folds. The first short runs
    were not kept for that."""
    cells = head_to_head.by_label(profile) if profile in scales.NORMALISED_VNET else {}
    return {f"{label}, {kind}": runs for label, cell in cells.items() for kind, runs in scales.external(cell).items()}


def _vnet(profile: str, **changes: Any) -> Runs:
    """The V-Net as published and, where the scale has it, normalised."""
    norms = {"V-Net": "none"}
    if profile in scales.NORMALISED_VNET:
        norms[head_to_head.NORMALISED] = "instance"
    make = partial(scales.vnet, profile, scales.FOLDS[profile], **changes)
    return {
        label: [run for seed in scales.SEEDS[profile] for run in make(norm=norm, seed=seed)]
        for label, norm in norms.items()
    }


def _baseline(profile: str, **changes: Any) -> Runs:
    return {**_vnet(profile, **changes), "Paper A": scales.paper_a(profile, **changes)}


def _penalty(profile: str, **changes: Any) -> Runs:
    return {
        "with penalty": scales.paper_a(profile, **changes),
        "without penalty": scales.paper_a(profile, l2=0.0, **changes),
    }


def _simple_augmentation(profile: str, **changes: Any) -> Runs:
    """The first paper's network with its own augmentation, with none, and with all of the second paper's."""
    return {
        "mirroring": scales.paper_a(profile, **changes),
        "none": scales.paper_a(profile, **changes | {"flips": 0.0}),
        "all of paper B's": scales.paper_a(profile, **changes | {"augmentation": "nnunet", "flips": None}),
    }


def _softmax(profile: str) -> Runs:
    """The first paper's network for exclusive labels, with a sigmoid for each and with a softmax, the Dice the same."""
    if profile not in scales.ON_HIPPOCAMPUS:
        return {}
    make = partial(scales.paper_a, profile, **ablations.HIPPOCAMPUS)
    return {"sigmoids": make(), "softmax": make(loss="softmax_dice_squared", output_gain=1.0)}


def _gliomas(profile: str, **changes: Any) -> Runs:
    return cross_validation.everything(cross_validation.networks(profile, **changes), profile)


def _hippocampus(profile: str) -> Runs:
    return cross_validation.everything(cross_validation.of_hippocampus(profile), profile)


def _slices(profile: str, **changes: Any) -> Runs:
    """The sweep over slice thickness; the thickest slices and cubes have labels that all scales share."""
    names = {nnunet_ablations.THICKNESS[profile][-1]: "thickest slices", nnunet_ablations.IN_PLANE[profile]: "cubes"}
    swept = nnunet_ablations.anisotropy(profile, **changes)
    return {f"{network}, {names.get(mm, f'{mm:g} mm')}": runs for (network, mm), runs in swept.items()}


def _rescued(profile: str, **changes: Any) -> Runs:
    return ablations.rescued(**changes) if profile == scales.FIRST else {}


def _transfer(profile: str, **changes: Any) -> Runs:
    return {"V-Net": [scales.phantom_to_real()]} if profile == scales.FIRST else {}


def _choice(name: str) -> Callable[..., Runs]:
    return lambda profile, **changes: ablations.runs(ablations.choice(name, profile), profile, **changes)


def _untested(comparison: ablations.Comparison) -> Callable[..., Runs]:
    return lambda profile, **changes: nnunet_ablations.runs(comparison, profile, **changes)


#: By name, the most valuable first.
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("headtohead", "head to head", "09_head_to_head", head_to_head.by_label),
        Family("rates", "rates of the head to head", "09_head_to_head", head_to_head.rates),
        Family(
            "headtohead-hippocampus",
            "head to head, hippocampus",
            "09_head_to_head",
            partial(head_to_head.by_label, make=head_to_head.of_hippocampus),
            gliomas=False,
        ),
        Family("twice", "twice as long", "09_head_to_head", _twice, gliomas=False),
        Family("external", "other hospitals", "09_head_to_head", _external, gliomas=False),
        Family("vnet", "V-Net", "02_baseline_vnet", _vnet),
        Family("vae", "autoencoder branch", "03_vae_ablation", _choice("vae")),
        Family("baseline", "", "03_vae_ablation", _baseline),
        Family("se", "squeeze-and-excitation", "04_se_ablation", _choice("se")),
        Family("penalty", "penalty on the kernels", "05_training_choices", _penalty),
        Family("hippocampus-folds", "five folds, hippocampus", "08_2d_3d_cascade", _hippocampus, gliomas=False),
        *(
            Family(f"choices/{one.name}", "single choices", "05_training_choices", _choice(one.name), comparison=one)
            for one in ablations.choices(scales.DEFAULT)
        ),
        *(
            Family(f"untested/{one.name}", "untested choices", "07_untested_choices", _untested(one), comparison=one)
            for one in nnunet_ablations.COMPARISONS
        ),
        Family("simple-augmentation", "simple augmentation", "05_training_choices", _simple_augmentation),
        Family("softmax", "sigmoids or a softmax", "05b_from_paper_to_code", _softmax, gliomas=False),
        Family("crossvalidation", "five folds, gliomas", "08_2d_3d_cascade", _gliomas),
        Family(
            "masked-normalisation",
            "masked normalisation",
            "07_untested_choices",
            nnunet_ablations.masked_normalisation,
        ),
        Family("anisotropy", "slice thickness", "07_untested_choices", _slices),
        Family("rescue", "dead channels, rescued", "05d_a_dead_channel", _rescued),
        Family("code", "text to code", "05b_from_paper_to_code", code_differences.ladder),
        Family("transfer", "phantoms to patients", "01_the_data", _transfer),
    )
}

#: The families of each set, by its name; one that is in no set is one by itself.
SETS: dict[str, list[Family]] = {}
for _family in FAMILIES.values():
    SETS.setdefault(_family.set, []).append(_family)


@cache
def _runs(name: str, scale: str, **changes: Any) -> Runs:
    return FAMILIES[name].make(scale, **changes) if FAMILIES[name].gliomas or not changes else {}


def runs_of(name: str, scale: str, **changes: Any) -> Runs:
    """The runs of each variant of a family at a scale, by label; of a set, labelled ``kernel: kernel 5``.

    Args:
        changes: what a reader changes, such as ``cohort``, the name of his own in place of the study's gliomas.

    Raises:
        ValueError: there is no such family.
    """
    if name in FAMILIES:
        return _runs(name, scale, **changes)
    if name not in SETS:
        near = next((f"; did you mean {one!r}?" for one in FAMILIES if one.endswith(f"/{name}")), "")
        raise ValueError(f"no family {name!r}{near or did_you_mean(name, FAMILIES)}; there are {', '.join(SETS)}")
    return {
        f"{family.name.partition('/')[2]}: {label}": runs
        for family in SETS[name]
        for label, runs in runs_of(family.name, scale, **changes).items()
    }


def families(profile: str, cohorts: Sequence[str], only: Iterable[str] = (), **changes: Any) -> dict[str, list[Run]]:
    """The runs of each family that these cohorts suffice for, the most valuable first; each run once.

    Args:
        profile: a scale (``study.scales.PROFILES``).
        cohorts: names of those at hand. One that nothing was published of takes the place of the gliomas.
        only: names of families or sets; of none all.
        changes: what a reader changes of all runs (``study.scales.asked``).
    """
    changes = next(({"cohort": name} for name in cohorts if name not in COHORTS), {}) | changes
    wanted, seen = {}, set()
    for name in only or SETS:
        by_id = {run.id: run for runs in runs_of(name, profile, **changes).values() for run in runs}
        runs = {key: run for key, run in by_id.items() if set(cohorts_of(run)) <= set(cohorts)}
        wanted[name] = [run for key, run in runs.items() if key not in seen]
        seen |= set(runs)
    return {name: runs for name, runs in wanted.items() if runs}


def command(name: str, scale: str = scales.DEFAULT) -> str:
    """The command that makes the runs of a family or set at a scale; the data are ``brats:PATH`` or ``msd:PATH``."""
    profile = "" if scale == scales.DEFAULT else f" --profile {scale}"
    runs = [run for group in runs_of(name, scale).values() for run in group]
    return f"python -m gbmlib run {data(runs)} --only {name}{profile}"


def data(runs: Iterable[Run]) -> str:
    """The data that some runs need, as the command line takes it: ``brats:PATH msd:PATH``."""
    layouts = {kind: f"{kind}:PATH" for kind in ("brats", "msd", "nnunet", "table")}
    names = {name for run in runs for name in cohorts_of(run)}
    specs = {layouts.get(re.split("[-0-9]", name)[0], name) for name in names}
    return " ".join(sorted(specs)) or "brats:PATH"


# ------------------------------------------------------------------------------------------------------ their records

#: A name of a family or set, or from a scale to runs by label.
Wanted = str | Callable[[str], Runs]


def load(wanted: Wanted, store: Store | None = None) -> dict[Any, list[Record]]:
    """The records of a family or set by label, at the scale that is shown (:func:`shown_scale`)."""
    return next(iter(published(wanted, store or Store(RUNS, BOOK)).values()), {})


def published(wanted: Wanted, store: Store) -> dict[str, dict[Any, list[Record]]]:
    """The records at the scale that is shown (:func:`shown_scale`), by that scale and by label.

    One number of the book rests on one scale: a family that is half made does not stand beside a whole one. Empty where
    no scale has a record.
    """
    scale = shown_scale(wanted, store)
    groups = records_of(_at(wanted, scale), store)
    return {scale: groups} if groups else {}


def trained(records: Iterable[Record]) -> list[Record]:
    """The records of runs that trained a network; ensembles of such networks cost little."""
    return [record for record in records if isinstance(record.experiment, Experiment)]


def shown_scale(wanted: Wanted, store: Store) -> str:
    """The largest scale at which all runs have a record; if there is none, the scale with most of its records."""
    shares = {}
    for scale in scales.PUBLISHED:
        available = [store.get(run) is not None for runs in _at(wanted, scale).values() for run in runs]
        shares[scale] = sum(available) / len(available) if available else -1  # not asked at this scale
    return max(scales.PUBLISHED, key=lambda scale: shares[scale])  # of equal shares the first, the larger scale


def records_of(groups: Runs, store: Store) -> dict[Any, list[Record]]:
    """The records of each group that the store holds; groups without any are left out."""
    available = {label: [record for record in map(store.get, runs) if record] for label, runs in groups.items()}
    return {label: records for label, records in available.items() if records}


def _at(wanted: Wanted, scale: str) -> Runs:
    return runs_of(wanted, scale) if isinstance(wanted, str) else wanted(scale)
