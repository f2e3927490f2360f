"""The cascade's augmentation: against scikit-image and nnU-Net v2's own, by hand, and by what morphology promises."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import morphology as theirs
from skimage.measure import label

from gbmlib.augment import cascade_noise
from gbmlib.augment.cascade_noise import Operation, Parameters
from gbmlib.cohorts import open_cohort

# Its functions for masks go in favour of those for grey values; these are the ones that the public code calls.
pytestmark = pytest.mark.filterwarnings("ignore:.*binary_.*deprecated:FutureWarning")

#: All balls that there are: scikit-image's are exact where the radius is a whole number or a half more.
RADII = [half / 2 for half in range(2, 17)]
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=9))


def blobs(shape, seed=0, share=0.5):
    """Coarse random lumps that reach the border, with holes."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, 1, *[-(-extent // 4) for extent in shape]), generator=generator)
    return torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear")[0, 0] < share


def classes(shape, number=3, seed=0):
    """Exclusive classes (class, z, y, x) beside a background."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, 1, *[-(-extent // 5) for extent in shape]), generator=generator)
    values = torch.nn.functional.interpolate(coarse, size=shape)[0, 0]
    return torch.stack([(values * (number + 1)).long() == value for value in range(1, number + 1)])


def row(*values):
    """One class of one sample along x, from 0 and 1."""
    return torch.tensor(values).bool().view(1, 1, -1)


def batch_of(label_map, number):
    """One-hot (1, class, z, y, x) of a label map along x."""
    values = torch.tensor(label_map).view(1, 1, -1)
    return torch.stack([values == value for value in range(1, number + 1)])[None]


def as_labels(one_hot):
    """The way back: 0 where no class is."""
    numbers = torch.arange(1, one_hot.shape[1] + 1).view(-1, 1, 1, 1)
    return (one_hot * numbers).sum(1)[0].flatten().tolist()


def do(*operations):
    """A draw of these operations for one sample."""
    return Parameters((operations,), ((),))


# -------------------------------------------------------------------------------------------- operations on one mask


def test_balls_by_hand():
    """How many voxels a single one grows to: 7, 2 x 2 x 2, 33; and where those of an even ball lie."""
    point = torch.zeros((9, 9, 9), dtype=torch.bool)
    point[4, 4, 4] = True
    assert [int(cascade_noise.dilation(point, radius).sum()) for radius in (0, 1, 1.5, 2)] == [1, 7, 8, 33]
    where = cascade_noise.dilation(point, 1.5).nonzero()
    assert where.amin(0).tolist() == [4 - 1] * 3
    assert where.amax(0).tolist() == [4] * 3


def check_against_scikit_image(name, radius, shape, share):
    mask = blobs(shape, share=share)
    expected = getattr(theirs, f"binary_{name}")(mask.numpy(), theirs.ball(radius))
    assert np.array_equal(cascade_noise.OPERATIONS[name](mask, radius).numpy(), expected)
    # Neither was nothing to do, nor is nothing left.
    assert radius > 4 or (not np.array_equal(expected, mask) and expected.any() and not expected.all())


@pytest.mark.parametrize("radius", RADII)
def test_balls_are_scikit_images(radius):
    """Every ball, odd and even, on lumps at the border, in volumes that are larger and some that are thinner."""
    check_against_scikit_image("dilation", radius, (12, 21, 25), 0.3)
    check_against_scikit_image("erosion", radius, (12, 21, 25), 0.7)
    check_against_scikit_image("dilation", radius, (19, 5, 8), 0.3)
    check_against_scikit_image("erosion", radius, (5, 19, 8), 0.8)


@pytest.mark.parametrize("radius", [1, 1.5, 3, 4.5, 6.5, 8])
def test_two_in_a_row_are_scikit_images(radius):
    check_against_scikit_image("opening", radius, (12, 18, 20), 0.6)
    check_against_scikit_image("closing", radius, (12, 18, 20), 0.4)


@pytest.mark.parametrize("name", cascade_noise.OPERATIONS)
@pytest.mark.parametrize("axis", range(3))
def test_one_slice_in_its_plane(name, axis):
    mask = blobs((1, 30, 26), seed=axis)[0]
    for radius in (1, 2, 5, 8):
        expected = getattr(theirs, f"binary_{name}")(mask.numpy(), theirs.disk(radius))
        ours = cascade_noise.OPERATIONS[name](mask.unsqueeze(axis), radius).squeeze(axis)
        assert np.array_equal(ours.numpy(), expected)


def test_one_slice_with_an_even_disc():
    """Of six voxels an axis the outermost are too far: the four between make a square, as 3^2 + 3^2 is within 5^2."""
    point = torch.zeros((1, 15, 15), dtype=torch.bool)
    point[0, 7, 7] = True
    grown = cascade_noise.dilation(point, 2.5)[0]
    assert grown[5:9, 5:9].all()
    assert grown.sum() == 16


@settings(deadline=None)
@given(MASKS, st.floats(1, 8, exclude_max=True))
def test_a_radius_is_rounded_to_a_ball(mask, radius):
    mask = torch.from_numpy(mask)
    rounded = math.floor(2 * radius) / 2
    for operation in cascade_noise.OPERATIONS.values():
        assert torch.equal(operation(mask, radius), operation(mask, rounded))


@settings(deadline=None)
@given(MASKS, st.sampled_from(RADII))
def test_what_morphology_promises(mask, radius):
    mask = torch.from_numpy(mask)
    before = mask.clone()
    grown, shrunk, opened, closed = (operation(mask, radius) for operation in cascade_noise.OPERATIONS.values())
    assert torch.equal(mask, before)
    assert not (opened & ~mask).any()
    assert not (mask & ~closed).any()
    if 2 * radius % 2 == 0:
        # An even ball does not hold the voxel itself in its middle, but one beside it.
        assert not (mask & ~grown).any()
        assert not (shrunk & ~mask).any()
    assert torch.equal(cascade_noise.opening(opened, radius), opened)
    assert torch.equal(cascade_noise.closing(closed, radius), closed)
    # What is open in the mask is closed in its complement, with the ball turned around.
    assert torch.equal(~cascade_noise.closing(~mask.flip(0, 1, 2), radius).flip(0, 1, 2), opened)


def test_empty_and_full_stay():
    for mask in (torch.zeros((4, 5, 6), dtype=torch.bool), torch.ones((4, 5, 6), dtype=torch.bool)):
        for operation in cascade_noise.OPERATIONS.values():
            assert torch.equal(operation(mask, 8), mask)


# ------------------------------------------------------------------------------------------------- removing components


def test_component_by_number():
    """Of three small ones each third of the numbers has its own; the voxels of 15 % are too many."""
    mask = row(1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 1, *[0] * 9)
    expected = [
        row(0, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, *[0] * 9),
        row(1, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1, *[0] * 9),
        row(1, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1, *[0] * 9),
    ]
    before = mask.clone()
    for number, without in ((0, 0), (0.3333, 0), (0.3334, 1), (0.6666, 1), (0.6667, 2), (0.9999999, 2)):
        assert torch.equal(cascade_noise.remove_component(mask, number), expected[without]), number
    assert torch.equal(mask, before)


def test_corners_hold_together():
    mask = torch.zeros((4, 4, 4), dtype=torch.bool)
    mask[[0, 1, 2], [0, 1, 2], [0, 1, 2]] = True
    assert not cascade_noise.remove_component(mask, 0.5).any()


def test_nothing_small_enough():
    for mask in (row(*[0] * 20), row(1, 1, 1, *[0] * 17), row(*[1] * 20)):
        assert torch.equal(cascade_noise.remove_component(mask, 0.5), mask)


@settings(deadline=None)
@given(MASKS, st.floats(0, 1, exclude_max=True))
def test_one_whole_component_goes(mask, number):
    """What went is one of scikit-image's components, and one that is small; if there is one."""
    kept = cascade_noise.remove_component(torch.from_numpy(mask), number).numpy()
    numbers = label(mask)
    sizes = np.bincount(numbers.ravel())[1:]
    gone = mask & ~kept
    assert not (kept & ~mask).any()
    if (sizes < 0.15 * mask.size).any():
        which = np.unique(numbers[gone])
        assert len(which) == 1
        assert np.array_equal(gone, numbers == which[0])
        assert gone.sum() < 0.15 * mask.size
    else:
        assert not gone.any()


