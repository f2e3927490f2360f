"""The whole augmentation: which one a patch gets, its order, what is left out, and that draws can be applied again."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gbmlib.augment import gamma, nnunet, spatial
from gbmlib.augment.nnunet import Settings, paper_b
from gbmlib.augment.simple import mirror
from gbmlib.cohorts import open_cohort

FORCED = Settings(spatial.Settings(p_rotation=1, p_scaling=1, p_elastic=1), p_gamma=1)


def blocks(size, samples=2, seed=0):
    generator = torch.manual_seed(seed)
    label = torch.randint(0, 4, (samples, *size), generator=generator, dtype=torch.uint8)
    return torch.randn((samples, 2, *size), generator=generator), label


def test_a_cube_moves_in_three_dimensions():
    found = paper_b((128, 128, 128))
    assert found == Settings()
    assert found.spatial == spatial.Settings(15, (0.85, 1.25), (0, 900), (9, 13), 0.2, 0.2, 0.2, None)
    assert (found.gamma, found.p_gamma, found.p_mirror) == ((0.7, 1.5), 0.3, 0.5)


@pytest.mark.parametrize(
    ("patch", "slices", "rotation"),
    [
        ((80, 192, 128), 0, 180),  # 2.4 times; the plane is 1.5 to 1
        ((20, 192, 192), 0, 180),
        ((1, 192, 160), 0, 180),
        ((1, 320, 200), 0, 15),  # 1.6 to 1
        ((64, 128, 128), None, 15),  # twice is not over twice
        ((128, 128, 32), 2, 180),
        ((128, 30, 128), 1, 180),
    ],
)
def test_flat_patches_move_slice_by_slice(patch, slices, rotation):
    found = paper_b(patch).spatial
    assert (found.slices, found.rotation) == (slices, rotation)
    assert found.alpha == ((0, 900) if slices is None else (0, 200))
    assert (found.sigma, found.scaling) == ((9, 13), (0.85, 1.25))


def test_the_rule_can_be_overruled():
    flat, cube = (12, 64, 48), (48, 48, 48)
    assert paper_b(flat, slicewise=None) == paper_b(flat, slicewise=True) == paper_b(flat)
    assert paper_b(flat, slicewise=False).spatial == paper_b(cube).spatial
    assert paper_b(cube, slicewise=True).spatial.slices == 0


@pytest.mark.parametrize("name", nnunet.TRANSFORMS)
def test_one_can_be_left_out(name):
    found = paper_b((64, 64, 64), without=(name,))
    left = {part: getattr(found.spatial, f"p_{part}") for part in ("rotation", "scaling", "elastic")}
    left |= {"gamma": found.p_gamma, "mirror": found.p_mirror}
    expected = {"rotation": 0.2, "scaling": 0.2, "elastic": 0.2, "gamma": 0.3, "mirror": 0.5}
    assert left == expected | {name: 0}


def test_without_all_only_the_middle_is_cut():
    images, label = blocks((12, 12, 12))
    nothing = paper_b((8, 8, 8), without=nnunet.TRANSFORMS)
    drawn = nnunet.draw(2, 2, (8, 8, 8), nothing, torch.manual_seed(0))
    assert spatial.reach(drawn.spatial, (8, 8, 8)) == (8, 8, 8)
    found, found_label = nnunet.apply(images, label, drawn, (8, 8, 8))
    middle = (..., *[slice(2, 10)] * 3)
    assert torch.equal(found, images[middle])
    assert torch.equal(found_label, label[middle])


def test_the_parts_in_the_codes_order():
    patch = (16, 18, 20)
    drawn = nnunet.draw(2, 2, patch, FORCED, torch.manual_seed(1))
    images, label = blocks(spatial.reach(drawn.spatial, patch))
    assert drawn.mirror.any()
    moved, moved_label = spatial.apply(images, label, drawn.spatial, patch)
    expected = mirror(gamma.apply(moved, drawn.gamma), drawn.mirror), mirror(moved_label, drawn.mirror)
    for _ in range(2):
        found = nnunet.apply(images, label, drawn, patch)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_mask_rule_goes_with_the_draw():
    choice = paper_b((8, 8, 8), without=("rotation", "scaling", "elastic"), spare_zeros=True)
    images, label = blocks((8, 8, 8), samples=20)
    images[..., :4] = 0
    drawn = nnunet.draw(20, 2, (8, 8, 8), choice, torch.manual_seed(0))
    found, _ = nnunet.apply(images, label, drawn, (8, 8, 8))
    assert (drawn.gamma != 1).any()
    assert torch.equal((found == 0).sum((1, 2, 3, 4)), torch.full((20,), 8 * 8 * 4 * 2))


@pytest.mark.parametrize("name", nnunet.TRANSFORMS)
def test_the_others_draw_the_same(name):
    patch = (10, 10, 10)
    whole, less = (
        nnunet.draw(30, 2, patch, paper_b(patch, without), torch.Generator().manual_seed(2))
        for without in ((), (name,))
    )
    assert torch.equal(whole.gamma, less.gamma) == (name != "gamma")
    assert torch.equal(whole.mirror, less.mirror) == (name != "mirror")
    assert torch.equal(whole.spatial.matrix, less.spatial.matrix) == (name not in ("rotation", "scaling"))
    assert torch.equal(whole.spatial.alpha, less.spatial.alpha) == (name != "elastic")


@settings(deadline=None, max_examples=20)
@given(st.tuples(*[st.integers(1, 12)] * 3), st.integers(0, 2**30))
def test_any_patch_gives_its_own_shape_and_only_labels_that_were_there(patch, seed):
    choice = paper_b(patch)
    drawn = nnunet.draw(4, 2, patch, choice, torch.manual_seed(seed))
    images, label = blocks(spatial.reach(drawn.spatial, patch), samples=4, seed=seed)
    found, found_label = nnunet.apply(images, label * 60, drawn, patch)
    assert found.shape == (4, 2, *patch)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert found_label.shape == (4, *patch)
    assert found_label.dtype == torch.uint8
    for sample in range(4):
        assert set(found_label[sample].unique().tolist()) <= set((label[sample] * 60).unique().tolist())


def test_a_real_tumour_changes_its_volume_as_the_map_does(brats_folder):
    """A case that lies wholly in the patch: volumes go with 1 / factor^3, and intensities stay with their labels."""
    case = open_cohort(f"brats:{brats_folder}", modalities=("t1ce", "flair"))["Brats18_2013_20_1"]
    images = torch.from_numpy(case.images()[:, ::2, ::2, ::2])[None].expand(3, -1, -1, -1, -1)
    label = torch.from_numpy(case.label()[::2, ::2, ::2])[None].expand(3, -1, -1, -1)
    patch = (76, 118, 118)
    moves = spatial.Settings(p_rotation=1, p_scaling=1, p_elastic=0)
    drawn = nnunet.draw(3, 2, patch, Settings(moves, p_gamma=0), torch.manual_seed(1))
    found, found_label = nnunet.apply(images, label, drawn, patch)
    inside = [images[0, 1][label[0] == value].mean() for value in (1, 2, 3)]
    for sample in range(3):
        shrunk = float(torch.linalg.det(drawn.spatial.matrix[sample]))
        assert int((found_label[sample] > 0).sum()) == pytest.approx(int((label[0] > 0).sum()) / shrunk, rel=0.02)
        for value, mean in zip((1, 2, 3), inside, strict=True):
            assert float(found[sample, 1][found_label[sample] == value].mean()) == pytest.approx(float(mean), rel=0.03)
