"""Probabilities on disk, and their average over networks."""

import numpy as np
import pytest
import torch
from cases_in_memory import case_of

from gbmlib.preprocess import pipeline
from gbmlib.preprocess.grids import Grid, restore
from gbmlib.study import out_of_fold

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