# ------------------------------------------------------------------------------------------------------ whole batches


def test_gained_voxels_are_taken_and_lost_ones_become_background():
    before = batch_of([0, 1, 1, 2, 2, 2, 0], 2)
    assert as_labels(cascade_noise.apply(before, do(Operation(0, "dilation", 1)))) == [1, 1, 1, 1, 2, 2, 0]
    assert as_labels(cascade_noise.apply(before, do(Operation(1, "erosion", 1)))) == [0, 1, 1, 0, 2, 0, 0]
    assert as_labels(before) == [0, 1, 1, 2, 2, 2, 0]


def test_the_order_counts():
    """What a class has lost to another is gone before it shrinks itself."""
    before = batch_of([0, 0, 1, 1, 2, 2, 2, 2, 0], 2)
    grow, shrink = Operation(0, "dilation", 1), Operation(1, "erosion", 1)
    assert as_labels(cascade_noise.apply(before, do(grow, shrink))) == [0, 1, 1, 1, 1, 0, 2, 0, 0]
    assert as_labels(cascade_noise.apply(before, do(shrink, grow))) == [0, 1, 1, 1, 1, 2, 2, 0, 0]


def test_samples_and_classes_each_get_their_own():
    """Components after operations, in each class where there are numbers, and in no other sample."""
    sample = batch_of([1, *[0] * 5, 1, *[0] * 5, 2, *[0] * 5, 2, *[0] * 5], 2)
    batch = torch.cat([sample] * 3)
    drawn = Parameters(((), (Operation(1, "dilation", 1),), ()), ((0.1, 0.9), (0.9, 0.1), ()))
    out = cascade_noise.apply(batch, drawn)
    assert as_labels(out[:1]) == [*[0] * 6, 1, *[0] * 5, 2, *[0] * 11]
    assert as_labels(out[1:2]) == [1, *[0] * 16, 2, 2, 2, *[0] * 4]
    assert torch.equal(out[2:], sample)


