"""Published marks: nnU-Net v2, case by case."""

from gbmlib.analysis.published import marks
from gbmlib.cohorts import GLIOMA
from gbmlib.cohorts.decathlon import _PAIRS
from gbmlib.cohorts.folds import split

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
