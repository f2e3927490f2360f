"""Label maps to channels and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gbmlib import regions

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


def test_exclusive_labels_take_the_likeliest_above_the_threshold():
    probabilities = np.array([[0.4, 0.6, 0.7, 0.5], [0.4, 0.9, 0.7, 0.0], [0.4, 0.2, 0.1, 0.0]], np.float32)
    assert regions.to_labels(probabilities[:, None, None, :], "labels").tolist() == [[[0, 2, 1, 1]]]


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