def test_a_batch_is_its_samples():
    generator = torch.Generator().manual_seed(4)
    batch = torch.stack([classes((9, 14, 12), seed=seed) for seed in range(4)])
    drawn = cascade_noise.draw(4, 3, generator, 0.7, 0.7)
    together = cascade_noise.apply(batch, drawn)
    for n in range(4):
        alone = Parameters(drawn.operations[n : n + 1], drawn.components[n : n + 1])
        assert torch.equal(cascade_noise.apply(batch[n : n + 1], alone)[0], together[n])


@pytest.mark.parametrize("shape", [(12, 17, 14), (1, 24, 20)])
def test_no_voxel_is_in_two_classes(shape):
    """The input is as it was, a second time gives the same, and all that was drawn has an effect somewhere."""
    generator = torch.Generator().manual_seed(2)
    batch = torch.stack([classes(shape, seed=seed) for seed in range(8)])
    before = batch.clone()
    drawn = cascade_noise.draw(8, 3, generator, 1, 1)
    after = cascade_noise.apply(batch, drawn)
    assert after.sum(1).max() == 1
    assert torch.equal(cascade_noise.apply(batch, drawn), after)
    assert torch.equal(batch, before)
    assert all(not torch.equal(one, other) for one, other in zip(batch, after, strict=True))


def test_nothing_drawn_is_a_copy():
    batch = classes((6, 7, 8))[None]
    out = cascade_noise.apply(batch, cascade_noise.draw(1, 3, torch.Generator(), 0, 0))
    assert torch.equal(out, batch)
    assert out.data_ptr() != batch.data_ptr()


def test_operations_are_nnunets():
    """The same classes in the same order with the same balls, of odd width, by nnU-Net v2's augmentation."""
    module = pytest.importorskip(
        "batchgeneratorsv2.transforms.nnunet.random_binary_operator", reason="needs the extra 'peers'"
    )
    generator = torch.Generator().manual_seed(6)
    for seed in range(6):
        one_hot = classes((16, 20, 18), seed=seed)
        (operations,) = cascade_noise.draw(1, 3, generator, 1, 0).operations
        operations = tuple(Operation(o.channel, o.name, round(o.radius)) for o in operations)
        given = {
            "apply_to_channels": [o.channel for o in operations],
            "operators": [getattr(module, f"binary_{o.name}_torch") for o in operations],
            "strel_size": [o.radius for o in operations],
        }
        transform = module.ApplyRandomBinaryOperatorTransform(channel_idx=[0, 1, 2])
        expected = transform._apply_to_image(one_hot.float(), **given)
        assert torch.equal(cascade_noise.apply(one_hot[None], do(*operations))[0].float(), expected)


