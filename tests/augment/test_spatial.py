"""Patches made of blocks: against SciPy on the same parameters, and where the outcome is known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates

from gbmlib.augment import elastic, spatial
from gbmlib.augment.spatial import Parameters, Settings

ALL = {"p_rotation": 1.0, "p_scaling": 1.0, "p_elastic": 1.0}
#: A filter as narrow as this has a lattice of all voxels, so that SciPy's own applies to the same noise.
FINE = {"sigma": (2.0, 2.0), "alpha": (8.0, 12.0)}


def linear_map(*matrices, slices=None):
    """Parameters that are matrices alone."""
    matrix = torch.tensor(np.array(matrices), dtype=torch.float64)
    nothing = torch.zeros(len(matrices), dtype=torch.float64)
    return Parameters(matrix, nothing, nothing + 10, None, slices)


def batch(block, channels=2, samples=1, seed=0, labels=(0, 1, 2, 4)):
    """Noise and coarse random labels."""
    generator = torch.manual_seed(seed)
    images = torch.randn((samples, channels, *block), generator=generator)
    blobs = torch.rand((samples, 1, *[-(-extent // 3) for extent in block]), generator=generator)
    blobs = torch.nn.functional.interpolate(blobs, size=block)[:, 0]
    return images, torch.tensor(labels, dtype=torch.uint8)[(blobs * len(labels)).long()]


def scipys(images, label, parameters, patch, sample):
    """A sample's patch by SciPy, in float64 from the same parameters; and where the label is clear."""
    slices = parameters.slices
    axes = spatial.moving_axes(slices)
    inner, matrix = [patch[axis] for axis in axes], parameters.matrix[sample].numpy()
    points = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in inner], indexing="ij"))
    if parameters.noise is not None:
        noise, sigma = parameters.noise[sample].double().numpy(), float(parameters.sigma[sample])
        assert noise.shape[1:] == tuple(inner)
        moves = [gaussian_filter(one, sigma, mode="constant", cval=0) for one in noise]
        points = points + float(parameters.alpha[sample]) * np.stack(moves)
    points = np.tensordot(matrix, points, 1)
    full = np.zeros((3, *patch))
    for axis, size in enumerate(images.shape[2:]):
        corner = (size - patch[axis]) // 2
        if axis in axes:
            line = points[axes.index(axis)] + corner + (patch[axis] - 1) / 2
            full[axis] = line if slices is None else np.expand_dims(line, slices)
        else:
            full[axis] = corner + np.arange(patch[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
    expected = [map_coordinates(c, full, order=1, mode="nearest") for c in images[sample].double().numpy()]
    values, held = label[sample].numpy(), np.append(np.unique(label), 255)  # and one that is nowhere
    shares = np.stack([map_coordinates((values == v).astype(float), full, order=1, mode="nearest") for v in held])
    clear = np.diff(np.sort(shares, axis=0)[-2:], axis=0)[0] > 1e-3
    return np.stack(expected), held[shares.argmax(0)], clear


@settings(deadline=None, max_examples=25)
@given(
    st.tuples(*[st.integers(1, 14)] * 3),
    st.tuples(*[st.integers(0, 9)] * 3),
    st.sampled_from([None, 0, 1, 2]),
    st.integers(0, 2**30),
)
def test_against_scipy_on_the_same_parameters(patch, more, slices, seed):
    block = tuple(p + m for p, m in zip(patch, more, strict=True))
    images, label = batch(block, samples=3, seed=seed)
    choice = Settings(**ALL | FINE, rotation=180 if slices is not None else 40, slices=slices)
    parameters = spatial.draw(3, patch, choice, torch.manual_seed(seed))
    found, found_label = spatial.apply(images, label, parameters, patch)
    assert found.shape == (3, 2, *patch)
    assert found_label.shape == (3, *patch)
    assert set(found_label.unique().tolist()) <= set(label.unique().tolist())
    for sample in range(3):
        expected, labels, clear = scipys(images, label, parameters, patch, sample)
        np.testing.assert_allclose(found[sample], expected, atol=5e-5 * float(images.max() - images.min()))
        np.testing.assert_array_equal(found_label[sample].numpy()[clear], labels[clear])


def test_against_scipy_in_many_chunks(monkeypatch):
    """Slabs of one patch, and several small patches at once."""
    images, label = batch((40, 44, 36), samples=2)
    parameters = spatial.draw(2, (24, 30, 21), Settings(**ALL | FINE), torch.manual_seed(1))
    whole = spatial.apply(images, label, parameters, (24, 30, 21))
    expected, labels, clear = scipys(images, label, parameters, (24, 30, 21), 1)
    for voxels in (1, 3000, 2**20):
        monkeypatch.setitem(spatial.CHUNK, "cpu", voxels)
        found = spatial.apply(images, label, parameters, (24, 30, 21))
        np.testing.assert_allclose(found[0][1], expected, atol=4e-4)
        np.testing.assert_array_equal(found[1][1].numpy()[clear], labels[clear])
        torch.testing.assert_close(found[0], whole[0], atol=2e-5, rtol=0)


def test_the_default_deformation_against_its_own_matrices():
    """With the usual sigma the lattice is coarse; the same matrices in float64, and SciPy's interpolation."""
    patch, block = (20, 40, 36), (40, 60, 56)
    images, label = batch(block)
    parameters = spatial.draw(1, patch, Settings(**ALL), torch.manual_seed(5))
    assert parameters.noise.shape[2:] == (5, 9, 8)
    matrices = [
        elastic.smoothing(n, k, parameters.sigma)[0] for n, k in zip(patch, parameters.noise.shape[2:], strict=True)
    ]
    moves = torch.einsum("dabc,za,yb,xc->dzyx", parameters.noise[0].double(), *matrices) * parameters.alpha[0]
    grid = torch.stack(torch.meshgrid(*[torch.arange(n) - (n - 1) / 2 for n in patch], indexing="ij")).double()
    centre = torch.tensor([(n - 1) / 2 for n in block], dtype=torch.float64).view(3, 1, 1, 1)
    points = torch.einsum("ij,j...->i...", parameters.matrix[0], grid + moves) + centre
    expected = map_coordinates(images[0, 1].numpy(), points.numpy(), order=1, mode="nearest", output=np.float64)
    np.testing.assert_allclose(spatial.apply(images, label, parameters, patch)[0][0, 1], expected, atol=4e-4)


@settings(deadline=None, max_examples=25)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(0, 5)] * 3), st.sampled_from([None, 0, 1, 2]))
def test_nothing_drawn_is_the_middle_bit_for_bit(patch, more, slices):
    block = tuple(p + m for p, m in zip(patch, more, strict=True))
    images, label = batch(block, samples=2)
    none = Settings(p_rotation=0, p_scaling=0, p_elastic=0, slices=slices)
    parameters = spatial.draw(2, patch, none, torch.manual_seed(0))
    assert parameters.moved == []
    assert spatial.reach(parameters, patch) == patch
    found, found_label = spatial.apply(images, label, parameters, patch)
    middle = (..., *(slice(m // 2, m // 2 + p) for p, m in zip(patch, more, strict=True)))
    assert torch.equal(found, images[middle])
    assert torch.equal(found_label, label[middle])
    found.zero_()
    assert images[middle].any(), "the result is a copy"


def test_the_identity_through_the_interpolation_is_exact_too():
    images, label = batch((9, 8, 11), samples=2)
    parameters = linear_map(np.eye(3), -np.eye(3))
    found, found_label = spatial.apply(images, label, parameters, (5, 6, 9))
    assert parameters.moved == [1]
    middle = (slice(2, 7), slice(1, 7), slice(1, 10))
    assert torch.equal(found[1], images[(1, slice(None), *middle)].flip(1, 2, 3))
    assert torch.equal(found_label[1], label[(1, *middle)].flip(0, 1, 2))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("size", [6, 7])
def test_a_quarter_turn_is_exact(axis, size):
    images, label = batch((size,) * 3)
    angles = torch.zeros(1, 3, dtype=torch.float64)
    angles[0, axis] = math.pi / 2
    parameters = linear_map(*spatial.turned(angles).numpy())
    found, found_label = spatial.apply(images, label, parameters, (size,) * 3)
    others = [a for a in range(3) if a != axis]
    turns = [torch.rot90(images[0], k, [a + 1 for a in others]) for k in (1, 3)]
    which = [torch.equal(found[0], turn) for turn in turns]
    assert sum(which) == 1
    assert torch.equal(found_label[0], torch.rot90(label[0], (1, 3)[which.index(True)], others))


def test_the_axes_turn_in_order_z_y_x():
    """A point on y goes about z, then about x: (0, 1, 0) -> towards x, and from there about x it does not move."""
    angles = torch.tensor([[math.pi / 2, 0, math.pi / 2]], dtype=torch.float64)
    moved = spatial.turned(angles)[0] @ torch.tensor([0.0, 1, 0], dtype=torch.float64)
    np.testing.assert_allclose(moved, [0, 0, 1], atol=1e-12)
    rng = np.random.default_rng(0)
    for matrix in spatial.turned(torch.from_numpy(rng.uniform(-4, 4, (20, 3)))).numpy():
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1)


def test_doubling_a_ramp_is_exact():
    """A linear ramp read at twice the distances from the centre has twice the slope; 2 makes things smaller."""
    z, y, x = torch.meshgrid(*[torch.arange(24.0)] * 3, indexing="ij")
    ramps = torch.stack([z, y, x, 4 * z - y + 2 * x])[None]
    found, _ = spatial.apply(ramps, ramps[:, 0].byte(), linear_map(2 * np.eye(3)), (10, 11, 12))
    ticks = [7 + 2 * (torch.arange(float(n)) - (n - 1) / 2) + (n - 1) / 2 for n in (10, 11, 12)]
    ticks[1], ticks[2] = ticks[1] - 1, ticks[2] - 1
    for channel, (tick, shape) in enumerate(zip(ticks, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True)):
        assert torch.equal(found[0, channel], tick.view(shape).expand(10, 11, 12))
    assert torch.equal(found[0, 3], 4 * found[0, 0] - found[0, 1] + 2 * found[0, 2])


def test_there_and_back_is_close_inside():
    size = 40
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, size)] * 3, indexing="ij"))
    images = torch.tensor(np.sin(3 * grid[:2] + 1)[None], dtype=torch.float32)
    label = torch.tensor((grid**2).sum(0) < 0.3)[None].byte()
    there = spatial.turned(torch.tensor([[0.2, -0.25, 0.15]], dtype=torch.float64))[0].numpy() * 1.1
    once = spatial.apply(images, label, linear_map(there), (size,) * 3)
    back, back_label = spatial.apply(*once, linear_map(np.linalg.inv(there)), (size,) * 3)
    inside = (..., *[slice(14, 26)] * 3)
    assert float((back - images)[inside].abs().max()) < 0.01
    assert float((back_label != label).float().mean()) < 0.01
    assert float((once[0] - images)[inside].abs().max()) > 0.1


