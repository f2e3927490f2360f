"""The second paper's planned networks as experiments: what a plan decides, what a scale changes, and a run of each."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from small_data import decathlon

from gbmlib import models
from gbmlib.cohorts import open_cohort, regions
from gbmlib.evaluation.metrics import DISTANCES, NAMES
from gbmlib.preprocess import grids
from gbmlib.preprocess.fingerprint import Fingerprint, fingerprint
from gbmlib.study import Experiment, nnunet, out_of_fold, predicting, run, scales
from gbmlib.study.records import Store
from gbmlib.training import loop, patches, validation

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    """Published fingerprints lie in the repository, and paths are read from its root."""
    monkeypatch.chdir(ROOT)


# -------------------------------------------------------------------------------------------------------------- a plan


def test_hippocampus_has_its_row_of_table_1():
    flat, deep = (nnunet.hippocampus("paper", dimensions)[0] for dimensions in (2, 3))
    assert (deep.patch_size, deep.batch_size, deep.options) == ((40, 56, 40), 9, {"pools": [3, 3, 3]})
    assert (flat.patch_size, flat.batch_size) == ((1, 56, 40), 366)
    assert flat.options == {"dimensions": 2, "pools": [0, 3, 3]}
    # It sees nearly whole cases in 3D, so the Dice is that of each sample; in 2D the batch is one volume.
    assert (deep.loss, flat.loss) == ("dice_ce", "dice_ce_batch")
    assert (deep.spacing, deep.axes, deep.modalities) == ((1, 1, 1), (0, 1, 2), ("mri",))
    assert (deep.normalisation, deep.resampling, deep.regions) == ("whole", "spline", "labels")


def test_gliomas_have_the_patches_of_the_papers_brain_tumours():
    """The 19 cases have the frame of the Decathlon's BrainTumour, whose row this is."""
    flat, deep = (nnunet.glioma("paper", dimensions)[0] for dimensions in (2, 3))
    assert (deep.patch_size, deep.batch_size) == ((128, 128, 128), 2)
    assert deep.options == {}  # five poolings of each axis are the network's own default
    assert (flat.patch_size, flat.options["pools"]) == ((1, 192, 160), [0, 5, 5])
    assert (deep.spacing, deep.resampling, deep.normalisation) == ((1, 1, 1), "spline", "image")


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        (None, ((20, 320, 319), (15, 256, 256))),
        ((3.0, 3.0, 3.0), ((24, 64, 64), (10, 128, 128))),  # 20 x 3.6 / 3, and 15 x 2 / 3
        ((3.6, 1.2, 1.2), ((20, 160, 160), (8, 320, 320))),  # 15 x 2 / 3.6 is 8.3
    ],
)
def test_at_a_spacing_the_shapes_are_those_that_preprocessing_gives(spacing, expected):
    known = Fingerprint([(20, 320, 319), (15, 256, 256)], [(3.6, 0.6, 0.6), (2.0, 1.5, 1.5)])
    found = nnunet.at_spacing(known, spacing)
    assert tuple(map(tuple, found.shapes)) == expected
    if spacing is None:
        assert found is known
    else:
        assert set(found.spacings) == {spacing}
        assert found.cases == known.cases


def test_a_coarser_grid_is_planned_for_and_averaged():
    deep = nnunet.glioma("short", 3)[0]
    assert (deep.spacing, deep.patch_size, deep.options) == (
        (3, 3, 3),
        (48, 64, 48),
        {"filters": 16, "pools": [3, 4, 3]},
    )
    assert deep.resampling == "average"
    thick = nnunet.glioma("short", 3, spacing=(9, 3, 3))[0]
    plan = nnunet.plan_of("brats2018-19", (9, 3, 3))
    assert thick.spacing == plan.spacing == (9, 3, 3)
    assert (thick.patch_size, thick.batch_size) == (plan.three_d.training_patch, plan.three_d.batch_size)
    assert thick.patch_size[0] < deep.patch_size[0]