def test_real_tumours(brats_folder):
    """Necrosis, oedema and enhancing tumour of a real case: mostly still there, and never in the same place."""
    truth = torch.from_numpy(next(iter(open_cohort(f"brats:{brats_folder}"))).label()).long()
    middle = truth.nonzero().float().mean(0).long().clamp(min=32)
    truth = truth[tuple(slice(int(at) - 32, int(at) + 32) for at in middle)]
    one_hot = torch.stack([truth == value for value in (1, 2, 3)])[None]
    generator = torch.Generator().manual_seed(1)
    kept = []
    for _ in range(6):
        out = cascade_noise.apply(one_hot, cascade_noise.draw(1, 3, generator, 1, 1))
        assert out.sum(1).max() == 1
        kept.append(float((out & one_hot).sum() / one_hot.sum()))
    assert 0.2 < np.mean(kept) < 0.99


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
def test_the_same_on_a_graphics_card_without_waiting():
    generator = torch.Generator().manual_seed(3)
    batch = torch.stack([classes((12, 17, 14), seed=seed) for seed in range(4)])
    there, drawn = batch.cuda(), cascade_noise.draw(4, 3, generator, 1, 0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = cascade_noise.apply(there, drawn)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(out.cpu(), cascade_noise.apply(batch, drawn))
    removed = cascade_noise.draw(4, 3, generator, 0, 1)
    assert torch.equal(cascade_noise.apply(there, removed).cpu(), cascade_noise.apply(batch, removed))


# -------------------------------------------------------------------------------------------------------------- draws


def test_how_often_and_how_much():
    """The public code's probabilities and radii, within five standard errors; operations and orders all alike."""
    batch, number = 6000, 3
    drawn = cascade_noise.draw(batch, number, torch.Generator().manual_seed(0))
    for shares, probability in ((drawn.operations, 0.4), (drawn.components, 0.2)):
        assert sum(map(bool, shares)) / batch == pytest.approx(probability, abs=5 * math.sqrt(0.25 / batch))
    done = [operations for operations in drawn.operations if operations]
    orders = Counter(tuple(o.channel for o in operations) for operations in done)
    assert len(orders) == 6
    assert all(tuple(sorted(order)) == (0, 1, 2) for order in orders)
    assert all(times / len(done) == pytest.approx(1 / 6, abs=0.04) for times in orders.values())
    names = Counter(o.name for operations in done for o in operations)
    assert set(names) == set(cascade_noise.OPERATIONS)
    assert all(times / sum(names.values()) == pytest.approx(1 / 4, abs=0.03) for times in names.values())
    radii = np.array([o.radius for operations in done for o in operations])
    assert radii.min() >= 1
    assert radii.max() < 8
    assert radii.mean() == pytest.approx(4.5, abs=5 * 7 / math.sqrt(12 * len(radii)))
    numbers = np.array([numbers for numbers in drawn.components if numbers])
    assert numbers.shape[1] == number
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert numbers.mean() == pytest.approx(0.5, abs=0.05)


def test_draws_come_from_the_generator_alone():
    """The same again; and what one probability is changes nothing of the rest, nor of what is drawn afterwards."""

    def after(*probabilities):
        generator = torch.Generator().manual_seed(9)
        drawn = cascade_noise.draw(5, 2, generator, *probabilities)
        return drawn, torch.rand(3, generator=generator).tolist()

    everything, then = after(1, 1)
    assert after(1, 1) == (everything, then)
    assert after(1, 0) == (Parameters(everything.operations, ((),) * 5), then)
    assert after(0, 1) == (Parameters(((),) * 5, everything.components), then)


def test_one_class():
    drawn = cascade_noise.draw(2, 1, torch.Generator().manual_seed(0), 1, 1)
    assert [len(operations) for operations in drawn.operations] == [1, 1]
    assert cascade_noise.apply(classes((6, 6, 6), 1)[None].repeat(2, 1, 1, 1, 1), drawn).shape == (2, 1, 6, 6, 6)