def test_image_and_label_move_together():
    """A bright cube stays under its label: where the image passes half its brightness, the label is set."""
    cube = torch.zeros(4, 48, 48, 48, dtype=torch.uint8)
    cube[:, 18:31, 15:29, 20:34] = 3
    parameters = spatial.draw(4, (32,) * 3, Settings(**ALL, rotation=60), torch.manual_seed(2))
    images, label = spatial.apply(cube[:, None] * 10.0, cube, parameters, (32,) * 3)
    clear = (images[:, 0] - 15).abs() > 0.01
    assert torch.equal((images[:, 0] > 15)[clear], (label == 3)[clear])
    assert all(500 < int((one == 3).sum()) < 6000 for one in label)


@pytest.mark.parametrize("slices", [0, 1, 2])
def test_slices_stay_in_their_planes_and_move_alike(slices):
    patch, block = [16, 16, 16], [44, 44, 44]
    patch[slices], block[slices] = 5, 9
    plane = torch.randn(1, 1, 44, 44, generator=torch.manual_seed(0)).unsqueeze(slices + 2).expand(1, 1, *block)
    height = torch.arange(9.0).view([-1 if axis == slices else 1 for axis in range(3)]).expand(block)
    images = torch.cat([plane, height[None, None]], 1)
    parameters = spatial.draw(1, patch, Settings(**ALL, alpha=(200, 200), slices=slices), torch.manual_seed(3))
    assert parameters.matrix.shape == (1, 2, 2)
    found, label = spatial.apply(images, height[None].byte(), parameters, patch)
    assert found.shape[2:] == label.shape[1:] == tuple(patch)
    here = [found[0, 0].select(slices, k) for k in range(5)]
    assert all(torch.equal(one, here[0]) for one in here)
    assert not torch.equal(here[0], images[0, 0].select(slices, 0)[14:30, 14:30])
    for k in range(5):
        assert (found[0, 1].select(slices, k) == k + 2).all()
        assert (label[0].select(slices, k) == k + 2).all()