def test_the_plan_of_a_cohort_that_is_not_published_is_measured_or_asked_for():
    cohort = open_cohort("phantom:cases=4,spacing=6,seed=0")
    plan = nnunet.plan_of(cohort)
    assert plan.cases == 4
    assert nnunet.plan_of(cohort.name) == plan
    with pytest.raises(ValueError, match=r"fingerprint-brats2099-7.json is missing"):
        nnunet.plan_of("brats2099-7")


def test_a_published_fingerprint_counts_for_its_own_data_alone(monkeypatch):
    cohort = open_cohort("phantom:cases=4,spacing=6,seed=0")
    measured = fingerprint(cohort, progress=False)
    other = replace(measured, shapes=((20, 20, 20),) * 4)
    for digest, expected in ((measured.digest, other), ("", other), ("0123456789abcdef", measured)):
        published = replace(other, digest=digest)
        monkeypatch.setattr(nnunet, "published_fingerprint", {cohort.name: published}.get)
        for asked in (cohort, cohort.name):
            assert nnunet.plan_of(asked).median_shape == expected.median_shape


# ------------------------------------------------------------------------------------------- data as readers have them


@pytest.mark.parametrize("modalities", [("CT", "PET"), ("PET", "CT")])
def test_ct_and_pet_are_normalised_each_as_the_plan_says_in_both_orders(modalities, tmp_path):
    cohort = open_cohort(decathlon(tmp_path / "data", modalities))
    of = {"ct": "ct", "pet": "whole"}
    assert nnunet.plan_of(cohort).normalisation == tuple(of[name] for name in cohort.modalities)
    for order in (("ct", "pet"), ("pet", "ct")):  # a network may take the channels in another order than the files
        (one,) = nnunet.glioma("test", 3, cohort=cohort.name, modalities=order, spacing=2, epochs=1)
        assert one.normalisation == tuple(of[name] for name in order)
    assert nnunet.glioma("test", 3, cohort=cohort.name, modalities=("pet",))[0].normalisation == "whole"
    store = Store(tmp_path / "runs")
    (record,) = run([one], store, progress=False)
    assert Experiment(**json.loads((record.path / "config.json").read_text())) == one
    held_out = record.cases[record.cases.split == "held out"].case.iloc[0]
    case = open_cohort(cohort.name, order)[held_out]
    pet, ct = predicting.prepare(one, case, predicting.statistics_of(record)).images
    assert pet.mean() == pytest.approx(0, abs=1e-4)  # by its own mean, and not clipped to two values
    assert len(np.unique(pet)) > 100
    assert len(np.unique(ct)) > 100
    assert out_of_fold.unsuitable(record, cohort) == ""
    label_map = out_of_fold.segment([record], store, cohort, held_out)
    np.testing.assert_array_equal(label_map, case.read(record.prediction(held_out)))


def test_more_than_eight_labels_are_trained_and_measured(tmp_path):
    names = tuple(f"organ {number}" for number in range(1, 11))
    cohort = open_cohort(decathlon(tmp_path / "data", labels=names))
    (one,) = nnunet.glioma("test", 3, **scales.asked(SimpleNamespace(modalities=None, spacing=2, epochs=1), cohort))
    (record,) = run([one], Store(tmp_path / "runs"), progress=False)
    assert list(record.cases.region.unique()) == list(names)


# --------------------------------------------------------------------------------------------------- what is trained


