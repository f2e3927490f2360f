"""The sanity check and the places of a map, by hand; runs and cases as targets."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from untrained_runs import record_of

from gbmlib import models
from gbmlib.analysis import saliency, saliency_checks
from gbmlib.analysis.saliency import Target
from gbmlib.cohorts import open_cohort
from gbmlib.preprocess.pipeline import prepare
from gbmlib.study import nnunet, predicting, scales


def unet(seed=0, **options):
    torch.manual_seed(seed)
    return models.build("unet", 2, 3, filters=4, pools=(1, 1, 1), **options).eval()


def target_of(network):
    image = torch.randn((2, 8, 8, 8), generator=torch.Generator().manual_seed(0))
    image[:, :2] = 0
    mask = torch.zeros(8, 8, 8, dtype=torch.bool)
    mask[4:6, 3:6, 3:6] = True
    return Target(network, image, mask, (1,), False, (8, 8, 8))


def magnitude(target):
    return saliency.magnitude(saliency.gradient(target))


# -------------------------------------------------------------------------------------------------------- sanity check


def test_weights_are_lost_from_the_output_backwards():
    network, fresh = unet(0), unet(1)
    before = copy.deepcopy(network.state_dict())
    copies = list(saliency_checks.randomised(network, fresh))
    order = ["output", "decoder.0", "up.0", "encoder.1", "encoder.0"]  # pooling has no weights to lose
    assert [name for name, _ in copies] == order
    for number, (_, of) in enumerate(copies, 1):
        for name in order:
            expected = (fresh if name in order[:number] else network).get_submodule(name).state_dict()
            found = of.get_submodule(name).state_dict()
            assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert all(torch.equal(of, before[name]) for name, of in network.state_dict().items())


def test_a_map_that_ignores_the_network_stays_and_one_of_its_weights_does_not():
    target = target_of(unet(0))

    def maps(of):
        return {"edges": of.image.abs().amax(0), "gradient": magnitude(of)}

    where = (target.image != 0).any(0)
    table = saliency_checks.sanity(target, unet(1), maps, {"brain": where})
    assert list(table.index) == ["trained", "output", "decoder.0", "up.0", "encoder.1", "encoder.0"]
    assert table["brain", "edges"].tolist() == pytest.approx([1] * 6)
    assert table["brain", "gradient"].iloc[0] == 1
    wholly = replace(target, network=unet(1))
    expected = saliency_checks.rank_correlation(magnitude(target), magnitude(wholly), where)
    assert table["brain", "gradient"].iloc[-1] == pytest.approx(expected)
    assert table["brain", "gradient"].iloc[-1] < 0.9


def test_the_same_weights_lose_nothing():
    target = target_of(unet(0))
    where = {"a": target.mask, "b": ~target.mask}
    table = saliency_checks.sanity(target, unet(0), lambda of: {"gradient": magnitude(of)}, where)
    np.testing.assert_allclose(table, 1)
    assert list(table) == [("a", "gradient"), ("b", "gradient")]


def test_rank_correlation_by_hand():
    one = torch.tensor([1.0, 2, 3, 4, 50]).view(1, 1, 5)
    other = torch.tensor([20.0, 10, 30, 40, 0]).view(1, 1, 5)
    where = torch.tensor([True] * 4 + [False]).view(1, 1, 5)
    # Ranks 1 2 3 4 and 2 1 3 4: 1 - 6 (1 + 1) / (4 (16 - 1)).
    assert saliency_checks.rank_correlation(one, other, where) == pytest.approx(0.8)
    assert saliency_checks.rank_correlation(one, torch.zeros_like(one), where) == 0
    assert saliency_checks.rank_correlation(one, other, torch.zeros_like(where)) == 0


# ------------------------------------------------------------------------------------------------- where a map lies


def test_shares_by_hand():
    """A row of ten voxels 2 mm apart: the region is the third to seventh, its rim 2 mm on either side of its surface,
    and the image ends before the last."""
    mask, brain = np.zeros((1, 1, 10), bool), np.ones((1, 1, 10), bool)
    mask[..., 2:7] = True
    brain[..., 9] = False
    cut = saliency_checks.parts(mask, brain, (2, 2, 2), rim=2)
    assert {name: np.flatnonzero(part).tolist() for name, part in cut.items()} == {
        "inside": [3, 4, 5],
        "rim": [1, 2, 6, 7],
        "rest of the brain": [0, 8],
        "background": [9],
    }
    found = saliency_checks.shares(np.array([[[1, 1, 2, 0, 4, 0, 0, 0, 1, 1]]], np.float32), cut)
    assert found == pytest.approx({"inside": 0.4, "rim": 0.3, "rest of the brain": 0.2, "background": 0.1})
    assert np.isnan(list(saliency_checks.shares(np.zeros((1, 1, 10)), cut).values())).all()
    with pytest.raises(ValueError, match="goes down to -1"):
        saliency_checks.shares(np.full((1, 1, 10), -1.0), cut)


@given(arrays.arrays(bool, (4, 5, 3)), arrays.arrays(bool, (4, 5, 3)), st.floats(0, 9))
@settings(deadline=None)
def test_every_voxel_is_in_one_part(mask, brain, rim):
    cut = saliency_checks.parts(mask, brain, (1, 2, 3), rim)
    assert (sum(part.astype(int) for part in cut.values()) == 1).all()
    assert not (cut["inside"] & ~mask).any()
    assert not ((cut["rest of the brain"] | cut["background"]) & mask).any()


# ---------------------------------------------------------------------------------------------------- runs and cases


@pytest.fixture(scope="module")
def cohort():
    return open_cohort(scales.SCALES["test"]["cohort"], ("t1ce", "flair"))


def test_regions_of_sigmoids_and_of_a_softmax(cohort, tmp_path):
    nested, softmax = scales.paper_a("test", [0], [0])[0], nnunet.glioma("test", 3)[0]
    names = list(cohort.labels.values())
    assert list(saliency.regions_of(nested, cohort)) == ["WT", "TC", "ET"]
    assert list(saliency.regions_of(softmax, cohort)) == [*names, "WT", "TC", "ET"]
    apart = scales.paper_a("test", [0], [0], regions="labels")[0]
    assert list(saliency.regions_of(apart, cohort)) == names
    case = next(iter(cohort))
    for experiment, region, inside in (
        (nested, "TC", (1,)),
        (softmax, "TC", (1, 3)),
        (softmax, "oedema", (2,)),
        (apart, "oedema", (1,)),
    ):
        record = record_of(experiment, cohort, tmp_path / f"{experiment.id}-{region}")
        found = saliency.target(record, cohort, case, region)
        assert (found.inside, found.softmax) == (inside, experiment.softmax)
        with pytest.raises(ValueError, match=r"region 'XX': the network of .* has"):
            saliency.target(record, cohort, case, "XX")


def test_the_mask_is_what_the_network_segments(cohort, tmp_path):
    experiment, case = scales.paper_a("test", [0], [0])[0], next(iter(cohort))
    record = record_of(experiment, cohort, tmp_path, bias=[1.0, 0.0, -50.0])
    own = saliency.target(record, cohort, case, "WT")
    predicted = predicting.predict(own.network, experiment, own.image)
    assert torch.equal(own.mask, predicted[0] >= 0.5)
    assert 0 < own.mask.sum() < own.mask.numel()
    assert saliency.target(record, cohort, case, "WT", own.network).network is own.network
    with pytest.raises(saliency.EmptyRegionError, match="no ET to explain: the network finds none of it"):
        saliency.target(record, cohort, case, "ET", own.network)


def test_the_mask_of_a_softmax_is_where_the_regions_classes_are_likeliest(cohort, tmp_path):
    experiment, case = nnunet.glioma("test", 3)[0], next(iter(cohort))
    found = saliency.target(record_of(experiment, cohort, tmp_path), cohort, case, "TC")
    likeliest = predicting.predict(found.network, experiment, found.image).argmax(0)
    assert torch.equal(found.mask, (likeliest == 1) | (likeliest == 3))
    assert 0 < found.mask.sum() < found.mask.numel()


def test_maps_of_a_network_on_turned_axes_come_back_in_place(cohort, tmp_path):
    """Slices across y: the map of the region itself, on the network's grid, lies on it in native space."""
    experiment = nnunet.glioma("test", 2)[0]
    patch = experiment.patch_size
    experiment = experiment.changed(axes=(1, 0, 2), patch_size=(1, patch[1], patch[2]))
    case = next(iter(cohort))
    found = saliency.target(record_of(experiment, cohort, tmp_path), cohort, case, "WT")
    whole = prepare(case, experiment.spacing, axes=experiment.axes).label
    found = replace(found, mask=torch.from_numpy(whole > 0))
    assert (saliency.native(found, found.mask[None])[0] >= 0.5)[case.label() > 0].mean() > 0.9
    assert saliency_checks.spacing_of(experiment.changed(spacing=(1, 2, 3)), case) == (2, 1, 3)
    assert saliency.native(found, saliency.grad_cam(found, "encoder.1")).shape == (1, *case.shape)


