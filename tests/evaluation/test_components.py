"""Components against scikit-image and by hand, and the rule learnt from labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.measure import label

from gbmlib.cohorts import open_cohort
from gbmlib.evaluation import components

CONNECTIVITIES = {6: 1, 18: 2, 26: 3}
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7))


def row(*values):
    return np.array(values, np.uint8).reshape(1, 1, -1)


# -------------------------------------------------------------------------------------------------------- components


def test_neighbours_by_hand():
    """Voxel by voxel along a face, an edge and a corner."""
    mask = np.zeros((4, 4, 4), bool)
    for voxel in ((0, 0, 0), (0, 0, 1), (0, 1, 2), (1, 2, 3)):
        mask[voxel] = True
    assert [components.components(mask, c)[1] for c in (6, 18, 26)] == [3, 2, 1]
    assert [components.largest_component(mask, c).sum() for c in (6, 18, 26)] == [2, 3, 4]


@settings(deadline=None)
@given(MASKS, st.sampled_from([6, 18, 26]))
def test_components_are_scikit_images(mask, connectivity):
    ours, count = components.components(mask, connectivity)
    theirs = label(mask, connectivity=CONNECTIVITIES[connectivity])
    assert count == theirs.max()
    pairs = set(zip(ours.ravel().tolist(), theirs.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})  # the same parts, however numbered


@settings(deadline=None)
@given(MASKS, st.sampled_from([6, 18, 26]))
def test_the_largest_component(mask, connectivity):
    out = components.largest_component(mask, connectivity)
    theirs = label(mask, connectivity=CONNECTIVITIES[connectivity]).ravel()
    if not mask.any():
        assert not out.any()
        return
    # Largest first, then the one that begins first.
    parts = [np.flatnonzero(theirs == number) for number in range(1, theirs.max() + 1)]
    best = min(parts, key=lambda part: (-len(part), part[0]))
    assert np.flatnonzero(out.ravel()).tolist() == best.tolist()


def test_of_two_as_large_the_first_stays():
    mask = np.zeros((3, 5, 5), bool)
    mask[0, 4, 3:] = mask[0, 0, 4] = mask[0, 1, 4] = mask[2, 0, :2] = True
    out = components.largest_component(mask)
    assert np.argwhere(out).tolist() == [[0, 0, 4], [0, 1, 4]]
    assert mask.sum() == 6  # the mask itself is left alone


def test_noise_at_full_size_against_scikit_image():
    mask = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((60, 80, 70)), 1.5) > 0.05
    for connectivity, axes in CONNECTIVITIES.items():
        theirs = label(mask, connectivity=axes)
        largest = theirs == 1 + np.bincount(theirs.ravel())[1:].argmax()
        assert np.array_equal(components.largest_component(mask, connectivity), largest)


# ---------------------------------------------------------------------------------------------------------- the rule


def test_learnt_by_hand():
    """Class 1 is always one piece; class 2 once two; class 3 is there only once, in one piece."""
    labels = [row(1, 1, 0, 2, 2, 0), row(0, 2, 1, 2, 3, 3), row(0, 0, 1, 1, 1, 2)]
    assert components.learn(labels) == (1, 3)
    assert components.learn(iter(labels)) == (1, 3)
    assert components.learn([row(0, 0)]) == ()


def test_what_is_one_component_depends_on_the_neighbours():
    diagonal = np.zeros((2, 2, 2), np.uint8)
    diagonal[0, 0, 0] = diagonal[1, 1, 1] = 1
    assert components.learn([diagonal], connectivity=6) == ()
    assert components.learn([diagonal], connectivity=26) == (1,)


def test_applied_by_hand():
    label_map = row(1, 0, 1, 1, 2, 0, 2, 2, 3, 0, 3)
    out = components.apply(label_map, (1, 3, 7))
    assert out.ravel().tolist() == [0, 0, 1, 1, 2, 0, 2, 2, 3, 0, 0]
    assert out.dtype == label_map.dtype
    assert label_map.ravel().tolist() == [1, 0, 1, 1, 2, 0, 2, 2, 3, 0, 3]
    assert np.array_equal(components.apply(label_map, ()), label_map)


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_what_was_learnt_changes_no_training_label(data):
    shape = data.draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=5))
    labels = [data.draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 3))) for _ in range(2)]
    connectivity = data.draw(st.sampled_from([6, 18, 26]))
    classes = components.learn(labels, connectivity=connectivity)
    for of_case in labels:
        assert np.array_equal(components.apply(of_case, classes, connectivity), of_case)
    for value in {1, 2, 3} - set(classes):
        if any((of_case == value).any() for of_case in labels):  # then one of them it does change
            assert any((components.apply(of, (value,), connectivity) != of).any() for of in labels)


def test_hippocampus_labels(hippocampus_folder):
    """The counts of scikit-image decide the same."""
    cohort = open_cohort(f"msd:{hippocampus_folder}")
    labels = [case.label() for case, _ in zip(cohort, range(30), strict=False)]
    for connectivity, axes in ((6, 1), (26, 3)):
        single = [
            value
            for value in (1, 2)
            if all(label(of_case == value, connectivity=axes).max() == 1 for of_case in labels)
        ]
        assert components.learn(labels, connectivity=connectivity) == tuple(single)


# ---------------------------------------------------------------------------------------------------------- the box


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=1, max_dims=4, max_side=6)))
def test_the_box_holds_all_and_no_less(mask):
    box = components.bounding_box(mask)
    assert mask[box].sum() == mask.sum()
    found = ndimage.find_objects(mask.astype(np.uint8))
    assert box == (found[0] if found else (slice(0, 0),) * mask.ndim)


# --------------------------------------------------------------------------------------------------------- refusals


def test_refusals():
    mask = np.zeros((2, 2, 2), bool)
    with pytest.raises(ValueError, match="connectivity is 8"):
        components.largest_component(mask, 8)
    with pytest.raises(ValueError, match="boolean"):
        components.components(mask.astype(np.uint8))
    with pytest.raises(ValueError, match="boolean"):
        components.largest_component(mask[0])
    with pytest.raises(ValueError, match="class 0 is the background"):
        components.apply(mask.astype(np.uint8), (0, 1))
    with pytest.raises(ValueError, match="the label map is float64"):
        components.apply(mask.astype(float), (1,))
    with pytest.raises(ValueError, match="label 2 is float32"):
        components.learn([mask.astype(np.uint8), mask.astype(np.float32)])
    with pytest.raises(ValueError, match="no labels"):
        components.learn([])
    with pytest.raises(ValueError, match="connectivity is 4"):
        components.learn([(~mask).astype(np.uint8)], connectivity=4)
