"""Published marks: table 2 of the paper, nnU-Net v2 case by case, and our networks minus it."""

import pandas as pd
import pytest
from grouped_records import record, rows

from gbmlib.analysis import published
from gbmlib.analysis.published import marks
from gbmlib.analysis.scores import UnpairedError
from gbmlib.cohorts import GLIOMA, open_cohort
from gbmlib.cohorts.folds import split
from gbmlib.cohorts.layouts.naming import _PAIRS

BRATS = "BrainTumour"


class Named:
    """What splitting needs of a case."""

    has_label = True

    def __init__(self, name):
        self.id = self.patient = name


def test_the_marks_of_gliomas_are_of_the_decathlons_folds():
    """Cases and folds of the facts follow from nnU-Net's seed and the names of the 484; a twin lies in another fold."""
    dices, known = marks(BRATS)
    assert list(dices) == list(GLIOMA.values())
    assert dices.mean().round(3).tolist() == [0.757, 0.808, 0.858]
    assert ((dices > 0) & (dices < 1)).all(axis=None)
    names = [Named(f"BRATS_{number:03d}") for number in range(1, 485)]
    fold_of = {name: fold for fold in range(5) for name in split(names, 5, fold)[1]}
    assert known.fold.to_dict() == {case: fold_of[name] for case, name in known.decathlon.items()}
    twins = known[known.twin.notna()]
    assert {of.decathlon[-3:]: of.twin[-3:] for of in twins.itertuples()} == {
        name[-3:]: _PAIRS[name[-3:]] for name in known.decathlon if name[-3:] in _PAIRS
    }
    assert [fold_of[of.twin] for of in twins.itertuples()] == twins.twin_fold.tolist() == [3]


def test_the_marks_are_those_of_the_cases_at_hand(brats_folder):
    folders = {path.name for path in (brats_folder / "HGG").iterdir() if path.is_dir()}
    assert set(marks(BRATS)[0].index) == folders


def test_our_folds_are_those_of_the_published_dice(hippocampus_folder):
    cohort, fold_of = open_cohort(f"msd:{hippocampus_folder}"), marks("Hippocampus")[1].fold
    for fold in range(5):
        assert set(split(cohort, 5, fold)[1]) == set(fold_of.index[fold_of == fold])


def test_the_classes_of_table_2_are_named_in_the_order_of_the_decathlon():
    assert list(published.table_2(BRATS)) == [GLIOMA[2], GLIOMA[1], GLIOMA[3]]
    assert published.table_2(BRATS).loc["2D"].tolist() == pytest.approx([0.7860, 0.5865, 0.7742])
    assert published.table_2("Hippocampus").loc["3D"].to_dict() == {"Anterior": 0.8987, "Posterior": 0.8820}
    assert list(published.table_2("Prostate")) == [1, 2]


def ours(*seeds):
    """A network under each seed, with its Dice of three cases."""
    return [
        record(0, seed, [row for case, value in zip("abc", values, strict=True) for row in rows(case, value)])
        for seed, values in enumerate(seeds)
    ]


def test_a_published_mark_is_the_same_under_every_seed_of_ours():
    two = ours((0.5, 0.6, 0.7), (0.7, 0.8, 0.9))
    found = published.minus(two, pd.DataFrame({"WT": [0.5, 0.65, 0.95]}, list("abc")))
    assert found.difference.mean == pytest.approx((0.1 + 0.05 - 0.15) / 3)
    assert (found.cases, found.seeds) == (3, (1, 2))
    # Ranks of 0.1, 0.05, -0.15 are 2, 1, 3: three for us, three against.
    assert found.effect == pytest.approx(0)
    with pytest.raises(UnpairedError, match="c"):
        published.minus(two, pd.DataFrame({"WT": [0.5, 0.65]}, list("ab")))


def test_networks_are_a_family_and_classes_stand_beside_their_mean():
    theirs = pd.DataFrame({"WT": [0.5, 0.6, 0.7]}, list("abc"))
    table = published.differences({"2D": ours((0.4, 0.4, 0.4)), "3D": ours((0.6, 0.7, 0.8))}, theirs)
    assert [of.mean for of in table.difference] == pytest.approx([-0.2, 0.1])
    assert [of.mean for of in table["WT"]] == pytest.approx([-0.2, 0.1])
    assert table.family.tolist() == [2, 2]
