"""Prepared cases as training takes them: regions in one code and back, and where the foreground lies."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gbmlib.cohorts import regions
from gbmlib.training.samples import Sample, decode, encode

TARGETS = st.integers(1, 8).flatmap(
    lambda count: hnp.arrays(bool, st.tuples(st.just(count), *[st.integers(1, 4)] * 3), elements=st.booleans())
)


def sample_of(target):
    return Sample("a", torch.zeros(1, *target.shape[1:]), target)


@settings(deadline=None)
@given(TARGETS)
def test_regions_there_and_back(array):
    target = torch.from_numpy(array)
    code = encode(target)
    assert (code.dtype, tuple(code.shape)) == (torch.uint8, array.shape[1:])
    assert torch.equal(decode(code[None], len(target))[0], target)


def test_each_region_has_a_bit_by_hand():
    nested = torch.from_numpy(regions.to_channels(np.array([[[0, 2, 1, 3]]], np.uint8), "brats"))
    assert encode(nested).flatten().tolist() == [0, 1, 3, 7]
    exclusive = torch.from_numpy(regions.to_channels(np.array([[[0, 2, 1, 3]]], np.uint8), "labels"))
    assert encode(exclusive).flatten().tolist() == [0, 2, 1, 4]
    assert sample_of(nested).code.flatten().tolist() == [0, 1, 3, 7]


@pytest.mark.parametrize("count", [8, 9, 255])
def test_any_number_of_exclusive_labels_has_a_code(count):
    label = np.arange(count + 1, dtype=np.uint8)[None, None]
    target = torch.from_numpy(regions.to_channels(label, "labels", range(1, count + 1)))
    code = encode(target)
    assert code.unique().numel() == count + 1
    assert torch.equal(decode(code[None], count)[0], target)


def test_what_has_no_code_is_refused():
    assert encode(torch.ones(8, 1, 1, 1, dtype=torch.bool)).item() == 255
    with pytest.raises(ValueError, match="9 regions overlap"):
        encode(torch.ones(9, 1, 1, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="256 regions; the augmentation takes 255"):
        encode(torch.zeros(256, 1, 1, 1, dtype=torch.bool))


def test_foreground_is_where_each_region_is_and_without_those_a_case_has_not():
    target = torch.zeros(3, 2, 3, 4, dtype=torch.bool)
    target[0, 1, 2, 3] = target[0, 0, 0, 1] = target[2, 1, 0, 2] = True
    first, last = sample_of(target).foreground
    assert first.tolist() == [[0, 0, 1], [1, 2, 3]]
    assert last.tolist() == [[1, 0, 2]]
    assert sample_of(torch.zeros_like(target)).foreground == []


def test_both_are_worked_out_once():
    sample = sample_of(torch.rand(2, 3, 3, 3) > 0.5)
    assert sample.code is sample.code
    assert sample.foreground is sample.foreground
