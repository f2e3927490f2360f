"""Configurations: validated whole, immutable, and named by what they say."""

import pytest
from pydantic import ValidationError

from gbmlib.experiments import Experiment

FIELDS = {"model": "vnet", "cohort": "brats2018-19", "patch_size": 32, "epochs": 2, "learning_rate": 1e-4}


def test_the_name_depends_on_the_meaning_alone():
    one = Experiment(**FIELDS)
    same = Experiment(**dict(reversed(FIELDS.items())) | {"patch_size": (32, 32, 32), "seed": 0})
    assert one == same
    assert one.id == same.id
    assert one.id != one.changed(seed=1).id
    assert one.changed(seed=1).changed(seed=0).id == one.id


def test_the_name_is_pinned():
    """Published records are found by it: a change of the rule would orphan every one of them."""
    assert Experiment(**FIELDS).id == "vnet-9524f2cc4381"


def test_a_field_at_its_default_does_not_enter_the_name():
    assert "warmup" not in Experiment(**FIELDS).canonical
    assert "warmup" in Experiment(**FIELDS, warmup=3).canonical


def test_it_cannot_be_changed_in_place():
    with pytest.raises(ValidationError):
        Experiment(**FIELDS).seed = 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epohcs": 3}, "epohcs"),
        ({"regions": "nested"}, "brats"),
        ({"fold": 5}, "fold is 5; folds are counted from 0 to 4"),
        ({"cohort": "../data/BraTS"}, "is a path"),
        ({"elsewhere": ("data\\\\BraTS",)}, "is a path"),
        ({"modalities": ("t1ce", "t1ce")}, "once"),
        ({"options": {"filter": 8}}, r"no option \['filter'\]"),
        ({"patch_size": (32, 40, 32)}, r"divisible by 16; the next is \(32, 48, 32\)"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"model": "vnett"}, "'vnett': unknown"),
    ],
)
def test_refusals_name_the_field(changes, words):
    with pytest.raises(ValidationError, match=words):
        Experiment(**FIELDS | changes)


def test_faults_that_go_together_are_told_together():
    with pytest.raises(ValidationError) as caught:
        Experiment(**FIELDS | {"fold": 9, "cohort": "a/b", "options": {"norm": "layer"}})
    for words in ("fold is 9", "is a path", "norm is 'layer'"):
        assert words in str(caught.value)
