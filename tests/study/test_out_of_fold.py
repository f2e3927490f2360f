"""Probabilities on disk, their average over networks, and predictions that finished runs make anew."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases_in_memory import case_of

from gbmlib.cohorts import open_cohort
from gbmlib.preprocess import pipeline
from gbmlib.preprocess.grids import Grid, restore
from gbmlib.study import Ensemble, nnunet, out_of_fold, predicting, scales
from gbmlib.study.out_of_fold import UnsuitableRuns
from gbmlib.study.records import HELD_OUT

COHORT = "phantom:cases=4,spacing=6,seed=0"
WHOLE = (slice(0, 2), slice(0, 2), slice(0, 2))


def grid(shape=(2, 2, 2), axes=(0, 1, 2), name="case", native=(2, 2, 2), box=WHOLE):
    return Grid(name, shape, box, native, axes)


def drawn(shape, seed=0):
    volume = np.random.default_rng(seed).random((3, *shape), np.float32)
    return volume / volume.sum(0)


def test_what_is_read_is_what_was_written_to_half_precision(tmp_path):
    place, volume = (
        grid((4, 3, 5), (1, 0, 2), "a/b", (9, 9, 9), (slice(1, 4), slice(2, 6), slice(0, 9))),
        drawn((4, 3, 5)),
    )
    path = tmp_path / "of" / "a.npz"
    for given in (volume, torch.from_numpy(volume)):
        out_of_fold.save(path, given, place)
        found, where = out_of_fold.load(path)
        assert where == place
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, volume, atol=5e-4)
    assert [file.name for file in path.parent.iterdir()] == ["a.npz"]


def test_what_was_kept_goes_back_to_native_space_as_if_it_had_not_been(tmp_path):
    images = np.zeros((1, 12, 10, 8), np.float32)
    images[:, 2:10, 1:9, 2:8] = np.random.default_rng(0).random((8, 8, 6)) + 1
    prepared = pipeline.prepare(case_of(images), (1.7, 1.7, 1.7), axes=(2, 0, 1))
    volume = drawn(prepared.shape).astype(np.float16)
    out_of_fold.save(tmp_path / "a.npz", volume, prepared)
    expected = restore(volume.astype(np.float32), prepared)
    np.testing.assert_array_equal(restore(*out_of_fold.load(tmp_path / "a.npz")), expected)


def test_the_average_by_hand():
    one, other = np.array([[0.2, 1.0], [0.8, 0.0]], np.float32), np.array([[0.6, 0.0], [0.4, 1.0]], np.float32)
    members = [
        (np.broadcast_to(of.T.reshape(2, 2, 1, 1).transpose(1, 0, 2, 3), (2, 2, 2, 2)), grid()) for of in (one, other)
    ]
    mean, where = out_of_fold.average(members)
    np.testing.assert_allclose(mean[:, 0, 0, 0], [0.4, 0.6])
    np.testing.assert_allclose(mean[:, 1, 0, 0], [0.5, 0.5])
    assert where == grid()


def test_networks_of_different_grids_meet_in_native_space():
    images = np.random.default_rng(1).random((1, 8, 8, 8), np.float32) + 1
    coarse, fine = (pipeline.prepare(case_of(images), (spacing,) * 3) for spacing in (2, 1))
    of = [(drawn(prepared.shape, seed), prepared.grid) for seed, prepared in enumerate((coarse, fine))]
    mean, where = out_of_fold.average(of)
    assert where.shape == where.native_shape == (8, 8, 8)
    np.testing.assert_allclose(mean, sum(restore(*pair) for pair in of) / 2, atol=1e-6)
    np.testing.assert_allclose(restore(mean, where), mean)
    turned = pipeline.prepare(case_of(images), (1, 1, 1), axes=(2, 1, 0))
    volume = drawn(fine.shape)
    mean, _ = out_of_fold.average([(volume, fine.grid), (volume.transpose(0, 3, 2, 1), turned.grid)])
    np.testing.assert_allclose(mean, volume, atol=1e-6)


def test_one_network_is_its_own_average_and_nothing_given_is_changed():
    volume = drawn((2, 2, 2))
    before = volume.copy()
    np.testing.assert_array_equal(out_of_fold.average([(volume, grid())])[0], volume)
    out_of_fold.average([(volume, grid()), (volume, grid())])
    np.testing.assert_array_equal(volume, before)


def test_what_cannot_be_averaged_kept_or_read_says_why(tmp_path):
    with pytest.raises(ValueError, match="no probabilities"):
        out_of_fold.average([])
    for other in (grid(name="another"), grid(native=(3, 2, 2))):
        with pytest.raises(ValueError, match="only one case's"):
            out_of_fold.average([(drawn((2, 2, 2)), grid()), (drawn((2, 2, 2)), other)])
    with pytest.raises(ValueError, match="only one case's"):
        out_of_fold.average([(drawn((2, 2, 2)), grid()), (drawn((2, 2, 2))[:2], grid())])
    with pytest.raises(ValueError, match="on a grid of"):
        out_of_fold.save(tmp_path / "a.npz", drawn((2, 2, 3)), grid())
    out_of_fold.save(tmp_path / "a.npz", drawn((2, 2, 2)), grid())
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"a\.npz cannot be read"):
        out_of_fold.load(tmp_path / "a.npz")


# ------------------------------------------------------------------------------------------------------ predicting now


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def cohort():
    return open_cohort(COHORT)


def held_out(record):
    return record.cases[record.cases.split == HELD_OUT].case.iloc[0]


@pytest.mark.parametrize("name", ["zero", "cascade"])
def test_predicting_now_gives_what_the_run_kept(small_runs, cohort, name):
    record = getattr(small_runs, name)
    case, shares = held_out(record), []
    found = out_of_fold.segment([record], small_runs.store, cohort, case, shares.append)
    assert np.array_equal(found, cohort[case].read(record.prediction(case)))
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)


def test_an_average_made_now_is_the_ensembles(small_runs, cohort):
    """The ensemble averaged what its members kept in half precision: a voxel on the threshold may fall otherwise."""
    case = held_out(small_runs.zero)
    kept = cohort[case].read(small_runs.pair.prediction(case))
    now = out_of_fold.segment([small_runs.pair], small_runs.store, cohort, case)
    assert (now != kept).mean() < 1e-3
    assert now.any()
    plain = out_of_fold.segment([small_runs.zero, small_runs.other], small_runs.store, cohort, case)
    alone = out_of_fold.segment([small_runs.zero], small_runs.store, cohort, case)
    assert not np.array_equal(plain, alone)


def test_a_cascade_predicts_a_case_that_no_fold_has_seen(small_runs):
    other = open_cohort("phantom:cases=2,spacing=6,seed=9")
    found = out_of_fold.segment([small_runs.cascade], small_runs.store, other, other.cases[0].id)
    assert found.shape == other.cases[0].shape


@pytest.mark.parametrize(
    ("changes", "shape"),
    [({}, (26, 40, 33)), ({"mirrored_inference": True}, (64, 20, 33)), ({"patch_size": (48, 32, 32)}, (50, 32, 70))],
)
def test_the_number_of_passes_is_that_of_the_networks_calls(changes, shape):
    called = []

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, tile):
            called.append(tile.shape)
            return torch.zeros(len(tile), 3, *tile.shape[2:])

    of = scales.vnet("test", **changes)[0]
    predicting.predict(Network(), of, torch.rand(2, *shape))
    assert len(called) == out_of_fold.calls(of, shape, of.mirrored_inference)
    flat = nnunet.glioma("test", 2, (0,), cohort=COHORT, **{k: v for k, v in changes.items() if k[0] == "m"})[0]
    called.clear()
    predicting.predict(Network(), flat, torch.rand(2, *shape))
    assert len(called) == out_of_fold.calls(flat, shape, flat.mirrored_inference)


def test_a_prediction_stops_when_it_is_told_to(small_runs, cohort):
    def progress(share):
        if share > 0:
            raise Stopped

    with pytest.raises(Stopped):
        out_of_fold.segment([small_runs.zero, small_runs.other], small_runs.store, cohort, cohort.cases[0].id, progress)


def test_runs_that_cannot_be_averaged_are_refused_with_all_reasons(small_runs, cohort):
    with pytest.raises(UnsuitableRuns, match="different regions and kinds"):
        out_of_fold.segment([small_runs.zero, small_runs.cascade], small_runs.store, cohort, cohort.cases[0].id)
    with pytest.raises(UnsuitableRuns, match="no run is chosen"):
        out_of_fold.segment([], small_runs.store, cohort, cohort.cases[0].id)
    with pytest.raises(UnsuitableRuns, match="takes t1ce"):
        out_of_fold.segment([small_runs.zero], small_runs.store, cohort.with_modalities(["t2"]), cohort.cases[0].id)


def test_why_a_run_does_not_suit_is_said_at_once(small_runs, hippocampus_folder):
    data = open_cohort(f"msd:{hippocampus_folder}")
    why = out_of_fold.unsuitable(small_runs.zero, data)
    assert "it takes t1ce, flair, which msd-task04-hippocampus-260 lacks" in why
    assert "other structures" in why


def test_the_average_of_a_lone_ensemble_keeps_single_components_as_it_was_asked_to(cohort):
    """Two voxels that share an edge alone are one component with 26 neighbours and two with 6."""
    members = tuple(scales.vnet("test", seed=seed)[0] for seed in (0, 1))
    probabilities = np.zeros((3, 2, 3, 3), np.float32)
    probabilities[0, 0, 0, 0] = probabilities[0, 0, 1, 1] = 1
    place = grid((2, 3, 3), native=(2, 3, 3), box=(slice(0, 2), slice(0, 3), slice(0, 3)))
    for connectivity, voxels in ((6, 1), (26, 2)):
        ensemble = Ensemble(members=members, single_components=True, connectivity=connectivity)
        record = SimpleNamespace(experiment=ensemble, provenance={"single_components": [2]})
        assert (out_of_fold.label_map_of((probabilities, place), [record], cohort) > 0).sum() == voxels
