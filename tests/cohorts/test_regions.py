"""Label maps to channels and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gbmlib.cohorts import regions

LABELS = hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 3), elements=st.integers(0, 3))


def test_nested_regions_by_hand():
    label = np.array([[[0, 1, 2, 3]]], np.uint8)
    whole, core, enhancing = regions.to_channels(label, "brats")
    assert whole.tolist() == [[[False, True, True, True]]]
    assert core.tolist() == [[[False, True, False, True]]]
    assert enhancing.tolist() == [[[False, False, False, True]]]


@given(LABELS, st.sampled_from(["brats", "labels"]))
def test_there_and_back_is_the_identity(label, scheme):
    channels = regions.to_channels(label, scheme)
    assert channels.dtype == bool
    np.testing.assert_array_equal(regions.to_labels(channels.astype(np.float32), scheme), label)


@given(hnp.arrays(np.float32, st.tuples(st.just(3), *[st.integers(1, 4)] * 3), elements=st.floats(0, 1, width=32)))
def test_nested_regions_stay_nested_whatever_the_probabilities(probabilities):
    whole, core, enhancing = regions.to_channels(regions.to_labels(probabilities, "brats"), "brats")
    assert not (core & ~whole).any()
    assert not (enhancing & ~core).any()
    np.testing.assert_array_equal(enhancing, probabilities[2] >= 0.5)
    np.testing.assert_array_equal(whole, (probabilities >= 0.5).any(0))


@pytest.mark.parametrize(
    ("marks", "label"),
    [
        ((0, 0, 0), 0),
        ((1, 0, 0), 2),
        ((1, 1, 0), 1),
        ((1, 1, 1), 3),
        ((0, 1, 0), 0),  # nobody else sees a tumour there
        ((0, 0, 1), 0),
        ((0, 1, 1), 3),  # two inner channels are enough
        ((1, 0, 1), 3),
    ],
)
def test_an_inner_region_counts_where_another_channel_agrees(marks, label):
    assert label_of("brats", *map(float, marks), composition="seconded") == label


@pytest.mark.parametrize("dead", [1, 2])
def test_a_channel_that_marks_everything_reaches_no_further_than_the_others_when_seconded(dead):
    label = np.random.default_rng(0).integers(0, 4, (4, 5, 6)).astype(np.uint8)
    channels = regions.to_channels(label, "brats").astype(np.float32)
    channels[dead] = 1
    whole, *inner = regions.to_channels(regions.to_labels(channels, "brats", composition="seconded"), "brats")
    before = regions.to_channels(label, "brats")
    np.testing.assert_array_equal(whole, before[0])
    np.testing.assert_array_equal(inner[dead - 1], before[0])  # it fills the tumour and not the volume
    if dead == 1:
        np.testing.assert_array_equal(inner[1], before[2])
    assert regions.to_channels(regions.to_labels(channels, "brats"), "brats")[: dead + 1].all()  # innermost: all lost


def test_an_unknown_composition_is_refused():
    with pytest.raises(ValueError, match=r"composition 'outermost': unknown; use one of .*'seconded'"):
        regions.to_labels(np.zeros((3, 1, 1, 1)), "brats", composition="outermost")


def label_of(scheme: str, *probabilities: float, **options) -> int:
    """The label that one voxel's probabilities give."""
    return regions.to_labels(np.array(probabilities, np.float32).reshape(-1, 1, 1, 1), scheme, **options).item()


@pytest.mark.parametrize(
    ("probabilities", "label"),
    [
        ((0.4, 0.4, 0.4), 0),  # none reaches the threshold
        ((0.0, 0.0, 0.0), 0),
        ((0.49, 0.1, 0.3), 0),  # the likeliest does not
        ((0.6, 0.9, 0.2), 2),  # two do: the likeliest
        ((0.6, 0.7, 0.8), 3),  # all do
        ((0.7, 0.7, 0.1), 1),  # equals: the lowest label
        ((0.1, 0.7, 0.7), 2),
        ((0.5, 0.0, 0.0), 1),  # just reached
        ((0.2, 0.5, 0.5), 2),
        ((1.0, 1.0, 1.0), 1),
    ],
)
def test_exclusive_labels_take_the_likeliest_that_reaches_the_threshold(probabilities, label):
    assert label_of("labels", *probabilities) == label