def test_an_untrained_network_depends_on_its_seed_alone(cohort, tmp_path):
    experiment, case = nnunet.glioma("test", 3)[0], next(iter(cohort))
    target = saliency.target(record_of(experiment, cohort, tmp_path), cohort, case, "WT")
    before = torch.random.get_rng_state()
    one, again, other = (saliency_checks.untrained(experiment, target, seed) for seed in (5, 5, 6))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(one.output.weight, other.output.weight)
    assert [of.shape for of in one.parameters()] == [of.shape for of in target.network.parameters()]


def test_a_real_case_is_explained_in_native_space(brats_folder, tmp_path):
    """At 6 mm, so that it takes seconds. The maps come back to the scanner's 1 mm, and none leaves the crop."""
    real = open_cohort(f"brats:{brats_folder}", ("t1ce", "flair"))
    experiment = scales.vnet("test", cohort=real.name)[0]
    case = next(iter(real))
    found = saliency.target(record_of(experiment, real, tmp_path), real, case, "WT")
    maps = saliency.native(found, saliency.magnitude(saliency.gradient(found))[None])
    assert maps.shape == (1, 155, 240, 240)
    assert np.isfinite(maps).all()
    assert maps.max() > 0
    outside = maps.copy()
    outside[(slice(None), *found.grid.box)] = 0
    assert not outside.any()
