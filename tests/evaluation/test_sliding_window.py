"""Sliding windows against MONAI's, against a float64 evaluation of their own rule, and in their limits."""

import importlib
from functools import partial
from itertools import chain, combinations, pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference

from gbmlib import models
from gbmlib.evaluation import sliding_window

SIZES = st.tuples(*[st.integers(1, 13)] * 3)
PATCHES = st.tuples(*[st.integers(1, 6)] * 3)


def as_published(predict, image, patch_size, overlap=0.5, mirror_axes=()):
    """The algorithm of the published records, written out: the defaults are to give the same bits for ever."""
    size = image.shape[1:]
    padding = [max(p - n, 0) for p, n in zip(patch_size, size, strict=True)]
    before = [room // 2 for room in padding]
    pad = [part for axis in (2, 1, 0) for part in (before[axis], padding[axis] - before[axis])]
    image = torch.nn.functional.pad(image, pad)
    starts = []
    for extent, patch in zip(image.shape[1:], patch_size, strict=True):
        count = -(-(extent - patch) // max(1, int(patch * (1 - overlap))))
        starts.append([round(number * (extent - patch) / count) for number in range(count + 1)] if count else [0])
    weight = torch.ones(())
    for patch in patch_size:
        offset = torch.arange(patch, dtype=torch.float32) - (patch - 1) / 2
        weight = weight[..., None] * torch.exp(-0.5 * (offset / (patch * (1 / 8))) ** 2)
    weight = weight / weight.max()
    mirrors = list(chain.from_iterable(combinations(mirror_axes, n) for n in range(len(mirror_axes) + 1)))
    total, weights = None, torch.zeros(image.shape[1:])
    for corner in product(*starts):
        window = tuple(slice(at, at + patch) for at, patch in zip(corner, patch_size, strict=True))
        tile = image[(slice(None), *window)][None]
        results = []
        for axes in mirrors:
            dims = [axis - 3 for axis in axes]
            results.append(predict(tile.flip(dims)).flip(dims).float())
        result = sum(results)[0] / len(mirrors)
        if total is None:
            total = torch.zeros((len(result), *image.shape[1:]))
        total[(slice(None), *window)] += result * weight
        weights[window] += weight
    inner = tuple(slice(b, b + extent) for b, extent in zip(before, size, strict=True))
    return (total / weights)[(slice(None), *inner)]


# ------------------------------------------------------------------------------------------------------ positions


def test_tile_starts_by_hand():
    assert sliding_window.tile_starts(110, 64, 0.5) == [0, 23, 46]
    assert sliding_window.tile_starts(240, 128, 0.5) == [0, 56, 112]
    assert sliding_window.tile_starts(64, 64, 0.5) == [0]
    assert sliding_window.tile_starts(30, 64, 0.5) == [0]


@given(st.integers(1, 300), st.integers(1, 64), st.floats(0, 0.95))
def test_tiles_cover_the_axis_and_overlap_enough(extent, patch, overlap):
    starts = sliding_window.tile_starts(extent, patch, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(extent - patch, 0)
    assert all(0 < b - a <= max(1, int(patch * (1 - overlap))) for a, b in pairwise(starts))


# -------------------------------------------------------------------------------------------------- the same result


@settings(deadline=None, max_examples=40)
@given(SIZES, PATCHES, st.sets(st.integers(0, 2)), st.sampled_from([0, 0.25, 0.5, 0.7]), st.integers(0, 99))
def test_the_defaults_give_the_bits_of_the_published_records(shape, patch, mirrors, overlap, seed):
    torch.manual_seed(seed)
    image, network = torch.randn(2, *shape), torch.nn.Conv3d(2, 3, 3, padding=1)
    mirrors = sorted(mirrors)
    ours = sliding_window.sliding_window(network, image, patch, overlap, mirrors)
    with torch.no_grad():
        assert torch.equal(ours, as_published(network, image, patch, overlap, mirrors))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["vnet", "segvae"])
def test_the_networks_of_the_records_too(name, precision):
    torch.manual_seed(0)
    network = models.build(name, 2, 3, (16, 16, 16), filters=8 if name == "segvae" else 2).eval()
    image = torch.randn(2, 20, 12, 30)
    untouched = image.clone()

    def predict(tile):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
            logits = network(tile)
        return torch.sigmoid(logits.float())

    with torch.inference_mode():
        ours = sliding_window.sliding_window(predict, image, (16, 16, 16), mirror_axes=(0, 1))
        assert torch.equal(ours, as_published(predict, image, (16, 16, 16), mirror_axes=(0, 1)))
    assert torch.equal(image, untouched)


@settings(deadline=None, max_examples=40)
@given(SIZES, PATCHES, st.sets(st.integers(0, 2)), st.integers(1, 5))
def test_a_network_that_copies_gives_the_image_back(shape, patch, mirrors, batch_size):
    image = torch.randn(2, *shape)
    for weights in (sliding_window.gaussian, sliding_window.constant):
        out = sliding_window.sliding_window(
            lambda tile: tile, image, patch, mirror_axes=sorted(mirrors), batch_size=batch_size, weights=weights
        )
        torch.testing.assert_close(out, image, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("patch", [(6, 4, 8), (12, 20, 3)])
def test_agrees_with_its_own_rule_in_float64(patch):
    image = torch.randn(1, 11, 9, 14)
    calls = []

    def network(tile):  # differs from tile to tile, so that blending shows
        calls.append(tile)
        return tile * (1 + 0.1 * len(calls)) + tile.mean()

    out = sliding_window.sliding_window(network, image, patch)
    pad = [max(p - n, 0) for p, n in zip(patch, image.shape[1:], strict=True)]
    padded = np.pad(image.double().numpy(), [(0, 0), *((room // 2, room - room // 2) for room in pad)])
    axes = [np.exp(-0.5 * ((np.arange(p) - (p - 1) / 2) / (p / 8)) ** 2) for p in patch]
    weight = np.einsum("z,y,x->zyx", *axes)
    total, weights = np.zeros(padded.shape), np.zeros(padded.shape)
    for number, window in enumerate(sliding_window.tiles(padded.shape[1:], patch, 0.5), 1):
        tile = padded[(slice(None), *window)]
        total[(slice(None), *window)] += weight * (tile * (1 + 0.1 * number) + tile.mean())
        weights[(slice(None), *window)] += weight
    inner = tuple(slice(room // 2, room // 2 + n) for room, n in zip(pad, image.shape[1:], strict=True))
    np.testing.assert_allclose(out.numpy(), (total / weights)[(slice(None), *inner)], atol=1e-5)


@pytest.mark.parametrize(("shape", "patch"), [((40, 64, 32), (16, 32, 16)), ((96, 16, 16), (64, 16, 16))])
@pytest.mark.parametrize("mode", ["gaussian", "constant"])
def test_agrees_with_monai_where_both_cut_the_same_tiles(shape, patch, mode):
    torch.manual_seed(0)
    image = torch.randn(2, *shape)

    def network(tile):  # what it says of a voxel depends on the tile around it
        return torch.cat([tile * tile.std(), tile.flip(-1), tile.mean((1, 2), keepdim=True).expand_as(tile)], 1)

    weights = partial(compute_importance_map, mode=mode) if mode == "gaussian" else sliding_window.constant
    ours = sliding_window.sliding_window(network, image, patch, weights=weights)
    theirs = sliding_window_inference(image[None], patch, 1, network, 0.5, mode)[0]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_gaussian_weight_is_monais_but_for_its_floor():
    """MONAI raises what is below a thousandth; here a Gaussian stays one."""
    ours, theirs = sliding_window.gaussian((16, 9, 12)), compute_importance_map((16, 9, 12), mode="gaussian")
    theirs = theirs / theirs.max()
    far = ours < 2e-3
    torch.testing.assert_close(ours[~far], theirs[~far], atol=1e-6, rtol=1e-5)
    assert far.any()
    assert (ours[far] <= theirs[far] + 1e-6).all()


def test_mirroring_averages_over_all_combinations_of_axes():
    image = torch.randn(1, 4, 4, 4)
    ramp = torch.arange(4.0).view(1, 1, 1, 1, 4).expand(1, 1, 4, 4, 4)
    out = sliding_window.sliding_window(lambda tile: ramp, image, (4, 4, 4), mirror_axes=(0, 2))
    torch.testing.assert_close(out, torch.full_like(out, 1.5))


# ---------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("batch_size", [2, 5, 100])
def test_tiles_come_in_batches(batch_size):
    image, sizes = torch.randn(2, 9, 13, 7), []

    def network(tiles):
        sizes.append(len(tiles))
        return tiles * tiles.mean((1, 2, 3, 4), keepdim=True)

    one_by_one = sliding_window.sliding_window(network, image, (4, 6, 5), mirror_axes=(1,))
    sizes.clear()
    out = sliding_window.sliding_window(network, image, (4, 6, 5), mirror_axes=(1,), batch_size=batch_size)
    torch.testing.assert_close(out, one_by_one, atol=1e-6, rtol=1e-6)
    count = len(list(sliding_window.tiles((9, 13, 7), (4, 6, 5), 0.5)))
    assert sum(sizes) == 2 * count  # as it is, and mirrored
    assert max(sizes) == min(batch_size, count)


def test_half_precision_is_blended_in_float32():
    """With bfloat16 sums, 1 + 1/256 in 27 overlapping tiles would be 1."""
    image = torch.full((1, 9, 9, 9), 1.0)
    value = torch.tensor(1 + 1 / 128)

    def network(tile):
        with torch.autocast("cpu", torch.bfloat16):
            return torch.nn.functional.conv3d(tile, value.view(1, 1, 1, 1, 1))

    for context in (torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=False)):
        with context:
            out = sliding_window.sliding_window(network, image, (4, 4, 4), 0.75, mirror_axes=(0, 1, 2))
        assert network(image[None]).dtype == torch.bfloat16
        assert out.dtype == torch.float32
        torch.testing.assert_close(out, torch.full_like(out, 1 + 1 / 128), atol=1e-6, rtol=0)


def test_two_dimensional_networks_take_a_slice_or_several():
    torch.manual_seed(0)
    image, slices = torch.randn(2, 7, 11, 13), []
    plane = torch.nn.Conv2d(2, 3, 3, padding=1)

    def network(tiles):  # slices are samples
        slices.append(len(tiles) * tiles.shape[2])
        tile, _, z, y, x = tiles.shape
        flat = tiles.transpose(1, 2).reshape(tile * z, 2, y, x)
        return plane(flat).view(tile, z, 3, y, x).transpose(1, 2)

    one = sliding_window.sliding_window(network, image, (1, 8, 8), mirror_axes=(1, 2))
    assert one.shape == (3, 7, 11, 13)
    assert sum(slices) == 7 * 2 * 3 * 4  # slices, tiles along y, along x, mirrors
    for options in ({"patch_size": (1, 8, 8), "batch_size": 4}, {"patch_size": (3, 8, 8), "overlap": (0, 0.5, 0.5)}):
        many = sliding_window.sliding_window(network, image, mirror_axes=(1, 2), **options)
        torch.testing.assert_close(many, one, atol=1e-6, rtol=1e-5)


def test_no_gradient_is_kept():
    out = sliding_window.sliding_window(torch.nn.Conv3d(1, 1, 1), torch.randn(1, 5, 5, 5), (4, 4, 4))
    assert not out.requires_grad


def test_progress_is_shown_only_where_asked(capsys):
    sliding_window.sliding_window(torch.clone, torch.zeros(1, 5, 5, 5), (4, 4, 4))
    assert not capsys.readouterr().err
    sliding_window.sliding_window(torch.clone, torch.zeros(1, 5, 5, 5), (4, 4, 4), progress=True)
    assert "predicting" in capsys.readouterr().err


@pytest.mark.parametrize("peer", ["MONAI", "nnU-Net v2"])
def test_what_the_benchmark_compares_agrees(peer, monkeypatch):
    if peer == "nnU-Net v2":
        pytest.importorskip("nnunetv2", reason="nnU-Net v2 comes with the benchmarks' peers")
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    pairs = importlib.import_module("benchmarks.inference").pairs((24, 36, 40))
    (pair,) = [pair for pair in pairs if pair.name.endswith(f"against {peer}")]
    # nnU-Net adds up in half precision, in which its weights at the volume's corners underflow.
    where, tolerance = (slice(5, -5), 0.02) if peer == "nnU-Net v2" else (slice(None), 1e-5)
    inner = (slice(None), where, where, where)
    ours, theirs = pair.ours()()[inner], pair.theirs()()[inner]
    torch.testing.assert_close(ours, theirs.float(), atol=tolerance, rtol=0)
    assert ours.std() > 0.1


# --------------------------------------------------------------------------------------------------------- refusals


def test_refusals():
    with pytest.raises(ValueError, match="overlap"):
        sliding_window.sliding_window(lambda t: t, torch.zeros(1, 4, 4, 4), (2, 2, 2), overlap=1)
    with pytest.raises(ValueError, match="channel, z, y, x"):
        sliding_window.sliding_window(lambda t: t, torch.zeros(4, 4, 4), (2, 2, 2))


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ValueError, match="overlap") as refused:
        sliding_window.sliding_window(
            torch.clone, torch.zeros(1, 4, 0, 4), (2, 0, 2), (0.5, 0.5, 2), (0, 3), batch_size=0
        )
    said = str(refused.value)
    for part in ("(1, 4, 0, 4)", "(2, 0, 2)", "(0.5, 0.5, 2)", "(0, 3)", "batch_size is 0"):
        assert part in said


@pytest.mark.parametrize("axes", [(3,), (-1,), (0, 0)])
def test_mirror_axes_out_of_range(axes):
    with pytest.raises(ValueError, match="each at most once"):
        sliding_window.sliding_window(torch.clone, torch.zeros(1, 4, 4, 4), (2, 2, 2), mirror_axes=axes)


@pytest.mark.parametrize(
    "network", [lambda tile: tile[..., :1], lambda tile: tile[0], lambda tile: tile.repeat(2, 1, 1, 1, 1)]
)
def test_a_network_that_returns_another_size_is_named(network):
    with pytest.raises(ValueError, match=r"predict returned .* for \(1, 1, 2, 2, 2\)"):
        sliding_window.sliding_window(network, torch.zeros(1, 4, 4, 4), (2, 2, 2))