@pytest.mark.parametrize(
    ("probabilities", "label"),
    [
        ((0.4, 0.4, 0.4), 0),  # none
        ((0.9, 0.1, 0.1), 2),  # whole tumour alone is oedema
        ((0.9, 0.9, 0.1), 1),  # core, not enhancing
        ((0.9, 0.9, 0.9), 3),
        ((0.1, 0.9, 0.1), 1),  # core where no tumour was found: it counts, and the voxel joins the tumour
        ((0.1, 0.1, 0.9), 3),  # enhancing tumour outside both
        ((0.9, 0.1, 0.9), 3),  # enhancing tumour outside the core
        ((0.1, 0.9, 0.9), 3),
        ((0.99, 0.6, 0.55), 3),  # the innermost decides, not the likeliest
        ((0.5, 0.0, 0.0), 2),  # just reached
        ((0.0, 0.5, 0.0), 1),
        ((0.0, 0.0, 0.5), 3),
    ],
)
def test_nested_regions_go_by_the_innermost_that_reaches_the_threshold(probabilities, label):
    assert label_of("brats", *probabilities) == label


def test_the_threshold_is_the_callers():
    assert label_of("labels", 0.2, 0.3, 0.1, threshold=0.25) == 2
    assert label_of("labels", 0.6, 0.7, 0.1, threshold=0.75) == 0
    assert label_of("brats", 0.6, 0.3, 0.2, threshold=0.25) == 1
    assert label_of("brats", 0.6, 0.3, 0.2, threshold=0.75) == 0


@pytest.mark.parametrize(
    ("probabilities", "label"),
    [
        ((0.4, 0.3, 0.2, 0.1), 0),  # the background first
        ((0.3, 0.4, 0.2, 0.1), 1),  # the largest, though it is below a half
        ((0.1, 0.2, 0.3, 0.4), 3),
        ((0.4, 0.4, 0.1, 0.1), 0),  # of equal ones the first
        ((0.2, 0.1, 0.35, 0.35), 2),
    ],
)
def test_of_a_softmax_with_the_background_the_largest_decides(probabilities, label):
    assert label_of("labels", *probabilities) == label
    assert label_of("labels", *probabilities, threshold=0.9) == label


@given(hnp.arrays(np.float32, st.tuples(st.just(3), *[st.integers(1, 4)] * 3), elements=st.floats(0, 1, width=32)))
def test_a_softmaxs_classes_are_the_labels_whatever_their_values(probabilities):
    labels = {5: "posterior", 2: "anterior"}
    out = regions.to_labels(probabilities, "labels", labels)
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, np.array([0, 2, 5])[probabilities.argmax(0)])


def test_equals_of_another_cohort_go_to_its_lowest_label():
    assert label_of("labels", 0.7, 0.7, labels={5: "posterior", 2: "anterior"}) == 2


def test_values_and_names_of_other_cohorts():
    label = np.array([[[0, 2, 5]]], np.uint8)
    names = {5: "posterior", 2: "anterior"}
    assert regions.members("labels", names) == {"anterior": (2,), "posterior": (5,)}
    channels = regions.to_channels(label, "labels", names)
    assert channels.tolist() == [[[[False, True, False]]], [[[False, False, True]]]]
    np.testing.assert_array_equal(regions.to_labels(channels.astype(np.float32), "labels", names), label)


def test_refusals():
    with pytest.raises(ValueError, match=r"nested.*unknown.*brats"):
        regions.members("nested")
    with pytest.raises(ValueError, match=r"glioma labels.*\[1, 2\].*labels"):
        regions.members("brats", (1, 2))
    with pytest.raises(ValueError, match="2 channels given"):
        regions.to_labels(np.zeros((2, 1, 1, 1)), "brats")
    with pytest.raises(ValueError, match="4 channels given, but 'brats' has 3"):
        regions.to_labels(np.zeros((4, 1, 1, 1)), "brats")  # nested regions have no softmax
    with pytest.raises(ValueError, match="5 channels given"):
        regions.to_labels(np.zeros((5, 1, 1, 1)), "labels")
    with pytest.raises(ValueError, match="share a name"):
        regions.members("labels", {1: "tumour", 2: "tumour"})