def test_the_paper_scale_is_what_the_paper_states():
    experiment = nnunet.glioma("paper", 3)[0]
    stated = {
        "batches": 250,
        "validation_batches": 50,
        "foreground": "paper",
        "augmentation": "nnunet",
        "learning_rate": 3e-4,
        "schedule": "plateau_paper",
        "mirrored_inference": True,
        "amsgrad": False,
        "weight_decay": 0,
        "model": "unet",
    }
    assert {name: getattr(experiment, name) for name in stated} == stated


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("profile", scales.PROFILES)
def test_every_scale_is_valid(profile, dimensions):
    for of in (nnunet.glioma, nnunet.hippocampus):
        experiments = of(profile, dimensions, folds=(0, 1), seeds=(0, 5))
        assert [(e.seed, e.fold) for e in experiments] == [(0, 0), (0, 1), (5, 0), (5, 1)]
        assert len({e.id for e in experiments}) == 4
        assert all(e.is_2d == (dimensions == 2) for e in experiments)


def test_changes_reach_the_network_and_the_training_and_none_keeps_the_scales_own():
    changes = {"filters": 6, "norm": "batch", "without": ("gamma",), "epochs": 7, "learning_rate": None}
    experiment = nnunet.glioma("short", 3, **changes)[0]
    assert experiment.options == {"pools": [3, 4, 3], "filters": 6, "norm": "batch"}
    assert (experiment.epochs, experiment.without) == (7, ("gamma",))
    assert experiment.learning_rate == nnunet.glioma("short", 3)[0].learning_rate
    with pytest.raises(ValueError, match="epohcs"):
        nnunet.glioma("short", 3, epohcs=7)


# --------------------------------------------------------------------------------------------------------- runs of both