def test_a_sample_does_not_know_its_batch():
    images, label = batch((30, 30, 30), samples=5)
    parameters = spatial.draw(5, (14, 17, 20), Settings(**ALL), torch.manual_seed(4))
    together = spatial.apply(images, label, parameters, (14, 17, 20))
    for sample in range(5):
        one = slice(sample, sample + 1)
        alone = spatial.apply(images[one], label[one], parameters[one], (14, 17, 20))
        torch.testing.assert_close(alone[0], together[0][one], atol=2e-5, rtol=0)
        assert float((alone[1] != together[1][one]).float().mean()) < 1e-3


def test_samples_that_draw_nothing_are_cut_out_beside_those_that_move():
    images, label = batch((30, 30, 30), samples=12)
    parameters = spatial.draw(12, (14, 18, 20), Settings(), torch.manual_seed(4))
    assert 0 < len(parameters.moved) < 12
    found, found_label = spatial.apply(images, label, parameters, (14, 18, 20))
    for sample in range(12):
        same = torch.equal(found[sample], images[sample, :, 8:22, 6:24, 5:25])
        assert same == (sample not in parameters.moved)
        assert same <= torch.equal(found_label[sample], label[sample, 8:22, 6:24, 5:25])


def test_a_block_larger_than_needed_gives_the_same():
    parameters = spatial.draw(1, (12, 14, 16), Settings(**ALL, alpha=(0, 0)), torch.manual_seed(8))
    needed = spatial.reach(parameters, (12, 14, 16))
    large = [extent + 6 for extent in needed]
    images, label = batch(large)
    middle = (..., *[slice(3, 3 + extent) for extent in needed])
    ours = spatial.apply(images[middle], label[middle], parameters, (12, 14, 16))
    torch.testing.assert_close(spatial.apply(images, label, parameters, (12, 14, 16)), ours)


