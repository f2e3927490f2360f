"""The first paper's comparisons as data: each variant differs from its base in what it names and in nothing else."""

import pytest

from gbmlib.study import ablations, catalogue, code_differences, run, scales
from gbmlib.study.records import Store
from gbmlib.training.losses import PAPER_VOXELS

STUDY = ablations.choices("short")


def difference(one, other):
    """The fields in which two configurations differ, options by their own names."""
    a, b = (e.model_dump() | {f"option {n}": v for n, v in e.options.items()} for e in (one, other))
    return {name for name in set(a) | set(b) if a.get(name) != b.get(name)} - {"options"}


@pytest.mark.parametrize("profile", scales.PROFILES)
def test_every_comparison_is_valid_at_every_scale(profile):
    for comparison in (ablations.VAE, ablations.SE, *ablations.choices(profile)):
        groups = ablations.runs(comparison, profile)
        assert list(groups) == list(comparison.variants)
        assert next(iter(groups)) == comparison.base
        assert len({experiment.id for of in groups.values() for experiment in of}) == sum(map(len, groups.values()))


@pytest.mark.parametrize("comparison", [ablations.VAE, ablations.SE, *STUDY], ids=lambda of: of.name)
def test_a_variant_changes_what_it_names_alone(comparison):
    groups = ablations.runs(comparison, "short")
    base = groups[comparison.base]
    assert comparison.variants[comparison.base] == {}
    for label, changes in list(comparison.variants.items())[1:]:
        for one, other in zip(base, groups[label], strict=True):
            named = {name if name in type(one).model_fields else f"option {name}" for name in changes}
            assert difference(one, other) == named


def test_whole_networks_have_every_fold_and_two_seeds_single_choices_two_folds_of_them():
    whole = ablations.runs(ablations.VAE, "short")["without VAE"]
    assert sorted((e.seed, e.fold) for e in whole) == [(seed, fold) for seed in (0, 1) for fold in range(5)]
    single = ablations.runs(STUDY[0], "short")[STUDY[0].base]
    assert [(e.seed, e.fold, e.epochs) for e in single] == [(seed, fold, 12) for seed in (0, 1) for fold in (0, 1)]


def test_all_single_choices_share_one_base():
    bases = {tuple(e.id for e in ablations.runs(of, "short")[of.base]) for of in STUDY}
    assert bases == {tuple(e.id for e in code_differences.ladder("short")["paper's text"])}


def test_three_crops_take_as_many_steps_as_one():
    crops = next(of for of in STUDY if of.name == "crops")
    steps = {e.epochs * e.crops for of in ablations.runs(crops, "short").values() for e in of}
    assert len(steps) == 1


def test_the_ladder_turns_on_one_difference_after_another():
    rungs = list(code_differences.ladder("short", folds=[0]).values())
    for quirk, before, after in zip(code_differences.QUIRKS, rungs[:-1], rungs[1:], strict=True):
        named = {n if n in type(before[0]).model_fields else f"option {n}" for n in quirk.changes}
        assert difference(before[0], after[0]) == named
    last = rungs[-1][0]
    assert last.options["norm"] == "slab"
    assert last.kl_voxels == 2 * PAPER_VOXELS
    assert (last.regions, last.normalisation, last.mirroring) == ("labels", "dataset", "copy")


def test_parameters_of_a_reader_hold_for_all_variants():
    groups = ablations.runs(ablations.SE, "short", folds=(1,), seeds=(3,), epochs=5, spacing=None)
    assert {(e.fold, e.seed, e.epochs, e.spacing) for of in groups.values() for e in of} == {(1, 3, 5, (3, 3, 3))}
    screened = ablations.runs(STUDY[1], "short", folds=iter((0, 1)), epochs=6, warmup=None)
    assert {(e.fold, e.epochs, e.warmup) for of in screened.values() for e in of} == {(0, 6, 3), (1, 6, 3)}


def test_groups_without_a_record_are_left_out(tmp_path):
    store = Store(tmp_path)
    groups = ablations.runs(ablations.VAE, "test", epochs=1)
    assert catalogue.records_of(groups, store) == {}
    records = run(groups["without VAE"], store, progress=False)
    assert catalogue.records_of(groups, store) == {"without VAE": records}


def test_at_the_studys_scale_the_hippocampus_decides_unless_a_reader_brings_a_cohort():
    comparison = next(one for one in ablations.choices("study") if one.name == "kernel")
    own = ablations.runs(comparison, "study")["kernel 3"][0]
    assert (own.cohort, own.spacing, own.regions) == ("msd-task04-hippocampus-260", (2, 2, 2), "labels")
    assert own.modalities == ("mri",)
    given = ablations.runs(comparison, "study", cohort="hospital-7")["kernel 3"][0]
    assert given == scales.paper_a("study", [0], [0], cohort="hospital-7")[0]  # grid and patch are those of gliomas