@pytest.fixture(scope="module", params=[3, 2], ids=["3D", "2D"])
def finished(request, tmp_path_factory):
    """A store with one finished run at the smallest scale, and its record."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(ROOT)
        experiment = nnunet.glioma("test", request.param)[0]
    store = Store(tmp_path_factory.mktemp("runs"))
    return store, run([experiment], store, progress=False)[0]


@pytest.fixture
def held_out(finished):
    """Record, cohort and a case that was held out."""
    _, record = finished
    cohort = open_cohort(record.experiment.cohort, record.experiment.modalities)
    return record, cohort, cohort[record.cases[record.cases.split == "held out"].case.iloc[0]]


def test_a_record_has_an_epoch_a_line_and_every_case_label_and_region(finished):
    _, record = finished
    experiment = record.experiment
    cohort = open_cohort(experiment.cohort)
    assert list(record.history.epoch) == list(range(experiment.epochs))
    assert np.isfinite(record.history.to_numpy()).all()
    names = [*regions.members("labels", cohort.labels), "WT", "TC", "ET"]
    assert list(record.cases.region.unique()) == names
    left_out = record.cases[record.cases.split == "held out"].case.nunique()
    assert len(record.cases) == len(names) * (len(cohort) * len((*NAMES, "share")) + left_out * len(DISTANCES))
    assert record.cases[record.cases.metric.isin(NAMES)].value.between(0, 1).all()
    assert np.isfinite(record.cases.value).all()
    network = models.build("unet", 2, 4, experiment.patch_size, **experiment.options)
    assert record.provenance["parameters"] == models.parameters(network)
    assert not (record.path / loop.CHECKPOINT).exists()


def test_random_patches_judge_its_epochs(finished):
    _, record = finished
    assert {"train_loss", "train_dice", "val_loss", "val_dice", "val_dice_oedema"} <= set(record.history)
    assert not [name for name in record.history if name.startswith("crops_")]


def test_nested_regions_are_measured_from_the_label_map_that_is_written(held_out):
    record, cohort, case = held_out
    image = nib.as_closest_canonical(nib.load(record.prediction(case.id)))
    assert image.shape[::-1] == case.shape
    np.testing.assert_allclose(image.affine, case.affine)
    label_map = case.read(record.prediction(case.id))
    own = record.cases[(record.cases.case == case.id) & (record.cases.split == "held out")]
    for scheme in ("labels", "brats"):
        rows = predicting.measure(label_map, case, scheme, cohort, "held out")
        found = own[own.region.isin(list(regions.members(scheme, cohort.labels)))]
        assert found.value.to_list() == pytest.approx([row["value"] for row in rows])


def test_asked_again_it_gives_the_stored_one(finished, monkeypatch):
    store, record = finished
    monkeypatch.setattr(loop, "train", lambda *_, **__: pytest.fail("trained again"))
    assert run([record.experiment], store, progress=False)[0].path == record.path


def test_run_anew_it_is_the_same(finished, tmp_path):
    _, record = finished
    again = run([record.experiment], Store(tmp_path), progress=False)[0]
    for name in ("config.json", "history.csv", "cases.csv"):
        assert (again.path / name).read_bytes() == (record.path / name).read_bytes()


def test_predictions_are_averaged_over_mirrorings(held_out):
    record, cohort, case = held_out
    experiment, network = record.experiment, predicting.load_network(record, cohort)
    # One tile, or a few slices of its size: tiles of a mirrored volume may lie elsewhere.
    prepared = predicting.prepare(experiment, case)
    images = patches.crop(torch.from_numpy(prepared.images), (4, 0, 0), (max(3, experiment.patch_size[0]), 28, 24))
    axes, each = (1, 2) if experiment.is_2d else (0, 1, 2), []
    for bits in range(2 ** len(axes)):
        flipped = [axis - 3 for number, axis in enumerate(axes) if bits >> number & 1]
        each.append(validation.predict(network, images.flip(flipped), experiment).flip(flipped))
    mirrored = validation.predict(network, images, experiment, (0, 1, 2))
    torch.testing.assert_close(torch.stack(each).mean(0), mirrored, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(each[0], mirrored, atol=1e-3)


def test_the_stored_weights_segment_as_the_run_did_mirrored(held_out):
    record, cohort, case = held_out
    experiment, network = record.experiment, predicting.load_network(record, cohort)
    prepared = predicting.prepare(experiment, case)
    images = torch.from_numpy(prepared.images)
    mirrored, plain = (
        predicting.decide(predicting.predict(network, experiment, images, asked), experiment, cohort, prepared)
        for asked in (True, False)
    )
    assert (mirrored != plain).any()
    np.testing.assert_array_equal(mirrored, case.read(record.prediction(case.id)))


def test_slices_across_another_axis_come_back_where_they_were(tmp_path):
    """The axes are laid in another order before the network, and back before anything is measured."""
    experiment = nnunet.glioma("test", 2)[0]
    side = experiment.changed(axes=(1, 0, 2), patch_size=(1, 24, 24), epochs=1)
    record = run([side], Store(tmp_path), progress=False)[0]
    cohort = open_cohort(side.cohort, side.modalities)
    case = cohort[record.cases[record.cases.split == "held out"].case.iloc[0]]
    prepared, plain = predicting.prepare(side, case), predicting.prepare(experiment, case)
    np.testing.assert_array_equal(prepared.images, plain.images.transpose(0, 2, 1, 3))
    assert case.read(record.prediction(case.id)).shape == case.shape
    np.testing.assert_array_equal(grids.restore(prepared.images, prepared), grids.restore(plain.images, plain))


def test_the_cascade_is_the_3d_network_and_the_one_before_it():
    (three,), (low,), (cascade,) = (nnunet.glioma("short", kind) for kind in (3, "low", "cascade"))
    assert low.spacing == (6, 6, 6)
    assert cascade.changed(previous=None) == three
    assert cascade.previous == low
    of = nnunet.glioma("short", "cascade", (0, 3), (0, 1))
    assert [(e.fold, e.seed, e.previous.fold, e.previous.seed) for e in of] == [
        (0, 0, 0, 0), (3, 0, 0, 0), (0, 1, 0, 1), (3, 1, 0, 1)
    ]  # fmt: skip
    assert nnunet.hippocampus("short", "low")[0].spacing == (2, 2, 2)
    with pytest.raises(ValueError, match="kind 4"):
        nnunet.glioma("short", 4)