def test_half_precision_around_it_changes_nothing():
    images, label = batch((20, 20, 20))
    parameters = spatial.draw(1, (10, 10, 10), Settings(**ALL), torch.manual_seed(0))
    plain = spatial.apply(images, label, parameters, (10, 10, 10))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(spatial.apply(images, label, parameters, (10, 10, 10))[0], plain[0])
    assert not spatial.apply(images.requires_grad_(), label, parameters, (10, 10, 10))[0].requires_grad


def test_the_number_of_threads_changes_nothing_and_stays():
    images, label = batch((48, 48, 48))
    parameters = spatial.draw(1, (36, 36, 36), Settings(**ALL), torch.manual_seed(0))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(spatial.apply(images, label, parameters, (36, 36, 36)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_views_are_as_good_as_copies():
    images, label = batch((20, 18, 16), samples=2)
    parameters = spatial.draw(2, (10, 10, 10), Settings(**ALL), torch.manual_seed(0))
    turned = images.permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0), label.mT.contiguous().mT
    for a, b in zip(*(spatial.apply(*i, parameters, (10, 10, 10)) for i in ((images, label), turned)), strict=True):
        assert torch.equal(a, b)
        assert a.is_contiguous()


def test_shapes_that_do_not_fit_are_refused():
    images, label = batch((8, 8, 8), samples=2)
    parameters = spatial.draw(2, (6, 6, 6), Settings(), torch.manual_seed(0))
    for wrong in ((images, label[:, 1:], parameters), (images, label[1:], parameters), (images, label, parameters[:1])):
        with pytest.raises(ValueError, match="do not fit each other"):
            spatial.apply(*wrong, (6, 6, 6))


def test_the_same_matrix_in_batchgenerators():
    """nnU-Net v2's own map and interpolation for the same matrix (its elastic field is another)."""
    theirs = pytest.importorskip("batchgeneratorsv2.transforms.spatial.spatial", reason="comes with the extra peers")
    images, label = batch((32, 34, 38))
    transform = theirs.SpatialTransform(
        (16, 20, 22), 0, False, p_rotation=1, rotation=(0.1, 0.3), p_scaling=1, scaling=(0.85, 1.25)
    )
    drawn = transform.get_parameters(image=images[0])
    expected = transform.apply({"image": images[0], "segmentation": label.short()}, **drawn)
    found, found_label = spatial.apply(images, label, linear_map(drawn["affine"]), (16, 20, 22))
    torch.testing.assert_close(found[0], expected["image"], atol=4e-4, rtol=0)
    assert float((found_label != expected["segmentation"]).float().mean()) < 2e-3  # they round shares to half precision


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
@pytest.mark.parametrize("slices", [None, 0])
def test_a_graphics_card_gives_the_same_and_is_not_waited_for(slices):
    images, label = batch((30, 40, 40), samples=3)
    parameters = spatial.draw(3, (16, 20, 24), Settings(**ALL, slices=slices), torch.manual_seed(0))
    here = spatial.apply(images, label, parameters, (16, 20, 24))
    images, label = images.cuda(), label.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        there = spatial.apply(images, label, parameters, (16, 20, 24))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(there[0].cpu(), here[0], atol=1e-4, rtol=0)
    assert float((there[1].cpu() != here[1]).float().mean()) < 1e-3


@pytest.mark.parametrize("slices", [None, 0, 2])
def test_several_label_maps_go_the_same_way_as_one(slices):
    patch, moves = (10, 12, 8), Settings(p_rotation=1, p_scaling=1, p_elastic=1, slices=slices, alpha=(0, 100))
    generator = torch.Generator().manual_seed(4)
    drawn = spatial.draw(3, patch, moves, generator)
    size = spatial.reach(drawn, patch)
    images, maps = torch.randn(3, 2, *size), torch.randint(0, 4, (3, 2, *size), dtype=torch.uint8)
    moved, both = spatial.apply(images, maps, drawn, patch)
    for number in range(2):
        same, one = spatial.apply(images, maps[:, number], drawn, patch)
        torch.testing.assert_close(same, moved, rtol=0, atol=0)
        torch.testing.assert_close(one, both[:, number], rtol=0, atol=0)
    with pytest.raises(ValueError, match="do not fit each other"):
        spatial.apply(images, maps[:, :, 1:], drawn, patch)
