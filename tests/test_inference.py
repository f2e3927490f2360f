"""Sliding windows against MONAI's, against a float64 evaluation of their own rule, and in their limits."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference

from gbmlib import inference

SIZES = st.tuples(*[st.integers(1, 13)] * 3)


def test_tile_starts_by_hand():
    assert inference.tile_starts(110, 64, 0.5) == [0, 23, 46]
    assert inference.tile_starts(240, 128, 0.5) == [0, 56, 112]
    assert inference.tile_starts(64, 64, 0.5) == [0]
    assert inference.tile_starts(30, 64, 0.5) == [0]


@given(st.integers(1, 300), st.integers(1, 64), st.floats(0, 0.95))
def test_tiles_cover_the_axis_and_overlap_enough(extent, patch, overlap):
    starts = inference.tile_starts(extent, patch, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(extent - patch, 0)
    assert all(b - a <= max(1, int(patch * (1 - overlap))) for a, b in pairwise(starts))


@settings(deadline=None, max_examples=40)
@given(SIZES, st.tuples(*[st.integers(1, 6)] * 3), st.sets(st.integers(0, 2)))
def test_a_network_that_copies_gives_the_image_back(shape, patch, mirrors):
    image = torch.randn(2, *shape)
    out = inference.sliding_window(lambda tile: tile, image, patch, mirror_axes=sorted(mirrors))
    torch.testing.assert_close(out, image, atol=1e-5, rtol=1e-5)


def test_agrees_with_its_own_rule_in_float64():
    image, patch = torch.randn(1, 11, 9, 14), (6, 4, 8)
    calls = []

    def network(tile):  # differs from tile to tile, so that blending shows
        calls.append(tile)
        return tile * (1 + 0.1 * len(calls)) + tile.mean()

    out = inference.sliding_window(network, image, patch)
    weight = inference.gaussian(patch).double().numpy()
    total, weights = np.zeros(image.shape), np.zeros(image.shape)
    for number, window in enumerate(inference.tiles(image.shape[1:], patch, 0.5), 1):
        tile = image.double().numpy()[(slice(None), *window)]
        total[(slice(None), *window)] += weight * (tile * (1 + 0.1 * number) + tile.mean())
        weights[(slice(None), *window)] += weight
    np.testing.assert_allclose(out.numpy(), total / weights, atol=1e-5)


def test_agrees_with_monai_where_the_tiles_are_the_same():
    # Evenly spaced starts and MONAI's coincide when the steps divide the volume.
    image, patch = torch.randn(2, 16, 24, 8), (8, 8, 8)
    network = torch.nn.Conv3d(2, 3, 3, padding=1)
    with torch.no_grad():
        ours = inference.sliding_window(network, image, patch)
        weights = inference.gaussian(patch)
        theirs = sliding_window_inference(image[None], patch, 1, network, 0.5, roi_weight_map=weights)[0]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_mirroring_averages_over_all_combinations_of_axes():
    image = torch.randn(1, 4, 4, 4)
    ramp = torch.arange(4.0).view(1, 1, 1, 1, 4).expand(1, 1, 4, 4, 4)
    out = inference.sliding_window(lambda tile: ramp, image, (4, 4, 4), mirror_axes=(0, 2))
    torch.testing.assert_close(out, torch.full_like(out, 1.5))


def test_refusals():
    with pytest.raises(ValueError, match="overlap"):
        inference.sliding_window(lambda t: t, torch.zeros(1, 4, 4, 4), (2, 2, 2), overlap=1)
    with pytest.raises(ValueError, match="channel, z, y, x"):
        inference.sliding_window(lambda t: t, torch.zeros(4, 4, 4), (2, 2, 2))
