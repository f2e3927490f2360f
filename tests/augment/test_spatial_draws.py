"""What is drawn for a batch, how often, and how large a block it needs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gbmlib.augment import spatial
from gbmlib.augment.spatial import Settings

ALL = {"p_rotation": 1.0, "p_scaling": 1.0, "p_elastic": 1.0}


def test_draws_are_reproducible_bit_for_bit():
    images = torch.randn(3, 1, 24, 24, 24, generator=torch.manual_seed(0))
    label = (images[:, 0] > 0).byte()
    results = []
    for seed in (6, 6, 7):
        generator = torch.Generator().manual_seed(seed)
        parameters = spatial.draw(3, (12, 12, 12), Settings(**ALL), generator)
        results.append((*spatial.apply(images, label, parameters, (12, 12, 12)), torch.rand(1, generator=generator)))
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][0], results[2][0])


def test_probabilities_and_ranges():
    choice = Settings(p_rotation=0.2, p_scaling=0.3, p_elastic=0.4)
    drawn = spatial.draw(6000, (8, 8, 8), choice, torch.manual_seed(0))
    factor = torch.linalg.det(drawn.matrix) ** (1 / 3)
    scaled = (factor - 1).abs() > 1e-9
    turned = drawn.matrix / factor[:, None, None]
    rotated = (turned - torch.eye(3)).abs().amax((1, 2)) > 1e-9
    deformed = drawn.alpha > 0
    for found, expected in ((rotated, 0.2), (scaled, 0.3), (deformed, 0.4), (rotated & scaled, 0.06)):
        assert float(found.double().mean()) == pytest.approx(expected, abs=0.02)
    assert 0.85 <= float(factor[scaled].min()) < 0.86
    assert 1.24 < float(factor[scaled].max()) <= 1.25
    assert float((factor[scaled] < 1).double().mean()) == pytest.approx(0.5, abs=0.04)
    assert 890 < float(drawn.alpha.max()) <= 900
    assert 9 <= float(drawn.sigma.min()) < 9.1
    assert 12.9 < float(drawn.sigma.max()) <= 13
    assert float(drawn.noise[deformed].abs().max()) <= 1
    assert not drawn.noise[~deformed].any()
    assert sorted(drawn.moved) == (rotated | scaled | deformed).nonzero().flatten().tolist()


def test_angles_reach_their_bounds_about_every_axis():
    drawn = spatial.draw(4000, (8, 8, 8), Settings(p_rotation=1, p_scaling=0, p_elastic=0), torch.manual_seed(0))
    # About x, times about y, times about z: from such a matrix the three angles can be read.
    sine, cosine = drawn.matrix[:, 2, 0], (1 - drawn.matrix[:, 2, 0] ** 2).sqrt()
    for found in (sine, drawn.matrix[:, 2, 1] / cosine, drawn.matrix[:, 1, 0] / cosine):
        degrees = torch.rad2deg(torch.asin(found))
        assert float(degrees.abs().max()) == pytest.approx(15, abs=0.1)
        assert float(degrees.mean()) == pytest.approx(0, abs=0.6)
    for slices in range(3):
        flat = Settings(p_rotation=1, p_scaling=0, p_elastic=0, rotation=180, slices=slices)
        matrix = spatial.draw(4000, (8, 8, 8), flat, torch.manual_seed(0)).matrix
        angle = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0])
        assert float(angle.abs().max()) == pytest.approx(math.pi, abs=0.01)
        assert float(angle.mean()) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("left_out", ["p_rotation", "p_scaling", "p_elastic"])
def test_to_leave_one_out_does_not_change_the_others(left_out):
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    everything, less = (
        spatial.draw(40, (8, 8, 8), Settings(**ALL | change), generator)
        for change, generator in zip(({}, {left_out: 0.0}), generators, strict=True)
    )
    assert torch.equal(*(generator.get_state() for generator in generators))
    factor = [torch.linalg.det(drawn.matrix)[:, None, None] ** (1 / 3) for drawn in (everything, less)]
    if left_out != "p_scaling":
        torch.testing.assert_close(*factor)
    if left_out != "p_rotation":
        torch.testing.assert_close(everything.matrix / factor[0], less.matrix / factor[1])
    if left_out != "p_elastic":
        assert torch.equal(everything.alpha, less.alpha)
        assert torch.equal(everything.noise, less.noise)
    else:
        assert less.noise is None


@settings(deadline=None, max_examples=25)
@given(
    st.tuples(*[st.integers(1, 200)] * 3),
    st.sampled_from([(None, 15), (None, 40), (0, 180), (1, 15), (2, 90)]),
    st.tuples(st.booleans(), st.booleans()),
    st.integers(0, 2**30),
)
def test_no_border_enters_a_block_of_the_stated_size(patch, about, on, seed):
    slices, rotation = about
    choice = Settings(p_rotation=float(on[0]), p_scaling=float(on[1]), p_elastic=0, slices=slices, rotation=rotation)
    drawn = spatial.draw(50, patch, choice, torch.manual_seed(seed))
    block = spatial.reach(drawn, patch)
    assert all((s - p) % 2 == 0 and s >= p for s, p in zip(block, patch, strict=True))
    axes = spatial.moving_axes(slices)
    half = np.array([(patch[axis] - 1) / 2 for axis in axes])
    corners = np.stack(np.meshgrid(*[(-1, 1)] * len(axes), indexing="ij")).reshape(len(axes), -1) * half[:, None]
    furthest = np.abs(drawn.matrix.numpy() @ corners).max(-1).max(0)
    for place, axis in enumerate(axes):
        assert furthest[place] <= (block[axis] - 1) / 2 + 1e-6
        # And it is no larger than the corners ask for.
        assert furthest[place] >= (block[axis] - 1) / 2 - 1 or block[axis] == patch[axis]


def test_known_block_sizes():
    one, none = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)

    def size(matrix, alpha=none, slices=None, patch=(9, 9, 9)):
        return spatial.reach(spatial.Parameters(matrix[None], alpha, 9 * one, None, slices), patch)

    assert size(1.25 * torch.eye(3, dtype=torch.float64)) == (11, 11, 11)  # 4 x 1.25 = 5
    turned = spatial.turned(torch.full((1, 3), math.pi / 4, dtype=torch.float64), 0)[0]
    assert size(turned, slices=0, patch=(3, 9, 9)) == (3, 13, 13)  # half a diagonal of 8 x 8: 5.66
    # Four deviations of 3.6 voxels (2D, alpha 200, sigma 9), halved in variance: 10.2.
    assert size(torch.eye(2, dtype=torch.float64), 200 * one, 0, (3, 9, 9)) == (3, 31, 31)


def test_the_strongest_deformation_keeps_to_its_margin():
    patch = (40, 40, 40)
    choice = Settings(p_rotation=0, p_scaling=0, p_elastic=1, alpha=(900, 900), sigma=(9, 9))
    drawn = spatial.draw(60, patch, choice, torch.manual_seed(0))
    block = np.array(spatial.reach(drawn, patch))
    furthest = []
    for sample in range(60):
        points = spatial._map(drawn[[sample]], patch, torch.device("cpu"))(slice(0, 40))
        furthest.append(points.abs().flatten(2).amax((0, 2)).numpy())
    furthest = np.array(furthest)
    assert (furthest <= (block - 1) / 2).all()
    assert (furthest > (np.array(patch) - 1) / 2).mean() > 0.9, "the margin is not there for nothing"
