"""What an ensemble is: its members, its name, and what it refuses."""

import pytest

from gbmlib.study import nnunet, scales
from gbmlib.training.ensemble import Ensemble

COHORT = "phantom:cases=4,spacing=6,seed=0"


def unet(kind=3, fold=0, **changes):
    return nnunet.glioma("test", kind, (fold,), cohort=COHORT, **changes)[0]


def test_it_stands_for_its_members():
    pair = Ensemble(members=(unet(3, 1), unet(2, 1)))
    assert (pair.cohort, pair.fold, pair.folds, pair.seed, pair.regions) == (COHORT, 1, 2, 0, "labels")
    assert pair.dependencies == pair.members
    assert pair.modalities == ("t1ce", "flair")
    assert Ensemble(**pair.model_dump(mode="json")) == pair


def test_the_name_is_of_what_it_does():
    one, other = unet(3), unet(2)
    names = [
        Ensemble(members=(one, other)).id,
        Ensemble(members=(one, other), mirrored=False).id,
        Ensemble(members=(one, other), single_components=True).id,
        Ensemble(members=(one, other), single_components=True, connectivity=26).id,
        Ensemble(members=(one,), mirrored=False).id,
        Ensemble(members=(one, other), elsewhere="brats2018-19").id,
    ]
    assert len(set(names)) == len(names)
    assert Ensemble(members=(one, other), single_components=False).id == names[0]
    assert all(name.startswith("ensemble-") and len(name) == 21 for name in names)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"members": ()}, "members is empty"),
        ({"members": (unet(),)}, "alone is what it is without one"),
        ({"members": (unet(), unet(fold=1))}, "members have fold 0, 1; they must share it"),
        ({"members": (unet(), unet())}, "named twice"),
        ({"members": (unet(), scales.vnet("test", cohort=COHORT)[0])}, "members have regions brats, labels"),
        ({"members": (unet(),), "mirrored": True}, "as all members have it already"),
        ({"members": (unet(), unet(2)), "connectivity": 26}, "which only single_components reads"),
        ({"members": (unet(), unet(2)), "connectivity": 18, "single_components": True}, "connectivity"),
        ({"members": (unet(), unet(2)), "elsewhere": "a/b"}, "'a/b' is a path"),
        ({"members": (unet("cascade"),), "elsewhere": "brats2018-19"}, "on its own cohort alone"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Ensemble(**fields)


def test_folds_may_differ_where_another_cohort_is_measured():
    ensemble = Ensemble(members=(unet(), unet(fold=1)), elsewhere="brats2018-19")
    assert [member.fold for member in ensemble.members] == [0, 1]
