"""The sanity check and the places of a map, by hand; runs and cases as targets."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from untrained_runs import record_of

from gbmlib import models
from gbmlib.analysis import saliency, saliency_checks
from gbmlib.analysis.saliency import Target
from gbmlib.analysis.saliency_checks import BRAIN, DEEPEST, LAST, NEAR, PARTS, SALIENCY, Places
from gbmlib.cohorts import open_cohort
from gbmlib.cohorts.folds import split
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


# --------------------------------------------------------------------------------------------------- maps of whole runs


@pytest.fixture(scope="module")
def records(cohort, tmp_path_factory):
    """The first paper's network, which finds the whole tumour nearly everywhere, and a U-Net in slices."""
    nested, flat = scales.paper_a("test", [0], [0])[0], nnunet.glioma("test", 2)[0]
    folder = tmp_path_factory.mktemp("runs")
    return {
        "Paper A": record_of(nested, cohort, folder / nested.id, bias=[1.0, 0.0, -50.0]),
        "2D": record_of(flat, cohort, folder / flat.id),
    }


@pytest.fixture(scope="module")
def case(cohort, records):
    of = records["Paper A"].experiment
    return cohort[split(cohort, of.folds, of.fold)[1][0]]


def test_where_maps_lie(records, cohort):
    places = saliency_checks.where_maps_lie(records, cohort, "WT")
    means = saliency_checks.over_cases(places.shares)
    assert list(means.columns) == [*PARTS, "cases"]
    assert places.skipped == []
    for name in records:
        weights = [(of, by) for of in (SALIENCY, DEEPEST) for by in ("trained", "untrained")]
        assert list(means.loc[name].index) == [("even", ""), *weights]
        assert (means.loc[name].cases <= 2).all()
        for _, row in means.loc[name].iterrows():
            if row.cases:
                assert sum(row[part].mean for part in PARTS) == pytest.approx(1)
    near = saliency_checks.near_region(places).loc[("2D", SALIENCY)]
    trained, untrained = (means.loc[("2D", SALIENCY, by)] for by in ("trained", "untrained"))
    assert near.trained == pytest.approx(trained["inside"].mean + trained["rim"].mean)
    assert near.difference.mean == pytest.approx(near.trained - untrained["inside"].mean - untrained["rim"].mean)
    looked_at = saliency_checks.over_cases(places.modalities)
    assert list(looked_at.columns) == ["t1ce", "flair", "cases"]
    for _, row in looked_at.iterrows():
        assert row.t1ce.mean + row.flair.mean == pytest.approx(1)
    # These were never trained: drawn with the seed of their first weights, trained and untrained are one network.
    assert looked_at.loc["2D", "trained"].t1ce == looked_at.loc["2D", "untrained"].t1ce
    other = saliency_checks.where_maps_lie({"2D": records["2D"]}, cohort, "WT", seed=1).modalities.loc["2D"].t1ce
    assert other.loc["trained"].mean() == pytest.approx(looked_at.loc["2D", "trained"].t1ce.mean)
    assert other.loc["untrained"].mean() != pytest.approx(other.loc["trained"].mean())


def test_cases_without_the_region_are_named(records, cohort):
    places = saliency_checks.where_maps_lie({"Paper A": records["Paper A"]}, cohort, "ET")
    assert len(places.skipped) == 2
    assert "Paper A: case phantom" in places.skipped[0]
    assert saliency_checks.over_cases(places.shares).empty
    assert saliency_checks.near_region(places).empty


def test_a_map_that_is_zero_throughout_is_not_among_the_cases():
    names, nothing = ["network", "map", "weights"], [np.nan] * len(PARTS)
    rows = {
        ("3D", "even", ""): [[0.02, 0.04, 0.5, 0.44], [0.06, 0.04, 0.5, 0.4]],
        ("3D", SALIENCY, "trained"): [[0.5, 0.2, 0.3, 0], [0.7, 0.2, 0.1, 0]],
        ("3D", SALIENCY, "untrained"): [[0.1, 0.2, 0.7, 0], nothing],
        ("3D", DEEPEST, "trained"): [nothing, nothing],
        ("3D", DEEPEST, "untrained"): [[0.1, 0.2, 0.7, 0], [0.1, 0.2, 0.7, 0]],
    }
    index = pd.MultiIndex.from_tuples([key for key, cases in rows.items() for _ in cases], names=names)
    shares = pd.DataFrame([case for cases in rows.values() for case in cases], index, list(PARTS))
    near = saliency_checks.near_region(Places(shares, pd.DataFrame(), []))
    row = near.loc[("3D", SALIENCY)]
    assert [row.trained, row.untrained, row.even] == pytest.approx([0.8, 0.3, 0.08])
    assert (row.difference.mean, row.difference.cases) == (pytest.approx(0.4), 1)
    assert near.loc[("3D", DEEPEST)].difference.cases == 0
    means = saliency_checks.over_cases(shares)
    assert means.cases.tolist() == [2, 2, 1, 0, 2]
    assert np.isnan(means.loc[("3D", DEEPEST, "trained"), "inside"])


def test_the_strongest_voxels_of_the_brain():
    of = np.arange(100, dtype=np.float32).reshape(1, 10, 10)
    brain = of < 80
    found = saliency_checks.strongest(of, brain, 0.1)
    assert np.flatnonzero(found).tolist() == list(range(72, 80))
    assert not saliency_checks.strongest(np.zeros_like(of), brain, 0.1).any()


def test_maps_of_a_run_in_native_space_and_without_its_weights(records, cohort, case):
    target = saliency.target(records["Paper A"], cohort, case, "WT")
    assert list(saliency_checks.cam_layers(target.network).values()) == ["encoder.3", "decoder.2"]
    maps, again = (saliency_checks.in_per_cent(target, samples=2) for _ in range(2))
    assert list(maps) == ["saliency", "SmoothGrad", DEEPEST, LAST]
    for name, of in maps.items():
        np.testing.assert_array_equal(of, again[name])
        assert of.shape == case.shape
        assert of.min() >= 0
        assert of.max() == pytest.approx(100) or of.max() == 0
    table = saliency_checks.without_weights(records["Paper A"], target, case, seed=3)
    assert list(table.columns) == [(place, of) for place in (BRAIN, NEAR) for of in (SALIENCY, DEEPEST, LAST)]
    assert (table.iloc[0] == 1).all()
    assert [table.index[1], table.index[-1]] == ["output", "first"]
