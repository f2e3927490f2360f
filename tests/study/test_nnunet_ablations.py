"""What nnU-Net's first paper did not validate, as data: what differs in each comparison, and what a thickness plans."""

import pytest

from gbmlib.augment.nnunet import TRANSFORMS
from gbmlib.study import nnunet, nnunet_ablations
from gbmlib.study.nnunet_ablations import COMPARISONS
from gbmlib.training import batches


def differing(one, other):
    """The fields in which two configurations differ."""
    ours, theirs = one.model_dump(), other.model_dump()
    return {name for name in ours if ours[name] != theirs[name]}


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda of: of.name)
def test_every_variant_differs_from_the_paper_in_what_it_names_and_nothing_else(comparison):
    of = nnunet_ablations.runs(comparison, "short")
    base = of[comparison.base]
    for label, experiments in of.items():
        assert [e.fold for e in experiments] == [0, 1]
        for experiment, its_base in zip(experiments, base, strict=True):
            changes = comparison.variants[label]
            expected = {"options" if name in ("activation", "norm", "down") else name for name in changes}
            assert differing(its_base, experiment) == expected


def test_all_comparisons_share_the_network_that_the_sweep_has_at_3_mm():
    bases = {
        comparison.name: nnunet_ablations.runs(comparison, "short")[comparison.base][0].id for comparison in COMPARISONS
    }
    sweep = nnunet_ablations.anisotropy("short")
    assert bases.pop("slicewise") == sweep["3D", 12][0].id
    assert set(bases.values()) == {sweep["3D", 3][0].id}


@pytest.mark.parametrize("profile", ["test", "demo", "short", "paper"])
def test_in_the_thickest_slices_the_rule_augments_slice_by_slice_and_the_other_variant_does_not(profile):
    comparison = next(of for of in COMPARISONS if of.name == "slicewise")
    cohort = {} if profile in ("short", "paper") else {"cohort": "brats2018-19"}
    ruled, other = (of[0] for of in nnunet_ablations.runs(comparison, profile, **cohort).values())
    assert batches.settings(ruled).spatial.slices == 0
    assert batches.settings(other).spatial.slices is None


def test_each_transform_is_left_out_by_itself_and_all_together():
    comparison = next(of for of in COMPARISONS if of.name == "augmentation")
    without = [dict(changes).get("without", ()) for changes in comparison.variants.values()]
    assert {names[0] for names in without if len(names) == 1} == set(TRANSFORMS)
    assert TRANSFORMS in without


def test_a_network_that_saw_no_mirrored_case_is_asked_about_none():
    comparison = next(of for of in COMPARISONS if of.name == "augmentation")
    for experiments in nnunet_ablations.runs(comparison, "short").values():
        for of in experiments:
            if "mirror" in of.without:
                assert not of.mirrored_inference


def test_the_study_is_as_long_as_its_text_says():
    of = nnunet_ablations.runs(COMPARISONS[0], "short")[COMPARISONS[0].base][0]
    assert of.epochs * of.batches == 250
    assert (of.batch_size, of.patch_size, of.options["filters"]) == (2, (48, 64, 48), 16)


def test_what_is_asked_for_goes_over_the_screening_and_none_keeps_it():
    of = nnunet_ablations.runs(COMPARISONS[0], "short", folds=[2], epochs=7, learning_rate=None)[COMPARISONS[0].base]
    assert [(e.fold, e.epochs, e.learning_rate) for e in of] == [(2, 7, 3e-3)]


def test_the_sweep_plans_both_networks_anew_at_every_thickness():
    sweep = nnunet_ablations.anisotropy("short")
    thickness = nnunet_ablations.THICKNESS["short"]
    assert list(sweep) == [(name, at) for at in thickness for name in ("2D", "3D")]
    assert thickness[0] / nnunet_ablations.IN_PLANE["short"] == 0.5
    assert thickness[-1] / nnunet_ablations.IN_PLANE["short"] == 4
    for (name, at), (of, *_) in sweep.items():
        assert of.spacing == (at, 3, 3)
        plan = nnunet.plan_of("brats2018-19", of.spacing)
        network = plan.two_d if name == "2D" else plan.three_d
        assert (of.patch_size, of.batch_size, of.axes) == (network.training_patch, network.batch_size, network.axes)
    # Thick slices are pooled less; where slices are the finer axis, 2D is cut across another.
    assert [sweep["3D", at][0].options["pools"][0] for at in thickness] == [4, 3, 2, 2, 1]
    assert sweep["2D", 1.5][0].axes == (1, 0, 2)
    assert sweep["2D", 3][0].axes == (0, 1, 2)
    assert len({of.epochs * of.batches for runs in sweep.values() for of in runs}) == 1


def test_the_papers_sweep_is_of_1_to_6_mm():
    assert {of[0].spacing for of in nnunet_ablations.anisotropy("paper").values()} == {
        (at, 1, 1) for at in (1, 2, 3, 4, 6)
    }


def test_a_name_that_is_neither_published_nor_open_is_refused():
    with pytest.raises(ValueError, match=r"fingerprint-nowhere\.json is missing; open the cohort first"):
        nnunet.plan_of("nowhere")


def test_a_cohort_is_measured_once(monkeypatch):
    measured = []
    true = nnunet.fingerprint

    def counted(*given, **named):
        measured.append(given)
        return true(*given, **named)

    monkeypatch.setattr(nnunet, "fingerprint", counted)
    monkeypatch.setattr(nnunet, "_known", {})
    nnunet_ablations.anisotropy("test")
    assert len(measured) == 1
